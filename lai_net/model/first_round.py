"""The first round of interaction: text, annotations and marker pairs through the encoder (Section 3.2).

Under Inv. and Vis. nothing sees a marker but its partner, so the context is read once and the pairs
attend to its keys and values; under Inv. the annotations do not see the text either and are read once a
call. Under Full everything sees everything: one dense pass a pack of candidates.

B batch, T text tokens, N annotation tokens, E labels, P marker pairs, H hidden.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lai_net.config import AttentionMask
from lai_net.inputs.marker_ids import PAIR_END, PAIR_START
from lai_net.model.attention_mask import Kind, visible
from lai_net.model.encoder import Memory, TwoPassEncoder


@dataclass(frozen=True)
class Text:
    """A batch of texts. `ids` int (B, T), `valid` bool (B, T); the position of a token is its index."""

    ids: Tensor
    valid: Tensor


@dataclass(frozen=True)
class Reading:
    """A text that has been read, before its pairs are marked.

    Attributes:
        text: what was read.
        states: (B, T, H) of the text; None where the mask lets nothing be read before the markers.
        labels: first and last state of each label's phrase, (1 or B, E, 2, H); None without annotations.
        memory: for the second pass; None before a dense pass.
    """

    text: Text
    states: Tensor | None
    labels: Tensor | None
    memory: Memory | None


@dataclass(frozen=True)
class Interaction:
    """What the first round gives.

    Attributes:
        text: (B, T, H); the mean over packs where they differ (Full).
        pairs: (B, P, 4, H): the span's first and last text state, start marker, end marker (Eq. 10).
        labels: (1 or B, E, 2, H) or None, as in `Reading`; the mean over packs where they differ.
    """

    text: Tensor
    pairs: Tensor
    labels: Tensor | None


class FirstRound(nn.Module):
    """Eq. 5's input through the encoder under a partial attention mask.

    Args:
        encoder: shared by both passes.
        annotation_ids: the phrases' word pieces with the final [SEP], int (N,); None without annotations.
        label_bounds: first and last annotation token of each label, int (E, 2).
        annotation_start: position of the first annotation token, whatever the text's length.
        mask: `inv`, `vis` or `full`.
        max_candidates: pairs in a pack of the dense pass.
        dense: take the dense pass although the mask allows two; for tests and benchmarks.
    """

    annotation_ids: Tensor
    label_bounds: Tensor

    def __init__(
        self,
        encoder: TwoPassEncoder,
        annotation_ids: Tensor | None,
        label_bounds: Tensor,
        *,
        annotation_start: int,
        mask: AttentionMask,
        max_candidates: int,
        dense: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.has_annotations = annotation_ids is not None
        empty = torch.zeros(0, dtype=torch.long)
        self.register_buffer(
            "annotation_ids", empty if annotation_ids is None else annotation_ids, persistent=False
        )
        self.register_buffer("label_bounds", label_bounds, persistent=False)
        self.annotation_start = annotation_start
        self.mask: AttentionMask = mask
        self.max_candidates = max_candidates
        self.two_pass = mask != "full" and not dense

    def read(self, text: Text, *, text_first: bool = False) -> Reading:
        """Read what does not depend on markers.

        Args:
            text: the batch.
            text_first: the text's states are needed before candidates are chosen; where the mask forbids to
                read it without markers, the text is then read alone, once more.
        """
        if not self.two_pass:
            states = self._read_context(text.ids, text.valid)[0] if text_first else None
            return Reading(text, states, None, None)
        if not self.has_annotations:
            states, memory = self._read_context(text.ids, text.valid)
            return Reading(text, states, None, memory)
        ids = self.annotation_ids.unsqueeze(0)
        valid = torch.ones_like(ids, dtype=torch.bool)
        batch, length = text.ids.shape
        if self.mask == "inv":
            states, memory = self._read_context(text.ids, text.valid)
            annotations, annotation_memory = self._read_context(ids, valid, self.annotation_start)
            memory = memory.join(annotation_memory.expand(batch))
        else:
            both, memory = self._read_context(
                torch.cat([text.ids, ids.expand(batch, -1)], dim=1),
                torch.cat([text.valid, valid.expand(batch, -1)], dim=1),
                self.annotation_start,
                text_length=length,
            )
            states, annotations = both[:, :length], both[:, length:]
        return Reading(text, states, self._label_ends(annotations), memory)

    def mark(self, reading: Reading, bounds: Tensor, valid: Tensor) -> Interaction:
        """Set markers on candidates and read them.

        Args:
            reading: from `read`.
            bounds: first and last text token of each candidate, int (B, P, 2); padding may repeat any.
            valid: bool (B, P), which candidates are no padding.
        """
        if reading.memory is None or reading.states is None:
            return self._mark_densely(reading.text, bounds, valid)
        ids = self.encoder.vocab_size + torch.tensor([PAIR_START, PAIR_END], device=bounds.device)
        markers = self.encoder.encode_pairs(ids.expand(bounds.shape), bounds, reading.memory)
        pairs = torch.cat([gather_tokens(reading.states, bounds), markers], dim=2)
        return Interaction(reading.states, pairs, reading.labels)

    def _read_context(
        self, ids: Tensor, valid: Tensor, start: int = 0, *, text_length: int = 0
    ) -> tuple[Tensor, Memory]:
        """Tokens that all see one another; from index `text_length` on positions count from `start`."""
        index = torch.arange(ids.shape[1], device=ids.device)
        positions = torch.where(index < text_length, index, index - text_length + start)
        return self.encoder.encode(ids, positions.expand_as(ids), valid.unsqueeze(1))

    def _mark_densely(self, text: Text, bounds: Tensor, valid: Tensor) -> Interaction:
        """One dense pass a pack; a pack without candidates of a sentence does not count for that sentence."""
        size = self.max_candidates
        packs = [
            self._read_pack(text, *pack)
            for pack in zip(bounds.split(size, dim=1), valid.split(size, dim=1), strict=True)
        ]
        used = torch.stack([pack.any(dim=1) for pack in valid.split(size, dim=1)])
        used[0] |= ~used.any(dim=0)
        labels = [pack.labels for pack in packs if pack.labels is not None]
        return Interaction(
            _mean_over_packs([pack.text for pack in packs], used),
            torch.cat([pack.pairs for pack in packs], dim=1),
            _mean_over_packs(labels, used) if labels else None,
        )

    def _read_pack(self, text: Text, bounds: Tensor, valid: Tensor) -> Interaction:
        """Eq. 5 in one pass: text, annotations, all start markers, all end markers."""
        (batch, length), pairs, phrases = text.ids.shape, bounds.shape[1], self.annotation_ids.shape[0]
        device = bounds.device
        index = torch.arange(length + phrases, device=device)
        positions = torch.where(index < length, index, index - length + self.annotation_start)
        markers = self.encoder.vocab_size + torch.tensor([PAIR_START, PAIR_END], device=device)
        ids = [
            text.ids,
            self.annotation_ids.expand(batch, -1),
            *markers.view(2, 1, 1).expand(-1, batch, pairs),
        ]
        kinds = [
            torch.where(text.valid, Kind.TEXT, Kind.PADDING),
            torch.full((batch, phrases), Kind.ANNOTATION, device=device),
            torch.where(valid, Kind.START, Kind.PADDING),
            torch.where(valid, Kind.END, Kind.PADDING),
        ]
        candidates = torch.arange(pairs, device=device)
        owners = torch.cat([torch.zeros_like(index), candidates, candidates])
        states, _ = self.encoder.encode(
            torch.cat(ids, dim=1),
            torch.cat([positions.expand(batch, -1), bounds[:, :, 0], bounds[:, :, 1]], dim=1),
            visible(torch.cat(kinds, dim=1), owners.expand(batch, -1), self.mask),
        )
        read, annotations, starts, ends = states.split([length, phrases, pairs, pairs], dim=1)
        return Interaction(
            read,
            torch.cat([gather_tokens(read, bounds), torch.stack([starts, ends], dim=2)], dim=2),
            self._label_ends(annotations) if self.has_annotations else None,
        )

    def _label_ends(self, annotations: Tensor) -> Tensor:
        """(B, N, H) -> (B, E, 2, H), Eq. 9's two states of each label."""
        return annotations[:, self.label_bounds]


def gather_tokens(states: Tensor, index: Tensor) -> Tensor:
    """Rows of `states` (B, T, H) at `index` (B, ..., k) -> (B, ..., k, H)."""
    flat = index.flatten(1).unsqueeze(-1).expand(-1, -1, states.shape[-1])
    return torch.unflatten(states.gather(1, flat), 1, index.shape[1:])


def _mean_over_packs(states: list[Tensor], used: Tensor) -> Tensor:
    """The mean over the packs that a sentence uses: states (B, ...) a pack, `used` bool (packs, B)."""
    stacked = torch.stack(states)
    weights = used.view(*used.shape, *[1] * (stacked.ndim - 2)).to(stacked.dtype)
    return (stacked * weights).sum(0) / weights.sum(0)

"""Levitated markers: pairs beside the text that see it, and that it does not see (Section 3.2, Eq. 3 and 4).

Under Inv. and Vis. nothing sees a marker but its partner, so the context is read once and the pairs
attend to its keys and values. Under Full everything sees everything, and other readings of the mask let more
than its partner see a marker: there each pack of candidates takes one dense pass.
`InputConfig.reads_context_once` says which way is taken.

B batch, T text tokens, N annotation tokens, E labels, P marker pairs, H hidden.
"""

from typing import ClassVar

import torch
from torch import Tensor

from lai_net.inputs.marker_ids import PAIR_END, PAIR_START
from lai_net.model.attention_mask import Kind, visible
from lai_net.model.first_round import FirstRound, gather_tokens
from lai_net.model.readings import Interaction, Reading, Text


class LevitatedMarkers(FirstRound):
    """Eq. 5's input through the encoder under a partial attention mask."""

    states_per_span: ClassVar[int] = 4

    @property
    def reads_at_once(self) -> bool:
        """Whether `mark` reads text and markers together: in inference, on a CPU.

        Not where states are compared with stored ones, and not where each pass is compiled.
        """
        is_inference = not (self.training or torch.is_grad_enabled())
        is_plain = not (self.encoder.fixed or self.encoder.is_compiled)
        return self.two_pass and is_inference and is_plain and self.label_bounds.device.type == "cpu"

    def mark(self, reading: Reading, bounds: Tensor, valid: Tensor) -> Interaction:
        """`Interaction.pairs` is (B, P, 4, H): the span's two text states and its two markers."""
        markers = None if reading.stored is None else reading.stored.pairs(bounds, valid)
        if markers is None and reading.stored is not None:  # a candidate is not stored
            reading = self._read(reading.text)
        if markers is None and reading.memory is not None:
            markers = self.encoder.encode_pairs(self._marker_ids(bounds), bounds, reading.memory)
        if markers is not None and reading.states is not None:
            pairs = torch.cat([gather_tokens(reading.states, bounds), markers], dim=2)
            return Interaction(reading.states, pairs, reading.labels)
        if self.reads_at_once:
            return self._mark_at_once(reading.text, bounds, valid)
        return self._mark_densely(reading.text, bounds, valid)

    def _read(self, text: Text, *, text_first: bool = False) -> Reading:
        if self.two_pass:
            return super()._read(text)
        return Reading(text, self._read_unmarked(text) if text_first else None, None, None)

    def _read_unmarked(self, text: Text) -> Tensor:
        """A text's states before a dense pass: with the annotations where it sees them, as in two passes.

        Under Full no state is free of markers; there the text is read alone.
        """
        if self.has_annotations and self.settings.attention_mask == "vis":
            return self._read_context(self._with_phrases(text))[0][:, : text.ids.shape[1]]
        return self._read_alone(text)[0]

    def _marker_ids(self, bounds: Tensor) -> Tensor:
        """Of the start and end marker of each pair of `bounds`."""
        kinds = torch.arange(PAIR_START, PAIR_END + 1, device=bounds.device)  # a list would have to be copied
        return (self.encoder.vocab_size + kinds).expand(bounds.shape)

    def _mark_at_once(self, text: Text, bounds: Tensor, valid: Tensor) -> Interaction:
        """Text and markers together; annotations that are read apart are read before."""
        context, phrases = self._embedded(text)
        apart = self._apart(phrases)
        both, markers = self.encoder.encode_with_pairs(
            context,
            self._marker_ids(bounds),
            bounds,
            valid,
            None if apart is None else apart[1],
        )
        states, labels = self._parted(both, text, apart)
        return Interaction(states, torch.cat([gather_tokens(states, bounds), markers], dim=2), labels)

    def _mark_densely(self, text: Text, bounds: Tensor, valid: Tensor) -> Interaction:
        """One dense pass a pack; a pack without candidates of a sentence does not count for that sentence."""
        size = self.settings.max_candidates
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
        ids = [text.ids, self.annotation_ids.expand(batch, -1), *self._marker_ids(bounds).unbind(2)]
        kinds = [
            torch.where(text.valid, Kind.TEXT, Kind.PADDING),
            torch.full((batch, phrases), Kind.ANNOTATION, device=device),
            torch.where(valid, Kind.START, Kind.PADDING),
            torch.where(valid, Kind.END, Kind.PADDING),
        ]
        candidates = torch.arange(pairs, device=device)
        owners = torch.cat([torch.zeros_like(index), candidates, candidates])
        (embedded,) = self.encoder.look_up(torch.cat(ids, dim=1))
        states, _ = self.encoder.encode(
            embedded,
            torch.cat([positions.expand(batch, -1), bounds[:, :, 0], bounds[:, :, 1]], dim=1),
            visible(torch.cat(kinds, dim=1), owners.expand(batch, -1), self.settings),
        )
        read, annotations, starts, ends = states.split([length, phrases, pairs, pairs], dim=1)
        return Interaction(
            read,
            torch.cat([gather_tokens(read, bounds), torch.stack([starts, ends], dim=2)], dim=2),
            self._label_ends(annotations) if self.has_annotations else None,
        )


def _mean_over_packs(states: list[Tensor], used: Tensor) -> Tensor:
    """The mean over the packs that a sentence uses: states (B, ...) a pack, `used` bool (packs, B)."""
    stacked = torch.stack(states)
    weights = used.view(*used.shape, *[1] * (stacked.ndim - 2)).to(stacked.dtype)
    return (stacked * weights).sum(0) / weights.sum(0)

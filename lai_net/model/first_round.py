"""The first round of interaction: text, annotations and marker pairs through the encoder (Section 3.2).

Under Inv. and Vis. nothing sees a marker but its partner, so the context is read once and the pairs
attend to its keys and values; under Inv. the annotations do not see the text either and are read once a
training step, or once for all inference. Under Full everything sees everything, and other readings of the
mask let more than its partner see a marker: there each pack of candidates takes one dense pass.
`InputConfig.reads_context_once` says which way is taken.

B batch, T text tokens, N annotation tokens, E labels, P marker pairs, H hidden.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lai_net.config import InputConfig
from lai_net.inputs.marker_ids import PAIR_END, PAIR_START
from lai_net.model.attention_mask import Kind, visible
from lai_net.model.encoder import Context, Memory, TwoPassEncoder
from lai_net.model.readings import Interaction, PairInteraction, Reading, SharedAnnotations, Text
from lai_net.model.stored_features import StoredFeatures


class FirstRound(nn.Module):
    """Eq. 5's input through the encoder under a partial attention mask.

    Args:
        encoder: shared by both passes.
        annotation_ids: the phrases' word pieces with the final [SEP], int (N,); None without annotations.
        label_bounds: first and last annotation token of each label, int (E, 2).
        annotation_start: position of the first annotation token, whatever the text's length.
        settings: who sees whom, and how many pairs are in a pack of the dense pass.
    """

    annotation_ids: Tensor
    label_bounds: Tensor
    states_per_span: ClassVar[int] = 4
    """How many states represent a candidate: of `Interaction.pairs`, the third axis."""

    def __init__(
        self,
        encoder: TwoPassEncoder,
        annotation_ids: Tensor | None,
        label_bounds: Tensor,
        *,
        annotation_start: int,
        settings: InputConfig,
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
        self.settings = settings
        self.two_pass = settings.reads_context_once
        """False takes the dense pass, also where the mask allows two."""
        self.shared: SharedAnnotations | None = None
        """What `read` takes for the annotations in place of reading them."""
        self._annotations: tuple[tuple[Any, ...], tuple[Tensor, Memory]] | None = None
        self.features: list[StoredFeatures] = []
        """Of a frozen encoder: where states are looked up before they are computed."""

    def read(self, text: Text, *, text_first: bool = False, with_pairs: bool = False) -> Reading:
        """Read what does not depend on markers.

        Args:
            text: the batch.
            text_first: the text's states are needed before candidates are chosen; where the mask forbids to
                read it without markers, it is then read without them, once more.
            with_pairs: `mark` follows, for just these rows: where that is cheaper, text and markers are read
                there at once.
        """
        for features in self.features:
            if (found := features.find(text.ids, text.valid)) is not None:
                return Reading(text, found.states(text.ids.shape[1]), found.labels(), None, found)
        if with_pairs and self._reads_at_once:
            return Reading(text, None, None, None)
        return self._read(text, text_first=text_first)

    def read_rows(self, text: Text, rows: Tensor, *, text_first: bool = False) -> Reading:
        """`read` before `mark`, for rows that may share texts: `rows` int (B,) names the text of each."""
        shares_texts = len(text.ids) < len(rows)
        reading = self.read(text, text_first=text_first, with_pairs=not (text_first or shares_texts))
        return reading.rows(rows) if shares_texts else reading

    @property
    def _reads_at_once(self) -> bool:
        """Whether `mark` reads text and markers together: in inference, on a CPU.

        Not where states are compared with stored ones, and not where each pass is compiled.
        """
        has_passes = self.two_pass and self.settings.is_levitated
        is_inference = not (self.training or torch.is_grad_enabled())
        is_plain = not (self.encoder.fixed or self.encoder.is_compiled)
        return has_passes and is_inference and is_plain and self.label_bounds.device.type == "cpu"

    def share_annotations(self) -> SharedAnnotations | None:
        """Read the annotations for several graphs; None where they are not read apart from the text."""
        if not self._reads_apart:
            return None
        (phrases,) = self.encoder.look_up(self.annotation_ids.unsqueeze(0))
        return SharedAnnotations(*self._read_annotations(phrases))

    def _read(self, text: Text, *, text_first: bool = False) -> Reading:
        """`read` by the encoder itself."""
        if not self.two_pass:
            return Reading(text, self._read_unmarked(text) if text_first else None, None, None)
        context, phrases = self._embedded(text)
        states, memory = self._read_context(context)
        apart = self._apart(phrases)
        if apart is not None:
            memory = memory.join(apart[1].expand(len(text.ids)))
        return Reading(text, *self._parted(states, text, apart), memory)

    def mark(self, reading: Reading, bounds: Tensor, valid: Tensor) -> Interaction:
        """Set markers on candidates and read them.

        Args:
            reading: from `read`.
            bounds: first and last text token of each candidate, int (B, P, 2); padding may repeat any.
            valid: bool (B, P), which candidates are no padding.
        """
        markers = None if reading.stored is None else reading.stored.pairs(bounds, valid)
        if markers is None and reading.stored is not None:  # a candidate is not stored
            reading = self._read(reading.text)
        if markers is None and reading.memory is not None:
            markers = self.encoder.encode_pairs(self._marker_ids(bounds), bounds, reading.memory)
        if markers is not None and reading.states is not None:
            pairs = torch.cat([gather_tokens(reading.states, bounds), markers], dim=2)
            return Interaction(reading.states, pairs, reading.labels)
        if self._reads_at_once:
            return self._mark_at_once(reading.text, bounds, valid)
        return self._mark_densely(reading.text, bounds, valid)

    def mark_objects(
        self, reading: Reading, subjects: Tensor, bounds: Tensor, valid: Tensor
    ) -> PairInteraction:
        """Read the objects of a subject each.

        Args:
            reading: from `read`, a row a subject.
            subjects: the two text tokens that stand for each subject, int (B, 2).
            bounds: as in `mark`, of the objects.
            valid: likewise.
        """
        interaction = self.mark(reading, bounds, valid)
        ends = gather_tokens(interaction.text, subjects).unsqueeze(1)
        return PairInteraction(ends, interaction.pairs, interaction.labels)

    def _embedded(self, text: Text) -> tuple[Context, Tensor | None]:
        """A text, with annotations behind it where it sees them; those read apart, unless they are shared."""
        if self._reads_apart and self.shared is None:
            words, phrases = self.encoder.look_up(text.ids, self.annotation_ids.unsqueeze(0))
            return self._context(words, text.valid), phrases
        if self.has_annotations and not self._reads_apart:
            return self._with_phrases(text), None
        (words,) = self.encoder.look_up(text.ids)
        return self._context(words, text.valid), None

    @property
    def _reads_apart(self) -> bool:
        """Whether annotations do not depend on the text."""
        return self.has_annotations and self.two_pass and self.settings.attention_mask == "inv"

    def _apart(self, phrases: Tensor | None) -> tuple[Tensor, Memory] | None:
        """States (1, N, H) and memory of annotations that are read apart from the text."""
        if self.shared is not None:
            return self.shared.for_graph()
        return None if phrases is None else self._read_annotations(phrases)

    def _parted(
        self, states: Tensor, text: Text, apart: tuple[Tensor, Memory] | None
    ) -> tuple[Tensor, Tensor | None]:
        """The text's states, and those of the labels, out of what was read of `_embedded` and `_apart`."""
        if apart is not None:
            return states, self._label_ends(apart[0])
        if not self.has_annotations:
            return states, None
        length = text.ids.shape[1]
        return states[:, :length], self._label_ends(states[:, length:])

    def _read_annotations(self, phrases: Tensor) -> tuple[Tensor, Memory]:
        """States and memory of the annotations alone, from their embeddings (1, N, H).

        In inference they are kept until training goes on, or until a weight or the precision changes.
        """
        valid = torch.ones(phrases.shape[:2], dtype=torch.bool, device=phrases.device)
        context = self._context(phrases, valid, self.annotation_start)
        if self.training or torch.is_grad_enabled():
            self._annotations = None  # a fused optimizer changes weights without changing their version
            return self._read_context(context)
        device = phrases.device.type
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        version = (precision, *((p.data_ptr(), _version_of(p)) for p in self.encoder.parameters()))
        if self._annotations is None or self._annotations[0] != version:
            self._annotations = (version, self._read_context(context))
        return self._annotations[1]

    def _read_unmarked(self, text: Text) -> Tensor:
        """A text's states before a dense pass: with the annotations where it sees them, as in two passes.

        Under Full no state is free of markers; there the text is read alone.
        """
        if self.has_annotations and self.settings.attention_mask == "vis":
            return self._read_context(self._with_phrases(text))[0][:, : text.ids.shape[1]]
        return self._read_alone(text)[0]

    def _read_alone(self, text: Text) -> tuple[Tensor, Memory]:
        """States and memory of a text without annotations."""
        (embedded,) = self.encoder.look_up(text.ids)
        return self._read_context(self._context(embedded, text.valid))

    def _read_context(self, context: Context) -> tuple[Tensor, Memory]:
        """States and memory."""
        return self.encoder.encode(context.embedded, context.positions, context.valid.unsqueeze(1))

    def _with_phrases(self, text: Text) -> Context:
        """A text with the annotations behind it."""
        phrases = self.annotation_ids.expand(len(text.ids), -1)
        (embedded,) = self.encoder.look_up(torch.cat([text.ids, phrases], dim=1))
        valid = torch.cat([text.valid, torch.ones_like(phrases, dtype=torch.bool)], dim=1)
        return self._context(embedded, valid, self.annotation_start, text_length=text.ids.shape[1])

    def _context(self, embedded: Tensor, valid: Tensor, start: int = 0, *, text_length: int = 0) -> Context:
        """Tokens that all see one another; from index `text_length` on positions count from `start`."""
        index = torch.arange(valid.shape[1], device=valid.device)
        positions = torch.where(index < text_length, index, index - text_length + start)
        return Context(embedded, positions.expand_as(valid), valid)

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

    def _label_ends(self, annotations: Tensor) -> Tensor:
        """(B, N, H) -> (B, E, 2, H), Eq. 9's two states of each label."""
        return annotations[:, self.label_bounds]


def _version_of(weight: Tensor) -> int:
    """How often it was changed in place; what was loaded under `inference_mode` does not count that."""
    return 0 if weight.is_inference() else weight._version


def gather_tokens(states: Tensor, index: Tensor) -> Tensor:
    """Rows of `states` (B, T, H) at `index` (B, ..., k) -> (B, ..., k, H).

    On a GPU `gather` adds up a row's gradients in any order, indexing in the index's. On a CPU both take the
    index's, but indexing rounds bf16 otherwise, so what was trained there would come out otherwise.
    """
    if states.is_cuda:
        rows = torch.arange(len(states), device=states.device).view(-1, *[1] * (index.ndim - 1))
        return states[rows, index]
    flat = index.flatten(1).unsqueeze(-1).expand(-1, -1, states.shape[-1])
    return torch.unflatten(states.gather(1, flat), 1, index.shape[1:])


def _mean_over_packs(states: list[Tensor], used: Tensor) -> Tensor:
    """The mean over the packs that a sentence uses: states (B, ...) a pack, `used` bool (packs, B)."""
    stacked = torch.stack(states)
    weights = used.view(*used.shape, *[1] * (stacked.ndim - 2)).to(stacked.dtype)
    return (stacked * weights).sum(0) / weights.sum(0)

"""The first round of interaction: what a text, and annotations beside it, are read as (Section 3.2).

How candidates are marked then differs: by levitated markers (`lai_net.model.levitated`), or within the text
(`lai_net.model.in_text`).

B batch, T text tokens, N annotation tokens, E labels, P candidates, H hidden.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lai_net.config import InputConfig
from lai_net.model.encoder import Context, Memory, TwoPassEncoder
from lai_net.model.readings import Interaction, PairInteraction, Reading, SharedAnnotations, Text
from lai_net.model.stored_features import StoredFeatures


class FirstRound(nn.Module, ABC):
    """Reads a text with the encoder, then marks candidates in it.

    Under Inv. annotations do not see the text and are read apart from it: once a training step, or once for
    all inference. Else they are read behind it.

    Args:
        encoder: shared by both passes.
        annotation_ids: the phrases' word pieces with the final [SEP], int (N,); None without annotations.
        label_bounds: first and last annotation token of each label, int (E, 2).
        annotation_start: position of the first annotation token, whatever the text's length.
        settings: who sees whom, and how many pairs are in a pack of the dense pass.
    """

    annotation_ids: Tensor
    label_bounds: Tensor
    states_per_span: ClassVar[int]
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
        if with_pairs and self.reads_at_once:
            return Reading(text, None, None, None)
        return self._read(text, text_first=text_first)

    @property
    def reads_at_once(self) -> bool:
        """Whether `mark` reads text and markers together; then `read` leaves the text to it."""
        return False

    @abstractmethod
    def mark(self, reading: Reading, bounds: Tensor, valid: Tensor) -> Interaction:
        """Set markers on candidates and read them.

        Args:
            reading: from `read`.
            bounds: first and last text token of each candidate, int (B, P, 2); padding may repeat any.
            valid: bool (B, P), which candidates are no padding.
        """

    def read_rows(self, text: Text, rows: Tensor, *, text_first: bool = False) -> Reading:
        """`read` before `mark`, for rows that may share texts: `rows` int (B,) names the text of each."""
        shares_texts = len(text.ids) < len(rows)
        reading = self.read(text, text_first=text_first, with_pairs=not (text_first or shares_texts))
        return reading.rows(rows) if shares_texts else reading

    def share_annotations(self) -> SharedAnnotations | None:
        """Read the annotations for several graphs; None where they are not read apart from the text."""
        if not self._reads_apart:
            return None
        (phrases,) = self.encoder.look_up(self.annotation_ids.unsqueeze(0))
        return SharedAnnotations(*self._read_annotations(phrases))

    def _read(self, text: Text, *, text_first: bool = False) -> Reading:  # noqa: ARG002 - of a dense pass
        """`read` by the encoder itself."""
        context, phrases = self._embedded(text)
        states, memory = self._read_context(context)
        apart = self._apart(phrases)
        if apart is not None:
            memory = memory.join(apart[1].expand(len(text.ids)))
        return Reading(text, *self._parted(states, text, apart), memory)

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

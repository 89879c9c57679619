"""Representations without levitated markers: span ends (Eq. 1) and solid markers (Eq. 2).

Both stand in for the first round without annotations: `read` a text, then `mark` its candidates. A text here
is plain, so the subjects of a sentence read one.

B batch, T text tokens, P candidates, S spans that are marked at once, H hidden.
"""

from typing import ClassVar

import torch
from torch import Tensor

from lai_net.inputs.marker_ids import PAIR_END, PAIR_START, SUBJECT_START
from lai_net.model.first_round import FirstRound, gather_tokens
from lai_net.model.readings import Interaction, PairInteraction, Reading, Text


class SpanEnds(FirstRound):
    """A candidate is its first and last text state; nothing is read beside the text."""

    states_per_span: ClassVar[int] = 2

    def mark(self, reading: Reading, bounds: Tensor, valid: Tensor) -> Interaction:  # noqa: ARG002 - as its kin
        """`Interaction.pairs` is (B, P, 2, H)."""
        if reading.states is None:
            raise RuntimeError("span ends are taken from a text that was read")
        return Interaction(reading.states, gather_tokens(reading.states, bounds), None)


class SolidMarkers(FirstRound):
    """A candidate (NER) or a pair (RE) reads a copy of the text with markers around its own spans (PURE).

    The copies are made on the device, and only for candidates that are no padding. NER needs the text's
    states to choose the candidates; RE reads nothing but copies.
    """

    states_per_span: ClassVar[int] = 2

    def read(self, text: Text, *, text_first: bool = False, with_pairs: bool = False) -> Reading:  # noqa: ARG002 - as its kin
        """The text itself is read only where its states are asked for."""
        return super().read(text) if text_first else Reading(text, None, None, None)

    def mark(self, reading: Reading, bounds: Tensor, valid: Tensor) -> Interaction:
        """`Interaction.pairs` is (B, P, 2, H), the two markers of each candidate."""
        if reading.states is None:
            raise RuntimeError("solid markers in NER need candidates that were chosen on the text's states")
        markers = self._read_copies(reading.text, bounds.unsqueeze(2), valid, PAIR_START)
        return Interaction(reading.states, markers.squeeze(2), None)

    def mark_objects(
        self, reading: Reading, subjects: Tensor, bounds: Tensor, valid: Tensor
    ) -> PairInteraction:
        """A subject's states differ from object to object; an object has its two markers' alone."""
        spans = torch.stack([subjects.unsqueeze(1).expand_as(bounds), bounds], dim=2)
        of_subjects, of_objects = self._read_copies(reading.text, spans, valid, SUBJECT_START).unbind(2)
        return PairInteraction(of_subjects, of_objects, None)

    def _read_copies(self, text: Text, spans: Tensor, valid: Tensor, first: int) -> Tensor:
        """The states of the markers around `spans` (B, P, S, 2), each row a copy: (B, P, S, 2, H).

        Markers are numbered from `first`.
        """
        marked = torch.zeros(*spans.shape, self.encoder.hidden_size, device=spans.device)
        rows, columns = valid.nonzero(as_tuple=True)
        if len(rows):
            markers = self.encoder.vocab_size + torch.arange(first, PAIR_END + 1, device=spans.device)
            copies, places = with_solid_markers(
                Text(text.ids[rows], text.valid[rows]), spans[rows, columns], markers.view(-1, 2)
            )
            states, _ = self._read_alone(copies)
            marked[rows, columns] = gather_tokens(states, places).float()
        return marked


def with_solid_markers(text: Text, spans: Tensor, markers: Tensor) -> tuple[Text, Tensor]:
    """Insert markers around spans; where one ends and another starts, the end comes first, as in PURE.

    Args:
        text: N texts of T tokens.
        spans: first and last token, int (N, S, 2); they may overlap.
        markers: id of each span's start and end marker, int (S, 2).

    Returns:
        N texts of T + 2 S tokens, and where in them each marker stands, int (N, S, 2).
    """
    count, num_spans = spans.shape[:2]
    before = torch.stack([spans[:, :, 1] + 1, spans[:, :, 0]], dim=1).flatten(1)  # all ends, all starts
    rank = before.argsort(dim=1, stable=True).argsort(dim=1)
    places = before + rank
    index = torch.arange(text.ids.shape[1], device=spans.device)
    moved = index + (before.unsqueeze(2) <= index).sum(dim=1)
    ids = text.ids.new_zeros(count, text.ids.shape[1] + 2 * num_spans)
    ids = ids.scatter(1, moved, text.ids).scatter(
        1, places, markers.flip(1).mT.reshape(1, -1).expand(count, -1)
    )
    valid = torch.ones_like(ids, dtype=torch.bool).scatter(1, moved, text.valid)
    return Text(ids, valid), places.unflatten(1, (2, num_spans)).flip(1).mT

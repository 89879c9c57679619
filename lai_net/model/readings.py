"""What the first round is given and what it gives: texts, what was read of them, marked candidates.

B batch, T text tokens, N annotation tokens, E labels, P marker pairs, H hidden.
"""

from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from lai_net.model.encoder import Memory
from lai_net.model.stored_features import StoredTexts


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
        memory: for the second pass; None before a dense pass, and where states are stored.
        stored: where the states of a frozen encoder come from; None where they were computed now.
    """

    text: Text
    states: Tensor | None
    labels: Tensor | None
    memory: Memory | None
    stored: StoredTexts | None = None

    def rows(self, index: Tensor) -> "Reading":
        """What sentences read that share texts: `index` int (B,) names the text of each."""
        labels = self.labels
        return Reading(
            Text(self.text.ids[index], self.text.valid[index]),
            None if self.states is None else self.states[index],
            labels if labels is None or len(labels) == 1 else labels[index],
            None if self.memory is None else self.memory.rows(index),
            None if self.stored is None else self.stored.rows(index),
        )


@dataclass(frozen=True)
class Interaction:
    """What the first round gives.

    Attributes:
        text: (B, T, H); the mean over packs where they differ (dense pass).
        pairs: (B, P, 4, H): the span's first and last text state, start marker, end marker (Eq. 10).
        labels: (1 or B, E, 2, H) or None, as in `Reading`; the mean over packs where they differ.
    """

    text: Tensor
    pairs: Tensor
    labels: Tensor | None


@dataclass(frozen=True)
class PairInteraction:
    """What the first round gives where each row has a subject whose objects the candidates are.

    Attributes:
        subjects: (B, 1, 2, H), or (B, P, 2, H) where they differ from object to object.
        objects: as `Interaction.pairs`.
        labels: as in `Interaction`.
    """

    subjects: Tensor
    objects: Tensor
    labels: Tensor | None


class SharedAnnotations:
    """Annotations read once for several graphs, each of which has a `backward` of its own.

    The graphs' gradients add up, in float32, in copies; `backward` carries them on through the one reading.

    Args:
        states: (1, N, H).
        memory: of batch 1.
    """

    def __init__(self, states: Tensor, memory: Memory) -> None:
        self._read = [states, *chain.from_iterable(memory.layers)]
        self._copies = [read.detach().float().requires_grad_(read.requires_grad) for read in self._read]
        self._valid = memory.valid

    def for_graph(self) -> tuple[Tensor, Memory]:
        """States and memory, for one more graph."""
        copies = (copy.to(read.dtype) for copy, read in zip(self._copies, self._read, strict=True))
        states = next(copies)
        return states, Memory(list(zip(copies, copies, strict=True)), self._valid)

    def backward(self) -> None:
        """Once, after the `backward` of every graph."""
        pairs = zip(self._read, self._copies, strict=True)
        used = [(read, copy.grad.to(read.dtype)) for read, copy in pairs if copy.grad is not None]
        torch.autograd.backward([read for read, _ in used], [gradient for _, gradient in used])

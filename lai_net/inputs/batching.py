"""Length-bucketed batches and padding, shared by both phases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

_BUCKET_BATCHES = 8


@dataclass(frozen=True, slots=True)
class Example:
    """A text with candidates that are to be marked in it.

    Attributes:
        ids: word pieces.
        text: number of the text; examples of one text have the same `ids`.
        bounds: first and last word piece of each candidate, (P, 2).
    """

    ids: list[int]
    text: int
    bounds: np.ndarray | list[tuple[int, int]]


@dataclass(frozen=True)
class Batch:
    """Padded tensors of several examples."""

    def to(self, device: torch.device) -> Self:
        """The batch on a device; to CUDA from pinned memory, so that the copy runs beside computation."""
        if device.type != "cuda":
            return type(self)(**{name: tensor.to(device) for name, tensor in vars(self).items()})
        pinned = {name: tensor.pin_memory() for name, tensor in vars(self).items()}
        return type(self)(**{name: tensor.to(device, non_blocking=True) for name, tensor in pinned.items()})


def bucketed_batches(
    lengths: Sequence[int],
    batch_size: int,
    order: np.random.Generator,
    groups: Sequence[int] | None = None,
) -> list[list[int]]:
    """Shuffled batches of indices whose members have similar lengths.

    Indices are shuffled, sorted by length inside chunks of eight batches, and the batches shuffled again.

    Args:
        lengths: of each index; equal within a group.
        batch_size: indices in a batch; the last of a chunk may have fewer.
        order: what shuffles.
        groups: the group of each index: indices of a group are shuffled as one, and only the size of a batch
            or the end of a chunk parts them. None: each index alone.
    """
    units = _units(len(lengths), groups)
    shuffled = [index for unit in order.permutation(len(units)).tolist() for index in units[unit]]
    chunk = batch_size * _BUCKET_BATCHES
    batches = []
    for start in range(0, len(shuffled), chunk):
        members = sorted(shuffled[start : start + chunk], key=lambda index: lengths[index])
        batches += [members[at : at + batch_size] for at in range(0, len(members), batch_size)]
    return [batches[index] for index in order.permutation(len(batches))]


def sorted_batches(
    lengths: Sequence[int], max_tokens: int, groups: Sequence[int] | None = None
) -> list[list[int]]:
    """Batches for inference in order of length, each of at most `max_tokens` padded tokens, but not empty.

    A group, as in `bucketed_batches`, is never parted; it is as long as its members together.
    """
    units = _units(len(lengths), groups)
    sizes = [sum(lengths[index] for index in unit) for unit in units]
    batches: list[list[list[int]]] = []
    for number in sorted(range(len(units)), key=lambda number: sizes[number]):
        if not batches or (len(batches[-1]) + 1) * sizes[number] > max_tokens:
            batches.append([])
        batches[-1].append(units[number])
    return [[index for unit in batch for index in unit] for batch in batches]


def inference_tokens(device: torch.device) -> int:
    """Padded text tokens in a batch without gradients; NER and stored states, unlike RE, count markers, too.

    A processor's core is busy with few, and more would bring sentences together that differ in length
    (decision 18); a GPU is not.
    """
    return 1536 if device.type == "cpu" else 4096


def _units(count: int, groups: Sequence[int] | None) -> list[list[int]]:
    """Indices that belong together, by the first of each group."""
    members: dict[int, list[int]] = {}
    for index, group in enumerate(range(count) if groups is None else groups):
        members.setdefault(group, []).append(index)
    return list(members.values())


def shared_texts(examples: Sequence[Example], pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Each text of a batch once.

    Returns:
        Word pieces int64 (U, T) and validity bool (U, T) of U texts, and int64 (B,) which of them an example
        reads.
    """
    texts = {example.text: example.ids for example in examples}
    rows = {text: row for row, text in enumerate(texts)}
    ids, valid = padded(list(texts.values()), pad_id)
    return ids, valid, torch.tensor([rows[example.text] for example in examples])


def padded(rows: Sequence[ArrayLike], fill: int = 0) -> tuple[Tensor, Tensor]:
    """Stack rows of unequal length.

    Args:
        rows: B sequences of ints, or int arrays (length, ...) that agree beyond the first axis.
        fill: what padding holds.

    Returns:
        int64 (B, longest, ...) and validity bool (B, longest); longest is at least 1.
    """
    arrays = [np.asarray(row, dtype=np.int64) for row in rows]
    longest = max(1, *(len(array) for array in arrays))
    tail = arrays[0].shape[1:]
    stacked = np.full((len(arrays), longest, *tail), fill, dtype=np.int64)
    valid = np.zeros((len(arrays), longest), dtype=bool)
    for row, array in enumerate(arrays):
        stacked[row, : len(array)] = array.reshape(len(array), *tail)
        valid[row, : len(array)] = True
    return torch.from_numpy(stacked), torch.from_numpy(valid)

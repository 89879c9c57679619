"""Length-bucketed batches and padding, shared by both phases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

_BUCKET_BATCHES = 8


@dataclass(frozen=True)
class Batch:
    """Padded tensors of several examples."""

    def to(self, device: torch.device) -> Self:
        """The batch on a device."""
        return type(self)(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def bucketed_batches(lengths: Sequence[int], batch_size: int, order: np.random.Generator) -> list[list[int]]:
    """Shuffled batches of indices whose members have similar lengths.

    Indices are shuffled, sorted by length inside chunks of eight batches, and the batches shuffled again.
    """
    shuffled = order.permutation(len(lengths))
    chunk = batch_size * _BUCKET_BATCHES
    batches = []
    for start in range(0, len(shuffled), chunk):
        members = sorted(shuffled[start : start + chunk].tolist(), key=lambda index: lengths[index])
        batches += [members[at : at + batch_size] for at in range(0, len(members), batch_size)]
    return [batches[index] for index in order.permutation(len(batches))]


def sorted_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Batches for inference in order of length, each of at most `max_tokens` padded tokens, but not empty."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if not batches or (len(batches[-1]) + 1) * lengths[index] > max_tokens:
            batches.append([])
        batches[-1].append(index)
    return batches


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

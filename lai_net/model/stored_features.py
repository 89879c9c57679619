"""What a frozen encoder says of texts and marked candidates, computed before and memory-mapped from files.

Texts are found by their word pieces and candidates by text and tokens, so whoever asks need not know where
they come from; of what is not stored, nothing is said. Tensors are float32 or bfloat16, as stored.

U stored texts, B asked ones, T tokens, P marker pairs, E labels, H hidden.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lai_net.inputs.marked_texts import MarkedTexts, candidate_key, text_key

TOKENS, PAIRS, LABELS = "tokens.npy", "pairs.npy", "labels.npy"
"""Arrays (all tokens, H), (all candidates, 2, H), (1 or U, E, 2, H); the last two only if they are read."""
Arrays = Mapping[str, np.ndarray]
"""Those that there are, by name."""
_BFLOAT16 = np.dtype(np.int16)
"""NumPy has no such type: the bits are stored as those of integers."""


class StoredFeatures:
    """The stored states of some texts; only the pages that are asked for are read from disk.

    Args:
        arrays: the states.
        texts: what they were computed of, which says where each state is.
    """

    def __init__(self, arrays: Arrays, texts: MarkedTexts) -> None:
        self.tokens, self.pairs, self.labels = map(arrays.get, (TOKENS, PAIRS, LABELS))
        self._rows = {text_key(ids): row for row, ids in enumerate(texts.ids)}
        self._starts = np.cumsum([0, *(len(ids) for ids in texts.ids)])
        self._candidates = texts.candidate_keys

    def find(self, ids: Tensor, valid: Tensor) -> "StoredTexts | None":
        """Texts (B, T) with their validity; None unless all are stored."""
        lengths = valid.sum(1).tolist()
        keys = [text_key(row[:length]) for row, length in zip(ids.cpu().numpy(), lengths, strict=True)]
        if not all(key in self._rows for key in keys):
            return None
        return StoredTexts(self, np.array([self._rows[key] for key in keys]), ids.device)

    def token_rows(self, texts: np.ndarray, length: int) -> np.ndarray:
        """Where the first `length` tokens of texts are, (B, T); a shorter text repeats its last token."""
        last = self._starts[texts + 1] - 1
        rows: np.ndarray = np.minimum(self._starts[texts, None] + np.arange(length), last[:, None])
        return rows

    def pair_rows(self, texts: np.ndarray, bounds: np.ndarray, valid: np.ndarray) -> np.ndarray | None:
        """Where the markers of candidates (B, P, 2) are, (B, P); None unless all valid ones are stored."""
        if not len(self._candidates):
            return None
        asked = candidate_key(texts[:, None], bounds)
        rows = np.searchsorted(self._candidates, asked).clip(max=len(self._candidates) - 1)
        return rows if (self._candidates[rows] == asked)[valid].all() else None


@dataclass(frozen=True)
class StoredTexts:
    """Texts that are stored: `index` int (B,) are their rows, `device` is where their states are wanted."""

    features: StoredFeatures
    index: np.ndarray
    device: torch.device

    def rows(self, index: Tensor) -> "StoredTexts":
        """What sentences read that share texts; see `Reading.rows`."""
        return replace(self, index=self.index[index.cpu().numpy()])

    def states(self, length: int) -> Tensor:
        """States (B, T, H) of the texts, padded to `length`."""
        return self._tensor(self.features.tokens, self.features.token_rows(self.index, length))

    def labels(self) -> Tensor | None:
        """(1 or B, E, 2, H), first and last state of each label's phrase; None without annotations."""
        if self.features.labels is None:
            return None
        shared = len(self.features.labels) == 1
        return self._tensor(self.features.labels, np.zeros(1, dtype=np.int64) if shared else self.index)

    def pairs(self, bounds: Tensor, valid: Tensor) -> Tensor | None:
        """States (B, P, 2, H) of both markers of candidates; None unless all valid ones are stored."""
        if self.features.pairs is None:
            return None
        rows = self.features.pair_rows(self.index, bounds.cpu().numpy(), valid.cpu().numpy())
        return None if rows is None else self._tensor(self.features.pairs, rows)

    def _tensor(self, stored: np.ndarray | None, rows: np.ndarray) -> Tensor:
        if stored is None:
            raise RuntimeError(f"{TOKENS} is missing")
        copied = torch.from_numpy(stored[rows])
        return (copied.view(torch.bfloat16) if stored.dtype == _BFLOAT16 else copied).to(self.device)


def storable(states: Tensor, dtype: torch.dtype) -> np.ndarray:
    """States as an array of what is stored for a dtype, float32 or bfloat16."""
    rounded = states.to(dtype).cpu().contiguous()
    return (rounded.view(torch.int16) if dtype == torch.bfloat16 else rounded).numpy()


def open_arrays(folder: Path) -> Arrays:
    """The arrays of a folder, memory-mapped."""
    paths = [folder / name for name in (TOKENS, PAIRS, LABELS)]
    # As plain arrays: no memmaps any more, but still mapped.
    return {path.name: np.asarray(np.load(path, mmap_mode="r")) for path in paths if path.is_file()}

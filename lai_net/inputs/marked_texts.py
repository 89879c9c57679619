"""Which texts are read and which candidates are marked in each, in an order that depends on content alone.

U texts, C candidates of all texts together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

_TOKEN_BITS = 16
"""More than any encoder has positions."""


@dataclass(frozen=True)
class MarkedTexts:
    """Different texts, the shortest first, each with the different candidates that are marked in it.

    Attributes:
        ids: of each text its word pieces, int64.
        bounds: of each text first and last token of its candidates, int64 (P, 2), in ascending order.
    """

    ids: tuple[np.ndarray, ...]
    bounds: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, examples: Iterable[tuple[Sequence[int], np.ndarray]]) -> "MarkedTexts":
        """Join what examples say: word pieces and bounds (P, 2) of each; texts and candidates may repeat."""
        found: dict[bytes, list[np.ndarray]] = {}
        for ids, bounds in examples:
            found.setdefault(text_key(np.asarray(ids, dtype=np.int64)), []).append(bounds)
        keys = sorted(found, key=lambda key: (len(key), key))
        return cls(
            tuple(np.frombuffer(key, dtype=np.int64) for key in keys),
            tuple(np.unique(np.concatenate(found[key]), axis=0) for key in keys),
        )

    @property
    def candidate_keys(self) -> np.ndarray:
        """`candidate_key` of all candidates, int64 (C,), ascending."""
        keys = [candidate_key(np.array(row), bounds) for row, bounds in enumerate(self.bounds)]
        return np.concatenate(keys) if keys else np.zeros(0, dtype=np.int64)


def text_key(ids: np.ndarray) -> bytes:
    """What identifies a text: its word pieces, int64."""
    return ids.tobytes()


def candidate_key(text: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """One number for a text's row and a candidate's first and last token (..., 2), ordered as these are."""
    key: np.ndarray = (text << 2 * _TOKEN_BITS) | (bounds[..., 0] << _TOKEN_BITS) | bounds[..., 1]
    return key

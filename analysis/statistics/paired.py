"""Differences of two cells on the seeds that both have, and the exact sign-flip test on them."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

EXACT_UP_TO = 14  # pairs; 2**14 sign patterns fit in one small matrix
_SAMPLES = 2**EXACT_UP_TO - 1
_TIE = 1e-9  # of the sum of magnitudes: sums that differ by less, so only by rounding, count as equal


def paired_deltas(scores: Mapping[int, float], base: Mapping[int, float]) -> list[float]:
    """`scores - base` for each seed that both have, in the order of the seeds."""
    return [scores[seed] - base[seed] for seed in sorted(scores.keys() & base.keys())]


def sign_flip_p(deltas: Sequence[float]) -> float | None:
    """Two-sided p of the hypothesis that each delta is as likely to have the other sign.

    All 2**n patterns of signs up to `EXACT_UP_TO` deltas; beyond, always the same sample of them, in which
    the observed pattern counts as one more (Phipson and Smyth 2010, doi 10.2202/1544-6115.1585).

    Returns:
        The share of patterns whose sum is at least as far from 0 as the observed one; None for n < 2, where
        no difference could be told.
    """
    values = np.asarray(deltas, dtype=float)
    if len(values) < 2:
        return None
    reached = np.abs(_signs(len(values)) @ values) >= abs(values.sum()) - _TIE * np.abs(values).sum()
    return float(reached.mean())


@lru_cache(maxsize=4)
def _signs(n: int) -> npt.NDArray[np.float64]:
    """Patterns of signs, one a row."""
    if n <= EXACT_UP_TO:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        bits = np.random.default_rng(0).integers(0, 2, size=(_SAMPLES + 1, n))
        bits[0] = 0  # the observed pattern
    return 1.0 - 2.0 * bits.astype(np.float64)

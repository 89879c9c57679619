"""Differences of two cells on the seeds that both have: sign-flip test and effect size."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

EXACT_UP_TO = 20  # differences; half of the 2**20 sign patterns are half a million sums
_SAMPLES = 2**14 - 1  # a Monte Carlo error of 0.0008 at p = 0.01; ten thousand trials take a second
_BLOCKS = 16
_TIE = 1e-9  # of the sum of magnitudes: sums that differ by less, so only by rounding, count as equal


def paired_deltas(scores: Mapping[int, float], base: Mapping[int, float]) -> list[float]:
    """`scores - base` for each seed that both have, in the order of the seeds."""
    return [scores[seed] - base[seed] for seed in sorted(scores.keys() & base.keys())]


def sign_flip_p(deltas: Sequence[float]) -> float | None:
    """Two-sided p of the hypothesis that each delta is as likely to have the other sign.

    All 2**n patterns of signs up to `EXACT_UP_TO` deltas; beyond, 16,383 sampled ones, to which the observed
    pattern counts as one more (Phipson and Smyth 2010, doi 10.2202/1544-6115.1585); the same ones each time.

    Args:
        deltas: one a seed.

    Returns:
        The share of patterns whose sum is at least as far from 0 as the observed one; None for n < 2, where
        no difference could be told.
    """
    values = np.asarray(deltas, dtype=float)
    if len(values) < 2:
        return None
    sums = _all_sums(values) if len(values) <= EXACT_UP_TO else _sampled_sums(values)
    reached = np.abs(sums) >= abs(values.sum()) - _TIE * np.abs(values).sum()
    return float(reached.mean())


def _all_sums(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sums of the patterns that keep the first sign; the others mirror them."""
    sums = values[:1]
    for value in values[1:]:
        sums = np.concatenate((sums + value, sums - value))
    return sums


def _sampled_sums(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # Only floats are multiplied fast, but all patterns as floats are 50 MB at 400 seeds.
    turned = [block.astype(np.float64) @ values for block in np.array_split(_flips(len(values)), _BLOCKS)]
    return np.append(values.sum() - 2 * np.concatenate(turned), values.sum())


@lru_cache(maxsize=4)
def _flips(n: int) -> npt.NDArray[np.int8]:
    """Patterns of signs, one a row; a 1 turns a sign."""
    return np.random.default_rng(0).integers(0, 2, size=(_SAMPLES, n), dtype=np.int8)


def hedges_g(deltas: Sequence[float]) -> float | None:
    """Mean of paired differences in units of their own standard deviation (d_z), corrected for small n.

    d_z overstates: it is multiplied by J(n - 1) = Γ(ν/2) / (√(ν/2) Γ((ν-1)/2)), ν = n - 1, which makes it
    unbiased for normal differences.
    Source: Hedges 1981, doi 10.3102/10769986006002107, eq. 6e.

    Returns:
        None for n < 3, where no correction exists, and where all differences are equal.
    """
    values = np.asarray(deltas, dtype=float)
    freedom = len(values) - 1
    if freedom < 2 or np.ptp(values) <= _TIE * np.abs(values).max():
        return None
    log_j = gammaln(freedom / 2) - gammaln((freedom - 1) / 2) - np.log(freedom / 2) / 2
    return float(np.exp(log_j) * values.mean() / values.std(ddof=1))

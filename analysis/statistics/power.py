"""How many seeds it takes to see a difference of a given size, if differences are normal.

The test is the sign-flip test, which with n differences has 2**(n-1) attainable p-values, so that its true
level is below the nominal one. Where only the one or two smallest can be significant its power is computed
exactly: they ask for one sign throughout, or for one other sign at the smallest difference. Elsewhere it is
the power of the paired t-test (noncentral t) at the largest attainable level, up to 0.05 above a simulation
of the test where three values are significant and soon nothing (`docs/statistics-figures.md`). Several
comparisons are taken at Holm's first and strictest step.
"""

import math

from scipy import integrate, stats

from tune.forecast.significance import SIGNIFICANCE

_POWER = 0.8
_MOST_SEEDS = 10_000
_SCANNED = 64
"""Up to here the power may fall from one n to the next, since the attainable levels jump."""


def attainable_values(n: int, alpha: float) -> int:
    """How many of the p-values of n differences, multiples of 2**(1-n), lie below `alpha`."""
    return math.ceil(alpha * 2.0 ** (n - 1)) - 1


def paired_power(
    delta: float, std: float, n: int, alpha: float = SIGNIFICANCE, comparisons: int = 1
) -> float:
    """Probability that n seeds mark a true difference, in 0-1.

    Args:
        delta: mean of the paired differences.
        std: their standard deviation, in the same unit; more than 0.
        n: seeds.
        alpha: level after correction.
        comparisons: how many a Holm correction counts.
    """
    level = alpha / comparisons
    values = attainable_values(n, level) if n <= _SCANNED else 0
    effect = abs(delta) / std
    if n < 2 or (n <= _SCANNED and values == 0):
        return 0.0
    if values in (1, 2) and n <= _SCANNED:
        return min(1.0, sum(_one_sided(sign * effect, n, values) for sign in (1, -1)))
    if n <= _SCANNED:
        level = values / 2 ** (n - 1)
    edge, shift = float(stats.t.isf(level / 2, df=n - 1)), effect * math.sqrt(n)
    # The far tail of a large effect is 0, which scipy may give as nan.
    tails = (stats.nct.sf(edge, n - 1, shift), stats.nct.cdf(-edge, n - 1, shift))
    return min(1.0, sum(float(tail) for tail in tails if not math.isnan(tail)))


def required_seeds(delta: float, std: float, *, comparisons: int = 1) -> int | None:
    """The fewest seeds with which a true difference is marked with probability 0.8.

    Arguments as in `paired_power`. None where 10,000 seeds are not enough, so for `delta` 0.
    """
    if delta == 0:
        return None
    for n in range(2, _SCANNED):
        if paired_power(delta, std, n, comparisons=comparisons) >= _POWER:
            return n
    low, high = _SCANNED - 1, _MOST_SEEDS
    if paired_power(delta, std, high, comparisons=comparisons) < _POWER:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if paired_power(delta, std, middle, comparisons=comparisons) < _POWER:
            low = middle
        else:
            high = middle
    return high


def _one_sided(effect: float, n: int, values: int) -> float:
    """Probability that all differences are positive, or (`values` 2) all but the one nearest to 0."""
    normal = stats.norm
    positive = float(normal.cdf(effect)) ** n
    if values == 1:
        return positive
    flipped, _ = integrate.quad(
        lambda x: normal.pdf(x + effect) * normal.cdf(effect - x) ** (n - 1), 0, math.inf
    )
    return positive + n * float(flipped)

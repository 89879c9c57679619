"""Mean, standard deviation and interval of one cell's scores over seeds.

The interval is Student's t at every n unless BCa is asked for. Up to 10 scores BCa covers less than t for
every kind of scores that was simulated, skewed ones among them; from 20 on the two differ by at most 0.03
(`docs/statistics-figures.md`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from tune.spec.study import Interval

INTERVALS: Mapping[Interval, str] = {"t": "Student-t", "bca": "BCa bootstrap"}
"""Their names in words."""
RESAMPLES = 2000
BCA_NEEDS = 20
"""Of fewer scores BCa covers clearly less than it says."""
BCA_WARNING = (
    "BCa is too narrow for fewer than 20 seeds: of normal scores it covers 0.84 at n = 5 and 0.90 at n = 10 "
    "in place of 0.95; at n = 2 it says no more than the two scores."
)
DIGITS = 9
"""Scores in percent that are equal to so many places are equal but for rounding."""
_SEED = 0
"""Of BCa's resampling, so that the same scores have the same interval."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What n scores say; `None` where they are too few to say it, or all equal.

    Attributes:
        n: number of scores.
        mean: their mean; None for n = 0.
        std: sample standard deviation (ddof = 1); None for n < 2.
        ci_low: lower end of the interval of the mean; None for n < 2 and without a spread.
        ci_high: its upper end.
    """

    n: int
    mean: float | None = None
    std: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None

    @property
    def has_spread(self) -> bool:
        """Whether the scores differ: a few that are equal are no evidence that others will be."""
        return self.std is not None and round(self.std, DIGITS) > 0


def summarise(scores: Sequence[float], confidence: float = 0.95, interval: Interval = "t") -> Summary:
    """Summarise scores of equally good standing (one per seed), in their own unit."""
    n = len(scores)
    if n == 0:
        return Summary(n=0)
    mean = float(np.mean(scores))
    if n == 1:
        return Summary(n=1, mean=mean)
    std = float(np.std(scores, ddof=1))
    alone = Summary(n=n, mean=mean, std=std)
    if not alone.has_spread:
        return alone
    low, high = (bca_interval if interval == "bca" else t_interval)(np.asarray(scores, float), confidence)
    return replace(alone, ci_low=float(low), ci_high=float(high))


def t_interval(
    scores: npt.NDArray[np.float64], confidence: float = 0.95
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Student's interval of the mean of n >= 2 scores along the last axis."""
    n = scores.shape[-1]
    mean, std = scores.mean(axis=-1), scores.std(axis=-1, ddof=1)
    half = stats.t.ppf((1 + confidence) / 2, df=n - 1) * std / math.sqrt(n)
    return np.asarray(mean - half), np.asarray(mean + half)


def bca_interval(
    scores: npt.NDArray[np.float64], confidence: float = 0.95
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Bias-corrected and accelerated bootstrap interval of the mean of n >= 2 scores along the last axis.

    Source: Efron 1987, doi 10.1080/01621459.1987.10478410; computed by scipy.
    """
    result = stats.bootstrap(
        (scores,), np.mean, axis=-1, confidence_level=confidence, n_resamples=RESAMPLES, method="BCa",
        rng=np.random.default_rng(_SEED),
    )  # fmt: skip
    low, high = result.confidence_interval
    return np.asarray(low), np.asarray(high)

"""Mean, standard deviation and Student-t interval of one cell's scores over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True, slots=True)
class Summary:
    """What n scores say; `None` where n is too small to say it.

    Attributes:
        n: number of scores.
        mean: their mean; None for n = 0.
        std: sample standard deviation (ddof = 1); None for n < 2.
        ci_low: lower end of the Student-t interval of the mean; None for n < 2.
        ci_high: its upper end.
    """

    n: int
    mean: float | None = None
    std: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None


def summarise(scores: Sequence[float], confidence: float = 0.95) -> Summary:
    """Summarise scores of equally good standing (one per seed), in their own unit."""
    n = len(scores)
    if n == 0:
        return Summary(n=0)
    mean = float(np.mean(scores))
    if n == 1:
        return Summary(n=1, mean=mean)
    std = float(np.std(scores, ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, df=n - 1)) * std / math.sqrt(n)
    return Summary(n=n, mean=mean, std=std, ci_low=mean - half, ci_high=mean + half)

"""How a mean settles as seeds are added."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.statistics.summary import summarise, t_interval
from tune.spec.study import Interval

_SUBSETS = 500


@dataclass(frozen=True, slots=True)
class Step:
    """A mean over the first n seeds, and over any n of them; in the unit of the scores.

    Attributes:
        n: seeds.
        mean: of the first n.
        ci_low: lower end of its 95 % interval; None for n = 1.
        ci_high: its upper end.
        typical_half_width: of the Student interval, on average over random subsets of n; None for n = 1.
        typical_error: root mean square distance of such a subset's mean to the mean of all seeds.
    """

    n: int
    mean: float
    ci_low: float | None
    ci_high: float | None
    typical_half_width: float | None
    typical_error: float


def converge(scores: Sequence[float], rng: np.random.Generator, interval: Interval = "t") -> tuple[Step, ...]:
    """One step a seed, in the order of the seeds; `rng` draws the subsets (without replacement)."""
    values = np.asarray(scores, dtype=float)
    steps = []
    for n in range(1, len(values) + 1):
        subsets = rng.permuted(np.tile(values, (_SUBSETS, 1)), axis=1)[:, :n]
        error = float(np.sqrt(np.mean((subsets.mean(axis=1) - values.mean()) ** 2)))
        first = summarise(values[:n].tolist(), interval=interval)
        typical = None
        if n > 1:
            low, high = t_interval(subsets)
            typical = float(np.mean(high - low)) / 2
        mean = float(values[:n].mean())
        steps.append(Step(n, mean, first.ci_low, first.ci_high, typical, error))
    return tuple(steps)

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
        typical_half_width: of the Student interval, on average over random subsets of n; None for n = 1, and
            where none were drawn.
        typical_error: root mean square distance of such a subset's mean to the mean of all seeds, likewise.
    """

    n: int
    mean: float
    ci_low: float | None
    ci_high: float | None
    typical_half_width: float | None
    typical_error: float | None


def converge(
    scores: Sequence[float], rng: np.random.Generator | None = None, *, interval: Interval = "t"
) -> tuple[Step, ...]:
    """One step a seed, in the order of the seeds; `rng` draws the subsets (without replacement)."""
    values = np.asarray(scores, dtype=float)
    steps = []
    for n in range(1, len(values) + 1):
        first = summarise(values[:n].tolist(), interval=interval)
        typical, error = (None, None) if rng is None else _typical(values, n, rng)
        steps.append(Step(n, float(values[:n].mean()), first.ci_low, first.ci_high, typical, error))
    return tuple(steps)


def _typical(values: np.ndarray, n: int, rng: np.random.Generator) -> tuple[float | None, float]:
    """A step's `typical_half_width` and `typical_error`."""
    subsets = rng.permuted(np.tile(values, (_SUBSETS, 1)), axis=1)[:, :n]
    error = float(np.sqrt(np.mean((subsets.mean(axis=1) - values.mean()) ** 2)))
    if n == 1:
        return None, error
    low, high = t_interval(subsets)
    return float(np.mean(high - low)) / 2, error

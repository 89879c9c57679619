"""How a mean settles as seeds are added."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.statistics.summary import summarise, t_interval

_SUBSETS = 500


@dataclass(frozen=True, slots=True)
class Step:
    """A mean over the first n seeds, and over any n of them; in the unit of the scores.

    Attributes:
        n: seeds.
        mean: of the first n.
        half_width: of its 95 % Student interval; None for n = 1.
        typical_half_width: the same, on average over random subsets of n seeds; None for n = 1.
        typical_error: root mean square distance of such a subset's mean to the mean of all seeds.
    """

    n: int
    mean: float
    half_width: float | None
    typical_half_width: float | None
    typical_error: float


def converge(scores: Sequence[float], rng: np.random.Generator) -> tuple[Step, ...]:
    """One step a seed, in the order of the seeds; `rng` draws the subsets (without replacement)."""
    values = np.asarray(scores, dtype=float)
    steps = []
    for n in range(1, len(values) + 1):
        subsets = rng.permuted(np.tile(values, (_SUBSETS, 1)), axis=1)[:, :n]
        error = float(np.sqrt(np.mean((subsets.mean(axis=1) - values.mean()) ** 2)))
        first = summarise(values[:n].tolist())
        if n == 1 or first.ci_low is None or first.ci_high is None:
            steps.append(Step(n, float(values[0]), None, None, error))
            continue
        low, high = t_interval(subsets)
        half = (first.ci_high - first.ci_low) / 2
        steps.append(Step(n, float(values[:n].mean()), half, float(np.mean(high - low)) / 2, error))
    return tuple(steps)

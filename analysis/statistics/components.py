"""What a score's variance is made of: seed, level, corpus and their interactions.

Model: a score is the grand mean plus one random effect for each non-empty set of the crossed factors, so for
seed and level y = m + seed + level + seed:level, all uncorrelated with mean 0. One score per combination:
the interaction of all factors contains whatever is left (data order on a GPU, evaluation noise). Estimated by
equating mean squares with their expectations (analysis of variance, method of moments), which is unbiased
and, for balanced data without a negative estimate, equal to REML.
Source: Searle, Casella and McCulloch 1992, Variance Components, chapter 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Component:
    """One random effect.

    Attributes:
        source: its factors' names, joined by `:`.
        freedom: degrees of freedom.
        mean_square: of the analysis of variance.
        variance: the estimate, in squared units of the scores. A negative one says that the true one is
            near 0.
    """

    source: str
    freedom: int
    mean_square: float
    variance: float


def components(scores: npt.NDArray[np.float64], names: Sequence[str]) -> tuple[Component, ...]:
    """Estimate the components of a balanced design with one score per combination.

    Args:
        scores: one axis a factor, at least two levels on each.
        names: of the axes.

    Raises:
        ValueError: an axis has one level only, so that its variance cannot be told.
    """
    if min(scores.shape) < 2:
        raise ValueError(f"each factor needs two levels, but {dict(zip(names, scores.shape, strict=True))}")
    axes = range(scores.ndim)
    sets = [chosen for size in range(1, scores.ndim + 1) for chosen in combinations(axes, size)]
    freedom = {chosen: int(np.prod([scores.shape[axis] - 1 for axis in chosen])) for chosen in sets}
    squares = {chosen: _sum_of_squares(scores, chosen) / freedom[chosen] for chosen in sets}
    return tuple(
        Component(
            ":".join(names[axis] for axis in chosen),
            freedom[chosen],
            squares[chosen],
            _variance(scores.shape, squares, chosen),
        )
        for chosen in sets
    )


def _sum_of_squares(scores: npt.NDArray[np.float64], chosen: tuple[int, ...]) -> float:
    """Of the effect of a set of axes: what their means say beyond those of every smaller set."""
    others = tuple(axis for axis in range(scores.ndim) if axis not in chosen)
    effect = scores.mean(axis=others, keepdims=True)
    for axis in chosen:
        effect = effect - effect.mean(axis=axis, keepdims=True)
    return float(np.mean(effect**2) * scores.size)


def _variance(
    shape: tuple[int, ...], squares: dict[tuple[int, ...], float], chosen: tuple[int, ...]
) -> float:
    """E[mean square of A] sums the components of all sets that hold A; this inverts it by inclusion."""
    signed = sum(
        (-1) ** (len(other) - len(chosen)) * square
        for other, square in squares.items()
        if set(chosen) <= set(other)
    )
    return float(signed / np.prod([size for axis, size in enumerate(shape) if axis not in chosen]))

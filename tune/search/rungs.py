"""ASHA's rule over epochs, with a margin for noise. Pure: numbers in, numbers out.

Ray's ASHAScheduler keeps its cut to itself, so a margin cannot be put on it; at margin 0 the two decide
alike (tests/unit/test_search_rungs.py).
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np


def rung_epochs(grace_period: int, factor: float, max_epochs: int, bracket: int = 0) -> tuple[int, ...]:
    """The epochs after which a bracket decides; none at the last epoch, where there is nothing to stop."""
    epochs = []
    milestone = grace_period * factor**bracket
    while math.ceil(milestone) < max_epochs:
        epochs.append(math.ceil(milestone))
        milestone *= factor
    return tuple(dict.fromkeys(epochs))


def bracket_weights(grace_period: int, factor: float, max_epochs: int, brackets: int) -> tuple[float, ...]:
    """The share of configs that each bracket takes, as Ray's ASHAScheduler weighs them by number of rungs."""
    sizes = [len(rung_epochs(grace_period, factor, max_epochs, bracket)) for bracket in range(brackets)]
    weights = [math.exp(size - max(sizes)) for size in sizes]
    return tuple(weight / sum(weights) for weight in weights)


@dataclass
class Rungs:
    """What configs had reached at each rung.

    Attributes:
        factor: of ASHA: the best 1/factor of a rung go on.
    """

    factor: float
    _reached: dict[tuple[int, int], dict[int, float]] = field(default_factory=lambda: defaultdict(dict))

    def cut(self, bracket: int, epoch: int, config: int) -> float | None:
        """What a config must reach at a rung to be among the best, by the others; None without others."""
        reached = self._reached[bracket, epoch]
        others = [value for number, value in reached.items() if number != config]
        return float(np.percentile(others, (1 - 1 / self.factor) * 100)) if others else None

    def record(self, bracket: int, epoch: int, config: int, mean: float) -> None:
        """Note a config's mean at a rung; a later one, over more seeds, replaces it."""
        self._reached[bracket, epoch][config] = mean


@dataclass
class Spread:
    """The variance over seeds within configs, by epoch, pooled: sums of squares and degrees of freedom."""

    prior: Mapping[int, tuple[float, int]] = field(default_factory=dict)

    def variance(self, epoch: int, groups: Iterable[list[float]]) -> float | None:
        """Of the prior and of further groups, each the scores of one config's seeds; None if unknown."""
        squares, freedom = pooled(groups)
        before_squares, before_freedom = self.prior.get(epoch, (0.0, 0))
        freedom += before_freedom
        return (squares + before_squares) / freedom if freedom else None


def pooled(groups: Iterable[list[float]]) -> tuple[float, int]:
    """Sum of squares around each group's mean, and its degrees of freedom."""
    squares, freedom = 0.0, 0
    for group in groups:
        if len(group) > 1:
            mean = math.fsum(group) / len(group)
            squares += math.fsum((value - mean) ** 2 for value in group)
            freedom += len(group) - 1
    return squares, freedom

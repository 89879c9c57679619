"""The levels of a factor against their base, on the seeds that both have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.statistics.multiplicity import holm
from analysis.statistics.paired import hedges_g, paired_deltas, sign_flip_p
from analysis.statistics.summary import Summary, summarise
from tune.spec.study import Interval

SeedScores = Mapping[int, float]
"""A score by seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A level against its base on shared seeds.

    Attributes:
        delta: number, mean, std and interval of the differences.
        p: two-sided sign-flip p; None below two shared seeds. `p_adjusted` is Holm's over all levels that
            exist, those without a p counted as p = 1.
        effect: Hedges' g of the differences; None below three of them, or if they are equal.
    """

    delta: Summary
    p: float | None
    p_adjusted: float | None
    effect: float | None


def compare(
    levels: Sequence[SeedScores | None], is_base: Sequence[bool], interval: Interval = "t"
) -> list[Comparison | None]:
    """Compare each level with the base, and correct for their number.

    None for the base itself, and for a level that does not exist, which is given as None.
    """
    base = next((level for level, own in zip(levels, is_base, strict=True) if own), None) or {}
    alone = [
        None if own or level is None else _alone(paired_deltas(level, base), interval)
        for level, own in zip(levels, is_base, strict=True)
    ]
    adjusted = iter(holm([found.p for found in alone if found is not None]))
    return [found and replace(found, p_adjusted=next(adjusted)) for found in alone]


def _alone(deltas: Sequence[float], interval: Interval) -> Comparison:
    return Comparison(
        delta=summarise(deltas, interval=interval),
        p=sign_flip_p(deltas),
        p_adjusted=None,
        effect=hedges_g(deltas),
    )

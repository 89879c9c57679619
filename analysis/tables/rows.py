"""The computed rows of a table: one per cell, task and metric. Scores are in percent from here on."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pandas as pd

from analysis.paper import published_values, why_unpublished
from analysis.statistics.comparison import Comparison, SeedScores, compare
from analysis.statistics.summary import Summary, summarise
from lai_net.metrics.scoring import SCORES
from tune.forecast.significance import SIGNIFICANCE

DASH, MISSING, FAILED, BLOCKED, SIGNIFICANT = "dash", "missing", "failed", "blocked", "*"
PUBLISHED, NOT_GIVEN = "published", "not given"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one cell; its first fields, to `paper`, are the columns of the table's CSV.

    Attributes:
        n: seeds that completed and say the metric, or repetitions of a measured speed or memory; None where
            the cell does not exist.
        delta: mean difference to the base over the seeds that both have; None for the base itself.
        p: two-sided sign-flip p of those differences; `p_adjusted` is Holm's over the factor's levels
            that exist.
        mark: `*` where `p_adjusted` < 0.05; a cell without a score says `dash`, `missing`, `failed` or
            `blocked`, or `not given` where seeds completed; `published` is what only the paper has.
        paper: the published value, where the study shows what the paper does: the test split, end to end, its
            averaging, all folds.
        pairs: how many differences are behind `delta` and `p`.
        effect: Hedges' g of the differences behind `delta`; None below three of them, or if they are equal.
        is_base: whether the level is the base's.
        planned: seeds that the study asks for, or more where more are known.
        num_failed: seeds whose newest attempt failed.
        num_blocked: seeds whose relations have no entities, since the NER trial failed.
        num_silent: seeds that completed, but whose rows, from elsewhere, do not say the metric.
        rank_mean: mean over the seeds that all complete levels share, by which they are ranked; None for the
            other levels, and where there are no such seeds.
        rank_n: how many these seeds are.
        best: whether no other level's `rank_mean` (of a speed, `mean`) prints better; False where fewer than
            two levels are ranked.
        encoder: behind the numbers, where the table prints it.
        note: printed beside the number.
    """

    table: str
    dataset: str
    task: str
    factor: str
    level: str
    metric: str
    split: str
    n: int | None = None
    mean: float | None = None
    std: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    delta: float | None = None
    delta_ci_low: float | None = None
    delta_ci_high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    mark: str = ""
    paper: float | None = None
    pairs: int = 0
    effect: float | None = None
    is_base: bool = False
    planned: int = 0
    num_failed: int = 0
    num_blocked: int = 0
    num_silent: int = 0
    rank_mean: float | None = None
    rank_n: int = 0
    best: bool = False
    encoder: str = ""
    note: str = ""

    @property
    def num_done(self) -> int:
        """Seeds that completed."""
        return (self.n or 0) + self.num_silent

    @property
    def is_complete(self) -> bool:
        """Whether as many seeds as planned have a score, planned ones or others.

        One seed's luck is not ranked beside a mean.
        """
        return self.mean is not None and (self.n or 0) >= self.planned


_FIELDS = tuple(item.name for item in fields(Row))
CSV_COLUMNS = _FIELDS[: _FIELDS.index("paper") + 1]


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell of one task as plain values: its shared columns, its seeds by state, its scores by metric."""

    shared: Mapping[str, Any]
    states: Mapping[str, int]
    scores: Mapping[str, SeedScores]

    @classmethod
    def of(cls, cell: pd.DataFrame) -> "_Cell":
        """From the cell's rows of the frame; they are read once, since pandas takes its time."""
        shared = {str(name): value for name, value in cell.iloc[0].items()}
        columns = {name: cell[name].tolist() for name in ("state", "seed", *SCORES)}
        is_done = [state == "completed" for state in columns["state"]]
        seeds = columns["seed"]
        scores = {
            metric: {
                int(seed): 100 * score
                for seed, score, done in zip(seeds, columns[metric], is_done, strict=True)
                if done and not math.isnan(score)
            }
            for metric in SCORES
        }
        return cls(shared, Counter(columns["state"]), scores)


def compute_rows(cells: pd.DataFrame, table: str) -> tuple[Row, ...]:
    """The rows of the cells of table `1`, `2`, `4`, `5` or `representations`, in the order of the frame.

    Args:
        cells: the frame that `analysis.load` gives for a study.
        table: the table's number.
    """
    rows: list[Row] = []
    part = cells[cells["table"] == table]
    for _, family in part.groupby(["dataset", "task", "factor"], sort=False):
        levels = [_Cell.of(cell) for _, cell in family.groupby("level", sort=False)]
        by_metric = [_family_rows(levels, metric) for metric in SCORES]
        rows.extend(row for same_level in zip(*by_metric, strict=True) for row in same_level)
    return tuple(rows)


def _family_rows(levels: Sequence[_Cell], metric: str) -> list[Row]:
    """One metric of all levels of a factor, which are compared with their base and among each other."""
    compared = compare(
        [cell.scores[metric] if cell.shared["exists"] else None for cell in levels],
        [cell.shared["is_base"] for cell in levels],
        levels[0].shared["interval"],
    )
    rows = [_row(cell, metric, versus) for cell, versus in zip(levels, compared, strict=True)]
    return _ranked(rows, [cell.scores[metric] for cell in levels])


def _ranked(rows: Sequence[Row], scores: Sequence[SeedScores]) -> list[Row]:
    """The levels with their rank: what a seed does to a score must do it to all that are compared."""
    complete = [set(own) for row, own in zip(rows, scores, strict=True) if row.is_complete]
    shared = sorted(set.intersection(*complete)) if complete else []
    if not shared:
        return list(rows)
    ranked = [
        replace(row, rank_mean=summarise([own[seed] for seed in shared]).mean, rank_n=len(shared))
        if row.is_complete
        else row
        for row, own in zip(rows, scores, strict=True)
    ]
    return _marked(ranked, {row.level: row.rank_mean for row in ranked if row.rank_mean is not None}, max)


def _row(cell: _Cell, metric: str, versus: Comparison | None) -> Row:
    shared, scores = cell.shared, cell.scores[metric]
    dataset, task, factor, level = (str(shared[name]) for name in ("dataset", "task", "factor", "level"))
    place = (dataset, task, factor, level, metric)
    own = summarise(list(scores.values()), interval=shared["interval"])
    difference = Summary(n=0) if versus is None else versus.delta
    p_adjusted = None if versus is None else versus.p_adjusted
    num_silent = cell.states.get("completed", 0) - own.n
    num_failed, num_blocked = (cell.states.get(state, 0) for state in (FAILED, BLOCKED))
    return Row(
        table=str(shared["table"]), dataset=dataset, task=task, factor=factor, level=level,
        metric=metric, split=str(shared["split"]),
        n=own.n if shared["exists"] else None,
        mean=own.mean, std=own.std, ci_low=own.ci_low, ci_high=own.ci_high,
        delta=difference.mean, delta_ci_low=difference.ci_low, delta_ci_high=difference.ci_high,
        p=None if versus is None else versus.p,
        p_adjusted=p_adjusted,
        mark=SIGNIFICANT if p_adjusted is not None and p_adjusted < SIGNIFICANCE else _mark(cell, own),
        paper=None if why_unpublished(shared) else published_values().get(place),
        pairs=difference.n,
        effect=None if versus is None else versus.effect,
        is_base=bool(shared["is_base"]),
        planned=max(int(shared["planned_seeds"]), own.n + num_silent + num_failed + num_blocked),
        num_failed=num_failed, num_blocked=num_blocked, num_silent=num_silent,
    )  # fmt: skip


def _mark(cell: _Cell, own: Summary) -> str:
    if not cell.shared["exists"]:
        return DASH
    if own.n:
        return ""
    if "completed" in cell.states:
        return NOT_GIVEN
    return next((state for state in (FAILED, BLOCKED) if state in cell.states), MISSING)


def f1_rows(rows: Iterable[Row]) -> list[Row]:
    """The F1 of all tables' rows but Table 3's, which are Table 1's once more, against another base."""
    return [row for row in rows if row.metric == "f1" and row.table != "3"]


def with_best(rows: Sequence[Row], *, lowest: bool = False) -> list[Row]:
    """The rows of one measured metric and place, the highest or lowest mean marked as best."""
    means = {row.level: row.mean for row in rows if row.mean is not None}
    return _marked(rows, means, min if lowest else max)


def _marked(
    rows: Sequence[Row], values: Mapping[str, float], best: Callable[[Iterable[float]], float]
) -> list[Row]:
    """The rows with the levels marked whose value prints as the best of two or more."""
    printed = {level: round(value, 2) for level, value in values.items()}
    top = best(printed.values()) if len(printed) > 1 else None
    return [replace(row, best=top is not None and printed.get(row.level) == top) for row in rows]

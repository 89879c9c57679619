"""The computed rows of a table: one per cell, task and metric. Scores are in percent from here on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import pandas as pd

from analysis.paper import published_values
from analysis.statistics.multiplicity import holm
from analysis.statistics.paired import paired_deltas, sign_flip_p
from analysis.statistics.summary import Summary, summarise
from tune.results import SCORES
from tune.summary import SIGNIFICANCE

DASH, MISSING, FAILED, BLOCKED, SIGNIFICANT = "dash", "missing", "failed", "blocked", "*"
_PAPERS_VIEW = {"split": "test", "entities": "predicted", "protocol": "pure"}

SeedScores = Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one cell; its first fields, to `paper`, are the columns of the table's CSV.

    Attributes:
        n: seeds that completed; None where the cell does not exist.
        delta: mean difference to the base over the seeds that both have; None for the base itself.
        p: two-sided sign-flip p of those differences; `p_adjusted` is Holm's over the factor's levels.
        mark: `*` where `p_adjusted` < 0.05; a cell without a score says `dash`, `missing`,
            `failed` or `blocked`.
        paper: the published value, where the study shows what the paper does: the test split, end to end.
        is_base: whether the level is the base's.
        planned: seeds that the study asks for, or more where more are known.
        num_failed: seeds whose newest attempt failed.
        num_blocked: seeds whose relations have no entities, since the NER trial failed.
        best: whether no other level's mean prints higher; False where there is nothing to compare.
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
    is_base: bool = False
    planned: int = 0
    num_failed: int = 0
    num_blocked: int = 0
    best: bool = False


_FIELDS = tuple(item.name for item in fields(Row))
CSV_COLUMNS = _FIELDS[: _FIELDS.index("paper") + 1]


def compute_rows(cells: pd.DataFrame, table: str) -> tuple[Row, ...]:
    """The rows of table `2`, `4` or `5`, in the order of the frame's cells.

    Args:
        cells: the frame that `analysis.frame.load` gives.
        table: the table's number.
    """
    rows: list[Row] = []
    part = cells[cells["table"] == table]
    for _, family in part.groupby(["dataset", "task", "factor"], sort=False):
        levels = {str(level): cell for level, cell in family.groupby("level", sort=False)}
        by_metric = [_family_rows(levels, metric) for metric in SCORES]
        rows.extend(row for same_level in zip(*by_metric, strict=True) for row in same_level)
    return tuple(rows)


def _family_rows(levels: Mapping[str, pd.DataFrame], metric: str) -> list[Row]:
    """One metric of all levels of a factor, which are compared with their base and among each other."""
    scores = {level: _scores_by_seed(cell, metric) for level, cell in levels.items()}
    base = next((level for level, cell in levels.items() if cell["is_base"].iloc[0]), None)
    rows = [
        _row(cell, metric, scores[level], scores[base] if base not in (None, level) else {})
        for level, cell in levels.items()
    ]
    adjusted = holm([row.p for row in rows])
    return _with_best(
        [
            replace(row, p_adjusted=p, mark=SIGNIFICANT if p is not None and p < SIGNIFICANCE else row.mark)
            for row, p in zip(rows, adjusted, strict=True)
        ]
    )


def _scores_by_seed(cell: pd.DataFrame, metric: str) -> dict[int, float]:
    done = cell[(cell["state"] == "completed") & cell[metric].notna()]
    return {int(seed): 100 * float(score) for seed, score in zip(done["seed"], done[metric], strict=True)}


def _row(cell: pd.DataFrame, metric: str, scores: SeedScores, base: SeedScores) -> Row:
    first = cell.iloc[0]
    dataset, task, factor, level = (str(first[name]) for name in ("dataset", "task", "factor", "level"))
    own = summarise(list(scores.values()))
    deltas = paired_deltas(scores, base)
    difference = summarise(deltas)
    exists = bool(first["exists"])
    num_failed, num_blocked = (int((cell["state"] == state).sum()) for state in (FAILED, BLOCKED))
    as_published = all(first[name] == value for name, value in _PAPERS_VIEW.items())
    return Row(
        table=str(first["table"]), dataset=dataset, task=task, factor=factor, level=level,
        metric=metric, split=str(first["split"]),
        n=own.n if exists else None,
        mean=own.mean, std=own.std, ci_low=own.ci_low, ci_high=own.ci_high,
        delta=difference.mean, delta_ci_low=difference.ci_low, delta_ci_high=difference.ci_high,
        p=sign_flip_p(deltas),
        mark=_mark(cell, own),
        paper=published_values().get((dataset, task, factor, level, metric)) if as_published else None,
        is_base=bool(first["is_base"]),
        planned=max(int(first["planned_seeds"]), own.n + num_failed + num_blocked),
        num_failed=num_failed, num_blocked=num_blocked,
    )  # fmt: skip


def _mark(cell: pd.DataFrame, own: Summary) -> str:
    if not cell["exists"].iloc[0]:
        return DASH
    if own.n:
        return ""
    states = set(cell["state"])
    return next((state for state in (FAILED, BLOCKED) if state in states), MISSING)


def _with_best(rows: Sequence[Row]) -> list[Row]:
    printed = {row.level: round(row.mean, 2) for row in rows if row.mean is not None}
    top = max(printed.values()) if len(printed) > 1 else None
    return [replace(row, best=top is not None and printed.get(row.level) == top) for row in rows]

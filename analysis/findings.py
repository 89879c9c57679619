"""A study in plain words: how far it is, and per factor which level is best and whether seeds can tell."""

from collections.abc import Sequence

import pandas as pd

from analysis.tables.layout import NAMES, signed
from analysis.tables.rows import PUBLISHED, SIGNIFICANT, Row, f1_rows
from tune.forecast.summary import SIGNIFICANCE, smallest_p

_CELL = ["dataset", "phase", "factor", "level"]


def progress(cells: pd.DataFrame) -> str:
    """One sentence on how many of the existing cells have their seeds."""
    cells = cells[cells["exists"] & (cells["task"] == cells["phase"])]
    done = cells["state"] == "completed"
    failed = _failed(cells)
    counts = done.groupby([cells[name] for name in _CELL]).sum()
    if not counts.any():
        return f"Nothing is done yet: all {len(counts)} cells are missing.{failed}"
    num_full = int((counts >= cells["planned_seeds"].max()).sum())
    num_empty = int((counts == 0).sum())
    return (
        f"Of {len(counts)} cells {num_full} have all their seeds, {len(counts) - num_full - num_empty} some, "
        f"{num_empty} none.{failed}"
    )


def _failed(cells: pd.DataFrame) -> str:
    """How many trials failed, and the cells that wait for them."""
    lost = cells[cells["state"].isin(["failed", "blocked"])]
    num_trials = len({name for names in lost["trial_ids"] for name in names.split()})
    num_blocked = len(lost.loc[lost["state"] == "blocked", _CELL].drop_duplicates())
    if not num_trials:
        return ""
    blocked = f", which blocks {num_blocked} relation cell{_s(num_blocked)}" if num_blocked else ""
    return f" {num_trials} trial{_s(num_trials)} failed{blocked}."


def findings(rows: Sequence[Row]) -> list[str]:
    """One sentence on F1 per dataset, task and factor of which two levels have scores.

    A dataset and task in which nothing is compared has one on its base.

    Args:
        rows: of all tables of a study.
    """
    families: dict[tuple[str, str, str], list[Row]] = {}
    for row in f1_rows(rows):
        if row.mark != PUBLISHED:
            families.setdefault((row.dataset, row.task, row.factor), []).append(row)
    places: dict[tuple[str, str], list[str]] = {}
    bases: dict[tuple[str, str], Row] = {}
    for (dataset, task, factor), levels in families.items():
        base = next((row for row in levels if row.is_base), None)
        if base is None:
            continue  # another table's scores, shown again
        if base.mean is not None:
            bases.setdefault((dataset, task), base)
        said = places.setdefault((dataset, task), [])
        scored = [row for row in levels if row.mean is not None]
        if len(scored) > 1:
            said.append(f"{dataset} {task}, {NAMES[factor]}: {_finding(scored)}")
    return [
        sentence
        for place, said in places.items()
        for sentence in said or ([_alone(bases[place])] if place in bases else [])
    ]


def _alone(base: Row) -> str:
    """A base that is compared with nothing."""
    text = f"{base.dataset} {base.task}, the base alone: F1 {score(base)}"
    if base.ci_low is None or base.ci_high is None:
        return f"{text}; one seed says nothing about the spread over seeds."
    return f"{text}; 95 % interval of the mean {base.ci_low:.2f} to {base.ci_high:.2f}."


def _finding(levels: Sequence[Row]) -> str:
    best = max(levels, key=lambda row: row.mean or 0.0)
    tested = [row for row in levels if row.p_adjusted is not None]
    pairs = max((row.pairs for row in tested), default=1)
    too_few = smallest_p(pairs, max(1, len(tested))) >= SIGNIFICANCE
    text = f"best is “{best.level}”: F1 {score(best)}"
    if best.is_base:
        told = sum(row.mark == SIGNIFICANT for row in tested)
        verdict = f"{told} of {len(tested)} other levels can be told apart from it"
        return f"{text}, the base; {'too few seeds to tell another level apart' if too_few else verdict}."
    if best.delta is None:
        has_base = any(row.is_base for row in levels)
        return f"{text}; {'no seed is shared with the base' if has_base else 'the base has no scores yet'}."
    text += f", {signed(best.delta)} to the base"
    if best.delta_ci_low is not None and best.delta_ci_high is not None:
        text += f" (95 % interval {signed(best.delta_ci_low)} to {signed(best.delta_ci_high)})"
    verdict = f"{'more than noise' if best.mark == SIGNIFICANT else 'not told apart from noise'}"
    return f"{text}; {'too few seeds to tell it from noise' if too_few else verdict}."


def _s(number: int) -> str:
    return "" if number == 1 else "s"


def score(row: Row) -> str:
    """Mean, deviation and n of a row that has scores."""
    spread = "" if row.std is None else f" ± {row.std:.2f}"
    return f"{row.mean:.2f}{spread} (n = {row.n})"

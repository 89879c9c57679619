"""A study in plain words: how far it is, and per factor which level is best and whether seeds can tell."""

from collections.abc import Sequence

import pandas as pd

from analysis.statistics.paired import smallest_p
from analysis.tables.layout import NAMES, signed
from analysis.tables.rows import ALPHA, SIGNIFICANT, Row


def progress(cells: pd.DataFrame) -> str:
    """One sentence on how many of the existing cells have their seeds."""
    cells = cells[cells["exists"] & (cells["task"] == cells["phase"])]
    done = cells["state"] == "completed"
    num_failed = int((cells["state"] == "failed").sum())
    failed = f" Of the missing seeds {num_failed} failed." if num_failed else ""
    counts = done.groupby([cells[name] for name in ("dataset", "phase", "factor", "level")]).sum()
    if not counts.any():
        return f"Nothing is done yet: all {len(counts)} cells are missing.{failed}"
    num_full = int((counts >= cells["planned_seeds"].max()).sum())
    num_empty = int((counts == 0).sum())
    return (
        f"Of {len(counts)} cells {num_full} have all their seeds, {len(counts) - num_full - num_empty} some, "
        f"{num_empty} none.{failed}"
    )


def findings(rows: Sequence[Row]) -> list[str]:
    """One sentence per dataset, task and factor, on F1; nothing where fewer than two levels have scores."""
    families: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.metric == "f1" and row.mean is not None:
            families.setdefault((row.dataset, row.task, row.factor), []).append(row)
    return [
        f"{dataset} {task}, {NAMES[factor]}: {_finding(levels)}"
        for (dataset, task, factor), levels in families.items()
        if len(levels) > 1
    ]


def _finding(levels: Sequence[Row]) -> str:
    best = max(levels, key=lambda row: row.mean or 0.0)
    tested = [row for row in levels if row.p_adjusted is not None]
    seeds = max((row.n or 0 for row in tested), default=1)
    too_few = smallest_p(seeds, max(1, len(tested))) >= ALPHA
    text = f"best is “{best.level}”: F1 {_score(best)}"
    if best.delta is None:
        told = sum(row.mark == SIGNIFICANT for row in tested)
        verdict = f"{told} of {len(tested)} other levels can be told apart from it"
        return f"{text}, the base; {'too few seeds to tell another level apart' if too_few else verdict}."
    text += f", {signed(best.delta)} to the base"
    if best.delta_ci_low is not None and best.delta_ci_high is not None:
        text += f" (95 % interval {signed(best.delta_ci_low)} to {signed(best.delta_ci_high)})"
    verdict = f"{'more than noise' if best.mark == SIGNIFICANT else 'not told apart from noise'}"
    return f"{text}; {'too few seeds to tell it from noise' if too_few else verdict}."


def _score(row: Row) -> str:
    spread = "" if row.std is None else f" ± {row.std:.2f}"
    return f"{row.mean:.2f}{spread} (n = {row.n})"

"""A study in plain words: how far it is, and per factor which level is best and whether seeds can tell."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from analysis.tables.caption import beyond
from analysis.tables.layout import NAMES, interval_text, signed
from analysis.tables.reach import attainable_p
from analysis.tables.rows import PUBLISHED, SIGNIFICANT, Row, f1_rows
from lai_net.wording import counted, spanned
from tune.forecast.significance import SIGNIFICANCE

_CELL = ["dataset", "phase", "factor", "level"]


def progress(cells: pd.DataFrame) -> str:
    """One sentence on how many of the planned cells that exist have as many seeds as the study asks for."""
    cells = cells[cells["exists"] & (cells["task"] == cells["phase"]) & (cells["planned_seeds"] > 0)]
    done = cells["state"] == "completed"
    failed = _failed(cells)
    counts = done.groupby([cells[name] for name in _CELL]).sum()
    if not counts.any():
        return f"Nothing is done yet: all {len(counts)} cells are missing.{failed}"
    num_full = int((counts >= cells["planned_seeds"].max()).sum())
    num_empty = int((counts == 0).sum())
    return (
        f"Of {len(counts)} cells {num_full} have as many seeds as planned, "
        f"{len(counts) - num_full - num_empty} fewer, {num_empty} none.{failed}"
    )


def _failed(cells: pd.DataFrame) -> str:
    """How many trials failed, imported ones without an id among them, and the cells that wait for them."""
    lost = cells[cells["state"].isin(["failed", "blocked"])]
    named = {name for names in lost["trial_ids"] for name in names.split()}
    nameless = lost[(lost["state"] == "failed") & (lost["trial_ids"] == "")]
    num_trials = len(named) + len(nameless[["dataset", "phase", "config", "seed"]].drop_duplicates())
    num_blocked = len(lost.loc[lost["state"] == "blocked", _CELL].drop_duplicates())
    if not num_trials:
        return ""
    blocked = f", which blocks {counted(num_blocked, 'relation cell')}" if num_blocked else ""
    return f" {counted(num_trials, 'trial')} failed{blocked}."


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
        known = [row for row in levels if row.mean is not None or (row.planned and row.n is not None)]
        if sum(row.mean is not None for row in known) > 1:
            said.append(f"{dataset} {task}, {NAMES[factor]}: {_finding(known)}")
    return [
        sentence
        for place, said in places.items()
        for sentence in said or ([_alone(bases[place])] if place in bases else [])
    ]


def _alone(base: Row) -> str:
    """A base that is compared with nothing."""
    text = f"{base.dataset} {base.task}, the base alone: F1 {score(base)}"
    if base.ci_low is None or base.ci_high is None:
        seeds = "one seed says" if base.n == 1 else "equal scores say"
        return f"{text}; {seeds} nothing about the spread over seeds."
    text += f"; 95 % interval of the mean {base.ci_low:.2f} to {base.ci_high:.2f}."
    return " ".join(filter(None, [text, beyond([base])]))


def _finding(levels: Sequence[Row]) -> str:
    """The best of the levels that have as many seeds as planned, as in the tables; the others are named.

    Those without any seed are named, too.
    """
    ranked = [row for row in levels if row.is_complete]
    lacking = [row for row in levels if not row.is_complete]
    if not ranked:
        return f"no level has as many seeds as planned, so none is called best ({_seeds(lacking)})."
    if len(ranked) == 1:
        text = f"only {_names(ranked)} has as many seeds as planned: F1 {score(ranked[0])}"
    elif not ranked[0].rank_n:
        text = f"{_names(ranked)} share no seed, so none is called best"
    else:
        has_base = any(row.is_base and row.mean is not None for row in levels)
        text = _ranking(ranked, attainable_p(levels), has_base=has_base)
    return f"{text}; too few seeds to rank {_names(lacking)} ({_seeds(lacking)})." if lacking else f"{text}."


def _ranking(levels: Sequence[Row], reach: Mapping[Row, float], *, has_base: bool) -> str:
    """Which level has the highest mean, or which share it as printed, and what the seeds say of that.

    The mean is that over the seeds that all of them share; a level that has others has another mean, too.
    The base may have scores without being one of them.
    """
    is_alike = all(row.n == row.rank_n for row in levels)
    where = "" if is_alike else f" on {counted(levels[0].rank_n, 'shared seed')}"
    best = [row for row in levels if row.best]
    best.sort(key=lambda row: not row.is_base)
    first, others = best[0], [row for row in levels if row in reach]
    scores = " and ".join(
        score(row) if is_alike else f"{row.rank_mean:.2f} there, in all {score(row)}" for row in best
    )
    if len(best) == 1:
        text = f"best{where} is “{first.level}”: F1 {scores}"
        if first.is_base:
            return f"{text}, the base; {_told_apart(others, reach, 'it')}"
        text += f"{', ' if first in reach else '; '}{_to_base(first, reach, has_base=has_base)}"
        return "; ".join([text, *_each(others, best, reach)])
    text = f"{_names(best)} tie for best{where}: F1 {scores}"
    if first.is_base:
        return f"{text}; {_told_apart(others, reach, 'the base')}"
    apart = (f"{_names([row])}: {_to_base(row, reach, has_base=has_base)}" for row in best)
    return "; ".join([text, *apart, *_each(others, best, reach)])


def _each(others: Sequence[Row], said: Sequence[Row], reach: Mapping[Row, float]) -> Iterator[str]:
    """How each further level differs from the base that does so by more than noise."""
    for row in others:
        if row.mark == SIGNIFICANT and row not in said:
            yield f"{_names([row])}: {_to_base(row, reach, has_base=True)}"


def _told_apart(others: Sequence[Row], reach: Mapping[Row, float], base: str) -> str:
    """Which other levels differ from the base by more than noise, and which lack the seeds to show it."""
    reaching = [row for row in others if reach[row] < SIGNIFICANCE]
    if not reaching:
        return "too few seeds to tell another level apart"
    rest = [row for row in reaching if row.mark != SIGNIFICANT]
    parts = list(_each(others, (), reach))
    if rest and parts:
        parts.append(f"{_names(rest)} cannot be told apart from the base")
    elif rest:
        parts.append(f"no other level can be told apart from {base}")
    too_few = [row for row in others if row not in reaching]
    return "; ".join(parts) + (f", too few seeds to tell {_names(too_few)}" if too_few else "")


def _to_base(row: Row, reach: Mapping[Row, float], *, has_base: bool) -> str:
    """How a level differs from the base, and whether that is more than noise."""
    if row.delta is None:
        return "no seed is shared with the base" if has_base else "the base has no scores yet"
    text = f"{signed(row.delta)} to the base on {counted(row.pairs, 'shared seed')}"
    if row.delta_ci_low is not None and row.delta_ci_high is not None:
        text += f" ({interval_text(row.delta_ci_low, row.delta_ci_high)})"
    if reach[row] >= SIGNIFICANCE:
        return f"{text}; too few seeds to tell it from noise"
    return f"{text}; {'more than noise' if row.mark == SIGNIFICANT else 'not told apart from noise'}"


def _names(levels: Sequence[Row]) -> str:
    """`“2” (the base), “0” and “1”`."""
    names = [f"“{row.level}”{' (the base)' if row.is_base else ''}" for row in levels]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _seeds(levels: Sequence[Row]) -> str:
    return f"n = {spanned(row.n or 0 for row in levels)}"


def score(row: Row) -> str:
    """Mean, deviation and n of a row that has scores."""
    spread = "" if row.std is None else f" ± {row.std:.2f}"
    return f"{row.mean:.2f}{spread} (n = {row.n})"

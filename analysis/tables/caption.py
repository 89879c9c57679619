"""The caption of a table: what its numbers are, so that nobody has to guess or to ask."""

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.paper import VERSION, published_encoders
from analysis.tables.layout import NAMES, Layout, unplanned
from analysis.tables.rows import BLOCKED, FAILED, MISSING, PUBLISHED, Row
from tune.results import SCORES
from tune.summary import SIGNIFICANCE, smallest_p

_INTERVALS = {"t": "Student-t", "bca": "BCa bootstrap"}
_NOT_SAID = "not said by imported rows"
_ABSENT = {
    "not measured": "not measured: the benchmark has no such row.",
    "not planned": "not planned: this study trains no such model.",
}
_ENTITIES = {
    "predicted": "end to end (on predicted entities)",
    "gold": "on gold entities",
    "gold_typed_by_model": "on gold spans with the model's types",
}


def describe(
    cells: pd.DataFrame, rows: Sequence[Row], layout: Layout, notes: Sequence[str] = ()
) -> tuple[str, ...]:
    """The sentences below a table.

    Args:
        cells: the frame's rows of this table.
        rows: what was computed from them, and what else the table prints.
        layout: which of them are printed, and whether with deltas.
        notes: further sentences, on what this table alone has.
    """
    shown = [row for row in rows if row.metric in layout.metrics]
    ours = [row for row in shown if row.mark != PUBLISHED]
    scores = [row for row in ours if row.metric in SCORES]
    sentences = (
        _what(cells, layout), _seeds(scores, cells), _test(scores, layout), *notes, _signs(ours),
        _paper(ours),
    )  # fmt: skip
    return tuple(filter(None, sentences))


def _what(cells: pd.DataFrame, layout: Layout) -> str:
    scored = "Precision (P), recall (R) and F1" if "precision" in layout.metrics else "F1"
    relations = cells[cells["phase"] == "RE"].replace({"entities": _ENTITIES})
    how = f", relations {_values(relations, 'entities')}" if len(relations) else ""
    done = cells[cells["state"] == "completed"].fillna(dict.fromkeys(("encoder", "selection"), _NOT_SAID))
    said = cells if done.empty else done
    return (
        f"{scored} in percent on the {_values(cells, 'split')} split{how}; protocol "
        f"{_values(cells, 'protocol')}, averaging {_values(cells, 'averaging')}, checkpoint "
        f"selection: {_values(said, 'selection')}, encoder: {_values(said, 'encoder')}."
    )


def _values(cells: pd.DataFrame, column: str) -> str:
    """The value of a column; where datasets differ, each dataset's."""
    known = cells[cells[column].notna() & (cells[column] != "")]
    by_dataset = {
        str(dataset): " and ".join(sorted(set(part[column].astype(str))))
        for dataset, part in known.groupby("dataset", sort=False)
    }
    return _by_value(by_dataset)


def _by_value(values: Mapping[str, str]) -> str:
    """`micro`, or where datasets differ `micro (ACE05, SciERC), macro (ADE)`."""
    datasets: dict[str, list[str]] = {}
    for dataset, value in values.items():
        datasets.setdefault(value, []).append(dataset)
    if len(datasets) == 1:
        return next(iter(datasets))
    return ", ".join(f"{value} ({', '.join(names)})" for value, names in datasets.items())


def _seeds(rows: Sequence[Row], cells: pd.DataFrame) -> str:
    counts = sorted({row.n for row in rows if row.n})
    if not counts:
        return "No seed has completed yet."
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    spread = "Mean ± standard deviation (ddof = 1) over" if counts[-1] > 1 else "Scores of"
    alone = " (no deviation)" if counts[-1] == 1 else ""
    kinds = " and ".join(_INTERVALS[kind] for kind in sorted(set(cells["interval"])))
    interval = f" a to b: 95 % {kinds} interval of the mean." if counts[-1] > 1 else ""
    return f"{spread} n = {many} seed{'s' if counts[-1] > 1 else ''}{alone}.{interval}"


def _test(rows: Sequence[Row], layout: Layout) -> str:
    bracket = "In brackets: mean difference to the base on shared seeds. " if layout.shows_delta else ""
    tested = [row for row in rows if row.p is not None]
    if not tested:
        some = any(row.delta is not None for row in rows)
        return f"{bracket}One shared seed is too few to test a difference to the base." if some else ""
    return (
        f"{bracket}*: p < {SIGNIFICANCE:.2g}, two-sided sign-flip permutation test on differences to the "
        "base, paired by seed, Holm-adjusted over the levels of a factor within dataset and task."
        f"{_out_of_reach(tested)}"
    )


def _out_of_reach(tested: Sequence[Row]) -> str:
    """Names the factors where so few seeds can mark nothing, however large a difference is."""
    families: dict[tuple[str, ...], list[int]] = {}
    for row in tested:
        families.setdefault((row.factor, row.dataset, row.task, row.metric), []).append(row.n or 0)
    reached = {factor: 1.0 for factor, *_ in families}
    for (factor, *_), seeds in families.items():
        reached[factor] = min(reached[factor], smallest_p(max(seeds), len(seeds)))
    names = [NAMES[factor] for factor, p in reached.items() if p >= SIGNIFICANCE]
    return f" Too few seeds to mark anything, whatever the difference: {', '.join(names)}." if names else ""


def _signs(rows: Sequence[Row]) -> str:
    signs = [
        "Bold: best level per dataset and task within a factor; the paper's values are not ranked with ours."
    ] * any(row.best for row in rows)
    signs += ["–: does not exist."] * any(row.n is None for row in rows)
    signs += ["missing (0/N): none of N seeds done."] * any(
        row.mark == MISSING and row.planned for row in rows
    )
    absent = {unplanned(row.metric) for row in rows if row.mark == MISSING and not row.planned}
    signs += [_ABSENT[name] for name in sorted(absent)]
    signs += ["failed (k/N): k of N seeds failed, none done."] * any(row.mark == FAILED for row in rows)
    signs += ["blocked (k/N): none done, for k of N seeds since the NER trial failed."] * any(
        row.mark == BLOCKED for row in rows
    )
    signs += ["[k/N]: only k of N seeds done."] * any(0 < (row.n or 0) < row.planned for row in rows)
    return " ".join(signs)


def _paper(rows: Sequence[Row]) -> str:
    datasets = dict.fromkeys(row.dataset for row in rows if row.paper is not None)
    if not datasets:
        return ""
    encoders = _by_value({name: " and ".join(published_encoders(name)) for name in datasets})
    return (
        f"Paper: published values of the {VERSION}, encoder {encoders}, checkpoint selected on test; not "
        "comparable with ours where the encoders differ, and no result of this project."
    )

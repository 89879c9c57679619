"""The caption of a table, and the notes that a study's tables share: what the numbers are.

A caption says what is shown and what holds for this table alone. A note is a sentence that other tables of
the study need in the same words, so that whoever prints several tables can print it once.
"""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from analysis.paper import VERSION, published_encoders, why_unpublished
from analysis.statistics.summary import BCA_NEEDS, BCA_WARNING, INTERVALS
from analysis.tables.layout import NAMES, Layout, unplanned
from analysis.tables.reach import attainable_p
from analysis.tables.rows import BLOCKED, FAILED, MISSING, NOT_GIVEN, PUBLISHED, SIGNIFICANT, Row
from lai_net.metrics.scoring import SCORES
from lai_net.wording import spanned
from tune.forecast.significance import SIGNIFICANCE

_BEYOND = "An interval beyond 0 or 100 comes from few seeds: Student's t knows no bounds."
_NOT_SAID = "not said by imported rows"
_BOLD = {
    "sentences_per_second": "Bold speed: the highest per dataset and phase.",
    "peak_mib": "Bold peak memory: the lowest per dataset and phase.",
}
_ABSENT = {
    "not measured": "not measured: speed of these settings (encoder, layers, precision, filter, graph) was "
    "not measured, or imported rows do not say them.",
    "not planned": "not planned: this study trains no such model.",
}
ENTITIES: Mapping[str, str] = {
    "predicted": "end to end (on predicted entities)",
    "gold": "on gold entities",
    "gold_typed_by_model": "on gold spans with the model's types",
}


def describe(cells: pd.DataFrame, rows: Sequence[Row], layout: Layout) -> tuple[str, ...]:
    """The sentences of a table's caption: what it shows, over how many seeds, and what they cannot show.

    Args:
        cells: the frame's rows of this table; empty where the study has no cell of it.
        rows: what was computed from them, and what else the table prints.
        layout: which of them are printed.
    """
    scored = "Precision (P), recall (R) and F1" if "precision" in layout.metrics else "F1"
    if cells.empty:
        return (f"{scored}: this study has no cell of this table.",)
    scores = [row for row in _own(rows, layout) if row.metric in SCORES]
    sentences = (
        f"{scored} in percent {where(cells)}; encoder: "
        f"{_values(_said(cells), 'encoder') or 'none'}; {_seeds(scores)}.",
        _folds(cells),
        _bases(scores),
        _star(scores),
        _out_of_reach(scores),
        beyond(scores),
    )
    return tuple(filter(None, sentences))


def where(cells: pd.DataFrame) -> str:
    """The view of the frame's rows in words: the split and, of relations, between which entities."""
    relations = cells[cells["phase"] == "RE"].replace({"entities": ENTITIES})
    how = f", relations {_values(relations, 'entities')}" if len(relations) else ""
    return f"on the {_values(cells, 'split')} split{how}"


def _folds(cells: pd.DataFrame) -> str:
    """Where a dataset shows some of its folds alone."""
    some = cells[cells["only_folds"] != ""].drop_duplicates("dataset")
    shown = map("{}: {} alone".format, some["dataset"], some["only_folds"])
    return f"{'; '.join(shown)}." if len(some) else ""


def _bases(rows: Sequence[Row]) -> str:
    """The base of each factor, where it is compared with other levels."""
    compared = {(row.dataset, row.task, row.factor) for row in rows if row.pairs}
    bases: dict[str, dict[str, str]] = {}
    is_one_dataset = len({row.dataset for row in rows}) == 1
    for row in rows:
        if row.is_base and (row.dataset, row.task, row.factor) in compared:
            place = row.task if is_one_dataset else f"{row.dataset} {row.task}"
            bases.setdefault(NAMES[row.factor], {})[place] = row.level
    said = "; ".join(f"{factor} {by_value(levels)}" for factor, levels in bases.items())
    return f"Base: {said.removesuffix('.')}." if said else ""


def common_notes(cells: pd.DataFrame, rows: Sequence[Row], layout: Layout) -> tuple[str, ...]:
    """What a reader of this table must know that other tables of the study say alike; see `describe`."""
    ours = _own(rows, layout)
    scores = [row for row in ours if row.metric in SCORES]
    sentences = (
        _protocol(cells), _spread(scores, cells), _bracket(scores, layout), _test(scores), *_signs(ours),
        _paper(ours), _unpublished(cells),
    )  # fmt: skip
    return tuple(filter(None, sentences))


def _own(rows: Sequence[Row], layout: Layout) -> list[Row]:
    """The rows that are printed, but for those that only the paper has."""
    return [row for row in rows if row.metric in layout.metrics and row.mark != PUBLISHED]


def _said(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells whose `encoder` and `selection` are those behind the numbers, where there are numbers."""
    done = cells[cells["state"] == "completed"].fillna(dict.fromkeys(("encoder", "selection"), _NOT_SAID))
    return cells if done.empty else done


def _protocol(cells: pd.DataFrame) -> str:
    if cells.empty:
        return ""
    return (
        f"Protocol {_values(cells, 'protocol')}, averaging {_values(cells, 'averaging')}, checkpoint "
        f"selection: {_values(_said(cells), 'selection')}."
    )


def _values(cells: pd.DataFrame, column: str) -> str:
    """The value of a column; where datasets differ, each dataset's."""
    known = cells[cells[column].notna() & (cells[column] != "")]
    by_dataset = {
        str(dataset): " and ".join(sorted(set(part[column].astype(str))))
        for dataset, part in known.groupby("dataset", sort=False)
    }
    return by_value(by_dataset)


def by_value(values: Mapping[str, str]) -> str:
    """`micro`, or where datasets differ `micro (ACE05, SciERC), macro (ADE)`."""
    datasets: dict[str, list[str]] = {}
    for dataset, value in values.items():
        datasets.setdefault(value, []).append(dataset)
    if len(datasets) == 1:
        return next(iter(datasets))
    return ", ".join(f"{value} ({', '.join(names)})" for value, names in datasets.items())


def _seeds(rows: Sequence[Row]) -> str:
    counts = [row.n for row in rows if row.n]
    if not counts:
        return "no seed has completed yet"
    return f"n = {spanned(counts)} seed{'s' if max(counts) > 1 else ''}"


def _spread(rows: Sequence[Row], cells: pd.DataFrame) -> str:
    counts = [row.n for row in rows if row.n and row.n > 1]
    if not counts:
        return ""
    kinds = sorted(set(cells["interval"]))
    named = " and ".join(INTERVALS[kind] for kind in kinds)
    warning = f" {BCA_WARNING}" if "bca" in kinds and min(counts) < BCA_NEEDS else ""
    is_equal = any(row.n and row.n > 1 and row.ci_low is None for row in rows)
    return (
        "Mean ± standard deviation (ddof = 1) over seeds, none for one seed; a to b: 95 % "
        f"{named} interval of the mean{', none where all scores are equal' * is_equal}.{warning}"
    )


def _bracket(rows: Sequence[Row], layout: Layout) -> str:
    is_shown = layout.shows_delta and any(row.delta is not None for row in rows)
    return "In brackets: mean difference to the base on shared seeds." if is_shown else ""


def _star(rows: Sequence[Row]) -> str:
    """The test behind a `*`, where one is printed or could be."""
    could_be = any(p < SIGNIFICANCE for p in attainable_p(rows).values())
    if not could_be and all(row.mark != SIGNIFICANT for row in rows):
        return ""
    return f"*: p < {SIGNIFICANCE:.2g}, paired sign-flip permutation test, Holm-adjusted."


def _test(rows: Sequence[Row]) -> str:
    if all(row.p is None for row in rows):
        return ""
    return (
        "Differences to the base are tested by a two-sided sign-flip permutation test on shared seeds, with "
        "Holm's correction over the levels of a factor within dataset, task and metric."
    )


def _out_of_reach(rows: Sequence[Row]) -> str:
    """Names the levels whose few shared seeds mark nothing, however large a difference is."""
    compared: dict[str, dict[str, dict[Row, float]]] = {}
    for row, p in attainable_p(rows).items():
        compared.setdefault(row.factor, {}).setdefault(row.level, {})[row] = p
    said = []
    for factor, levels in compared.items():
        by_reason: dict[str, list[str]] = {}
        for level, own in levels.items():
            by_reason.setdefault(_too_few(own), []).append(level)
        if len(by_reason) == 1:
            by_reason = {reason: [] for reason in by_reason}  # the factor's name stands for all of its levels
        said += [
            f"{' '.join([NAMES[factor], ', '.join(names)]).rstrip()} ({reason})"
            for reason, names in by_reason.items()
            if reason
        ]
    return f"Too few shared seeds to mark a difference, however large: {'; '.join(said)}." if said else ""


def _too_few(reach: Mapping[Row, float]) -> str:
    """`n = 3, p ≥ 0.25`: the shared seeds of a level and what they reach, with the places where not in all.

    Empty where they are enough everywhere.
    """
    few = [row for row, p in reach.items() if p >= SIGNIFICANCE]
    if not few:
        return ""
    text = f"n = {spanned(row.pairs for row in few)}"
    text += f", p ≥ {min(reach[row] for row in few):.2g}" * any(row.p is not None for row in few)
    places = dict.fromkeys(f"{row.dataset} {row.task}" for row in few)
    return text if len(few) == len(reach) else f"{text}; {', '.join(places)}"


def beyond(rows: Iterable[Row]) -> str:
    """Why an interval of scores ends where no score can be; empty where none does."""
    ends = [end for row in rows for end in (row.ci_low, row.ci_high) if end is not None]
    is_beyond = any(not 0 <= round(end, 2) <= 100 for end in ends)
    return _BEYOND if is_beyond else ""


def _signs(rows: Sequence[Row]) -> list[str]:
    best = {row.metric for row in rows if row.best}
    signs = [
        "Bold: best level per dataset and task within a factor, of those with as many seeds as planned, by "
        "the mean over the seeds that these share; the paper's values are not ranked with ours."
    ] * any(metric in best for metric in SCORES)
    signs += [said for metric, said in _BOLD.items() if metric in best]
    is_beside_paper = any(row.paper is not None for row in rows)
    if any(row.n is None for row in rows) or (is_beside_paper and any(row.paper is None for row in rows)):
        signs.append(f"–: does not exist{', or is not published' * is_beside_paper}.")
    signs += ["missing (0/N): none of N seeds done."] * any(
        row.mark == MISSING and row.planned for row in rows
    )
    absent = {unplanned(row.metric) for row in rows if row.mark == MISSING and not row.planned}
    signs += [_ABSENT[name] for name in sorted(absent)]
    signs += ["failed (k/N): k of N seeds failed, none done."] * any(row.mark == FAILED for row in rows)
    signs += ["blocked (k/N): none done, for k of N seeds since the NER trial failed."] * any(
        row.mark == BLOCKED for row in rows
    )
    signs += ["not given: seeds are done, but rows from elsewhere do not say it."] * any(
        row.mark == NOT_GIVEN for row in rows
    )
    signs += ["[k/N]: only k of N seeds done."] * any(row.n and row.num_done < row.planned for row in rows)
    started = [row for row in rows if row.n]
    signs += ["[k not given]: of the seeds that are done k do not say it."] * any(
        row.num_silent for row in started
    )
    signs += ["[k failed]: of the seeds that lack k failed."] * any(row.num_failed for row in started)
    signs += ["[k blocked]: of the seeds that lack k wait in vain for an NER trial that failed."] * any(
        row.num_blocked for row in started
    )
    return signs


def _paper(rows: Sequence[Row]) -> str:
    datasets = dict.fromkeys(row.dataset for row in rows if row.paper is not None)
    if not datasets:
        return ""
    encoders = by_value({name: " and ".join(published_encoders(name)) for name in datasets})
    return (
        f"Paper: published values of the {VERSION}, encoder {encoders}, checkpoint selected on test; not "
        "comparable with ours where the encoders differ, and no result of this project."
    )


def _unpublished(cells: pd.DataFrame) -> str:
    """Why no published values stand beside a dataset that the paper has, or beside some of its tasks."""
    shown = cells.drop_duplicates(["dataset", "task"])
    found: dict[tuple[str, str], list[str]] = {}
    for item in shown.to_dict("records"):
        if why := why_unpublished(item):
            found.setdefault((item["dataset"], why), []).append(item["task"])
    counts = shown["dataset"].value_counts()
    named = {
        place: place[0] if len(tasks) == counts[place[0]] else f"{place[0]} {' and '.join(tasks)}"
        for place, tasks in found.items()
    }
    said = "; ".join(f"{name} ({why})" for (_, why), name in named.items())
    return f"No published values beside {said}." if said else ""

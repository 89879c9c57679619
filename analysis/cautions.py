"""What a reader of a report must know before trusting its numbers, one sentence each."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from analysis.frame import CellResults, Results
from analysis.place import VIEW_COLUMNS, Place
from lai_net.metrics.scoring import SCORES
from lai_net.wording import counted, spelled
from tune.results.table import FACTOR_COLUMNS, ResultRow
from tune.spec.cells import Cell

_DIRTY = "-dirty"
_NAMED = 4
"""So many things of a kind are named."""
_ROUNDING = 0.01 + 1e-9
"""By which an F1 may exceed what holds before scores are rounded to two decimals."""


def cautions(results: Results) -> list[str]:
    """In the order in which they are shown.

    Changed corpora, failed trials, imported rows without a cell and with impossible scores, cells of mixed
    settings, seeds without all folds and those that were added, folds that were left out, mixed or changed
    code.
    """
    sentences = [f"{line[:1].upper()}{line[1:]}." for line in results.changed]
    sentences += [f"Trial {name} failed ({what})." for name, what in failures(results).items()]
    sentences += unmatched(results)
    sentences += _impossible(results.imported)
    sentences += _of_several(results.matched)
    sentences += _without_all_folds(results.matched)
    sentences += _added_seeds(results)
    sentences += [
        f"Of the {item.folds} folds of {item.name} only {' and '.join(map(str, item.only_folds))} "
        f"{'was' if len(item.only_folds) == 1 else 'were'} taken: the others have other test data, of which "
        "the spread over seeds says nothing."
        for item in results.study.datasets
        if item.only_folds is not None
    ]
    used = commits(results)
    clean = {name.removesuffix(_DIRTY) for name in used}
    if len(clean) > 1:
        sentences.append(f"The numbers come from {len(clean)} commits of the code.")
    if any(name.endswith(_DIRTY) for name in used):
        sentences.append(
            f"Some numbers come from code with uncommitted changes (“{_DIRTY}” after the commit)."
        )
    return sentences


def commits(results: Results) -> dict[str, int]:
    """The commits behind the scores of the long table, and of how many trials or imported rows."""
    trials = {
        row["trial_id"] or index: row["commit"] or ""
        for index, row in enumerate(results.long)
        if row["f1"] is not None
    }
    found = Counter(commit for names in trials.values() for commit in names.split(" + ") if commit)
    return dict(sorted(found.items()))


def failures(results: Results) -> dict[str, str]:
    """Of each failed trial its first cell and its error in one line."""
    found: dict[str, str] = {}
    for row in results.cells[results.cells["state"] == "failed"].to_dict("records"):
        for name in row["trial_ids"].split():
            error = results.errors.get(name, "no error was recorded")
            cell = f"{row['dataset']} {row['phase']}, {row['factor']} {row['level']}, seed {row['seed']}"
            found.setdefault(name, f"{cell}: {error}")
    return found


def _added_seeds(results: Results) -> list[str]:
    """What `--until-decided` does to the tables' p-values, once it has added seeds."""
    done = results.cells[results.cells["state"] == "completed"]
    added = set(results.study.all_seeds) - set(results.study.seeds)
    if not added & set(done["seed"]):
        return []
    return [
        "Seeds were added to cells until they were decided. The p-values of the tables do not allow for "
        "that; those of `lai plan --until-decided` do."
    ]


def unmatched(results: Results) -> list[str]:
    """How many imported rows no cell takes and, per column by which they fail, the first of them.

    What else a row's trial gave, such as its dev scores, is not missed where a cell shows the trial. A search
    has no cells, so none is missed there.
    """
    cells = [found.place for found in results.matched if found.place.cell.config]
    if not cells or not results.imported:
        return []
    groups: dict[tuple[Any, ...], list[ResultRow]] = defaultdict(list)
    for row in results.imported:
        groups[tuple(row[name] for name in (*FACTOR_COLUMNS, *VIEW_COLUMNS, "status"))].append(row)
    kept_out: dict[str, list[ResultRow]] = defaultdict(list)
    wanted: dict[str, str] = {}
    obstacles = [(rows, _obstacle(rows[0], cells)) for rows in groups.values()]
    fitting = [row for rows, obstacle in obstacles if obstacle is None for row in rows]
    taken = [row for cell in results.matched for rows in cell.scores.values() for row in rows]
    shown = {row["trial_id"] for row in (*fitting, *taken)} - {None}  # a trial run here is known by its id
    for rows, obstacle in obstacles:
        missed = [row for row in rows if row["trial_id"] not in shown]
        if obstacle is not None and missed:
            column, values = obstacle
            kept_out[column] += missed
            wanted.setdefault(column, values)
    if not kept_out:
        return []
    parts = [
        f"{len(rows)} by {column} (the first, {first['dataset']} {first['task']} seed {first['seed']}, has "
        f"{_text(first[column])}; cells have {wanted[column]})"
        for column, rows in kept_out.items()
        for first in rows[:1]
    ]
    count = sum(map(len, kept_out.values()))
    verb = "matches" if count == 1 else "match"
    return [
        f"{count} of {counted(len(results.imported), 'imported row')} {verb} no cell: {', '.join(parts)}."
    ]


def _impossible(imported: Sequence[ResultRow]) -> list[str]:
    """How many imported rows have scores that no counting gives: F1 and its averages stay below that mean."""
    rows = [
        row
        for row in imported
        if None not in (scores := [row[name] for name in SCORES])
        and scores[2] > (scores[0] + scores[1]) / 2 + _ROUNDING
    ]
    if not rows:
        return []
    where = f"{rows[0]['dataset']} {rows[0]['task']} seed {rows[0]['seed']}"
    return [
        f"{counted(len(rows), 'imported row')} with an F1 above the mean of precision and recall, which none "
        f"can have (the first: {where})."
    ]


def _of_several(matched: Sequence[CellResults]) -> list[str]:
    """How many cells have scores of more than one config, as far as their rows say, and the first of them."""
    found: dict[tuple[Any, ...], str] = {}
    for cell in matched:
        differing = " and ".join(_differing(cell))
        if differing:
            own = cell.place.cell
            found.setdefault((own.dataset, own.config), f"{_named(own)}: {differing}")
    if not found:
        return []
    verb = "has" if len(found) == 1 else "have"
    return [
        f"{counted(len(found), 'cell')} {verb} scores of trials that differ in more than their seeds "
        f"(the first, {next(iter(found.values()))})."
    ]


def _named(cell: Cell) -> str:
    return f"{cell.dataset} {cell.phase}, {cell.factor} {cell.level}"


def _differing(cell: CellResults) -> Iterator[str]:
    """In what the rows of a cell differ: epochs, or config_id within a fold, each of which has its corpus."""
    rows = [row for own in cell.scores.values() for row in own]
    epochs = sorted({row["epochs"] for row in rows if row["epochs"]})
    if len(epochs) > 1:
        yield f"{' and '.join(map(str, epochs))} epochs"
    ids: dict[int | None, set[str]] = defaultdict(set)
    for row in rows:
        ids[row["fold"]] |= {row["config_id"]} - {None}
    most = max(map(len, ids.values()), default=0)
    if most > 1:
        yield f"{most} values of config_id"
    if None in ids and len(ids) > 1:
        yield "seeds by fold and seeds whose row names no fold"


def _without_all_folds(matched: Sequence[CellResults]) -> list[str]:
    """The seeds that lack folds, each once however many cells and tasks its trials fill."""
    found: dict[tuple[Any, ...], str] = {}
    for cell in matched:
        own = cell.place.cell
        for seed, (have, of) in cell.partial.items():
            text = f"{_named(own)}, seed {seed}: {have} of {of} folds"
            found.setdefault((own.dataset, own.config, seed), text)
    if not found:
        return []
    named = list(found.values())
    more = f"; and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    verb = "lacks folds and does" if len(found) == 1 else "lack folds and do"
    return [f"{counted(len(found), 'seed')} {verb} not count ({'; '.join(named[:_NAMED])}{more})."]


def _obstacle(row: ResultRow, cells: Sequence[Place]) -> tuple[str, str] | None:
    """The first column that leaves no cell for a row, and what the cells left until then have there."""
    for column in (*FACTOR_COLUMNS, *VIEW_COLUMNS):
        left = [place for place in cells if place.agrees(row, column)]
        if not left:
            return column, " or ".join(sorted({_text(place.values[column]) for place in cells}))
        cells = left
    return None


def _text(value: Any) -> str:
    return "nothing" if value is None else spelled(value)

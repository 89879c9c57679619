"""Ledger and study joined: one row per cell, task and seed, on which tables and figures are computed.

What is shown is the study's `[report]`: split, entities, protocol, and each dataset's averaging. A run joins
a cell by its `spec_id`, dataset and seed; an imported row, whatever its seed, by the `spec_id` of its trial
where a run has planned that here, else by its factor columns, unless it names another encoder or other
epochs. Only completed, full-budget trials have a score here; a seed with folds counts when all its folds are
there: those that the study takes or, where it says nothing of folds, those that any row of the dataset has.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from analysis.place import Place, joined_by, places, with_imported_models
from lai_net.errors import InputError
from lai_net.metrics.scoring import SCORES
from tune.failures import headline
from tune.ledger.ledger import Ledger
from tune.preparation import changed_contents
from tune.results.curves import Curves, read_curves
from tune.results.table import ResultRow, long_table, shown_plan
from tune.spec.identity import spec_id
from tune.spec.study import DatasetSpec, Interval, Study, load_study, with_interval

_SHOWN_COLUMNS = ("model", "split", "entities", "protocol", "averaging", "selection", "encoder")
CELL_COLUMNS = (
    "table", "dataset", "phase", "task", "factor", "level", "is_base", "exists", "planned_seeds",
    *_SHOWN_COLUMNS, "only_folds", "interval", "seed", "state", *SCORES, "trial_ids", "config",
)  # fmt: skip

SeedRows = tuple[ResultRow, ...]
"""The rows that make one score: one, or one a fold."""


@dataclass(frozen=True)
class CellResults:
    """What was found for one cell and task.

    Attributes:
        place: the cell and task.
        scores: the rows behind each complete seed's score, by seed.
        unfinished: of each other seed that is planned, or that `[decide]` added and was begun, its state (see
            `Results`) and the trials behind that.
        partial: of each seed that lacks folds how many it has, and of how many.
        is_planned: False where imported rows alone bring the cell.
    """

    place: Place
    scores: Mapping[int, SeedRows]
    unfinished: Mapping[int, tuple[str, Sequence[str | None]]]
    partial: Mapping[int, tuple[int, int]]
    is_planned: bool = True

    @property
    def f1(self) -> dict[int, float]:
        """In percent by seed, the mean over folds."""
        means = ((seed, _mean([row["f1"] for row in rows])) for seed, rows in self.scores.items())
        return {seed: 100 * mean for seed, mean in means if mean is not None}


@dataclass(frozen=True)
class Results:
    """A study with what its ledger holds.

    Attributes:
        study: the study as parsed.
        long: the long results table (scores 0-1) of what the study plans, and of imported rows.
        cells: `CELL_COLUMNS`, one row per cell, task and seed (scores 0-1). `state` is completed, failed,
            blocked (relations whose NER trial failed), pruned, running, planned, or `inapplicable` (one row
            without seed) where there is no such cell. `trial_ids` are those behind the state, separated by
            spaces. `only_folds` says in words which folds are taken, where not all are. `selection` and
            `encoder` of a completed seed are what its rows say. `config` is what was trained, or is to be (a
            `TrialConfig`); None where imported rows do not say all of it.
        errors: of failed trials and evaluations, in a line each, by trial_id.
        imported: all imported rows of the ledger, other datasets' among them.
        curves: of all trials of the ledger.
        matched: what `cells` was made of: the same cells and tasks with the rows of the long table.
        corpora: content ids of what the ledger's trials of the study's datasets were trained on, by dataset
            and fold in words.
        changed: a line for each dataset that has other content now (see `tune.preparation`).
    """

    study: Study
    long: tuple[ResultRow, ...]
    cells: pd.DataFrame
    errors: Mapping[str, str]
    imported: tuple[ResultRow, ...]
    curves: Curves
    matched: tuple[CellResults, ...]
    corpora: Mapping[str, str]
    changed: tuple[str, ...]


def read_results(ledger: str | Path, study: str | Path, interval: Interval | None = None) -> Results:
    """Read a study's results from its ledger; `interval` is in place of the study's own.

    Raises:
        InputError: the study or the ledger cannot be read, or two results claim one place.
    """
    parsed = with_interval(load_study(study), interval)
    with Ledger.open(Path(ledger), read_only=True) as opened:
        errors = {row.trial_id: headline(row.error, row.failure) for row in opened.failed_evaluations()}
        errors |= {
            name: headline(item.error, item.failure)
            for name, item in opened.newest_attempts().items()
            if item.error
        }
        rows = tuple(long_table(opened, parsed))
        imported = tuple(map(ResultRow, opened.each_imported()))
        curves = read_curves(opened)
        corpora = {(row.dataset, row.fold): row.corpus_id for row in opened.trials()}
        changed = tuple(changed_contents(parsed, shown_plan(parsed, opened).trials, opened))
    matched = tuple(match(parsed, rows))
    named = {
        f"{item.name}{'' if fold is None else f' fold {fold}'}": corpora[item.name, fold]
        for item in parsed.datasets
        for fold in item.fold_numbers
        if (item.name, fold) in corpora
    }
    return Results(parsed, rows, to_frame(matched), errors, imported, curves, matched, named, changed)


def match(study: Study, rows: Iterable[ResultRow]) -> Iterator[CellResults]:
    """Join the long table with the cells of a study, in the order of the tables."""
    by_spec: dict[Any, list[ResultRow]] = defaultdict(list)
    by_factors: dict[Any, list[ResultRow]] = defaultdict(list)
    known_seeds = frozenset(study.all_seeds)
    rows = tuple(rows)
    folds: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        folds[row["dataset"]] |= {row["fold"]} - {None}
        if row.spec_id is None:
            by_factors[joined_by(row)].append(row)
        elif row["seed"] in known_seeds or row["origin"] == "imported":
            by_spec[row["dataset"], row.spec_id].append(row)
    planned = {(place.cell.dataset, place.cell.config) for place in places(study)}
    for place in places(with_imported_models(study, rows)):
        is_planned = (place.cell.dataset, place.cell.config) in planned
        found: list[ResultRow] = []
        if place.cell.config is not None:
            found += by_spec[place.cell.dataset, spec_id(place.cell.config)]
            found += by_factors[joined_by(place.values)]
        shown = [row for row in found if place.shows(row)]
        upstream = [row for row in by_spec[place.cell.dataset, place.upstream] if row["split"] is None]
        taken = place.dataset.fold_numbers if place.dataset.folds > 1 else folds[place.cell.dataset]
        scores, partial = _by_seed(place, shown, {fold for fold in taken if fold is not None})
        is_open = is_planned and place.cell.config is not None
        begun = {row["seed"] for row in shown if row["status"] != "completed"} & known_seeds
        missing = sorted((begun | set(study.seeds)) - scores.keys()) if is_open else []
        unfinished = {seed: _unfinished(seed, shown, upstream) for seed in missing}
        yield CellResults(place, dict(sorted(scores.items())), unfinished, partial, is_planned)


def to_frame(cells: Iterable[CellResults]) -> pd.DataFrame:
    """The cells' frame (see `Results`)."""
    records = [record for cell in cells for record in _cell_records(cell)]
    frame = pd.DataFrame.from_records(records, columns=list(CELL_COLUMNS))
    return frame.astype({"seed": "Int64", **dict.fromkeys(SCORES, "float64")})


def _cell_records(results: CellResults) -> Iterator[dict[str, Any]]:
    """The frame's rows of one cell and task: scores by seed, then the seeds that have none yet."""
    place, cell = results.place, results.place.cell
    shared = {
        "table": cell.table, "dataset": cell.dataset, "phase": cell.phase, "task": place.task,
        "factor": cell.factor, "level": cell.level, "is_base": cell.is_base,
        "exists": cell.config is not None, "trial_ids": "",
        "planned_seeds": len(place.study.seeds) if results.is_planned else 0,
        **{name: place.values[name] for name in _SHOWN_COLUMNS}, "interval": place.study.report.interval,
        "only_folds": _only_folds(place.dataset),
        "config": cell.config,
    }  # fmt: skip
    if cell.config is None:
        yield shared | {"state": "inapplicable"}
        return
    # A config_id tells an imported row's settings where a run of this cell has the same.
    own_ids = {
        row["config_id"] for rows in results.scores.values() for row in rows if row.spec_id is not None
    }
    for seed, rows in results.scores.items():
        yield shared | {
            "state": "completed", "seed": seed, "selection": rows[0]["selection"],
            "encoder": rows[0]["encoder"], **{name: _mean([row[name] for row in rows]) for name in SCORES},
            "trial_ids": _join(row[name] for row in rows for name in ("trial_id", "upstream_trial_id")),
            "config": cell.config if all(row["config_id"] in own_ids for row in rows) else None,
        }  # fmt: skip
    for seed, (state, trials) in results.unfinished.items():
        yield shared | {"seed": seed, "state": state, "trial_ids": _join(trials)}


def _only_folds(dataset: DatasetSpec) -> str:
    """What of the folds is shown, in words; empty where all are."""
    if dataset.only_folds is None:
        return ""
    *others, last = map(str, sorted(dataset.only_folds))
    named = f"the mean over folds {', '.join(others)} and {last}" if others else f"fold {last}"
    return f"{named} of {dataset.folds}"


def _by_seed(
    place: Place, shown: Iterable[ResultRow], taken: Set[int]
) -> tuple[dict[int, SeedRows], dict[int, tuple[int, int]]]:
    """The rows of each seed that is complete, and how many folds of those taken the others have.

    A run outdoes an imported row.
    """
    folds: dict[int, dict[int | None, ResultRow]] = defaultdict(dict)
    for row in shown:
        if row["status"] != "completed" or row["f1"] is None:
            continue
        known = folds[row["seed"]].setdefault(row["fold"], row)
        if known.spec_id == row.spec_id and any(known[name] != row[name] for name in SCORES):
            raise InputError(
                f"ledger: two results claim {place.cell.dataset} {place.task} {place.cell.factor}="
                f"{place.cell.level} seed {row['seed']} (trials {known['trial_id'] or 'imported'} and "
                f"{row['trial_id'] or 'imported'}), with different scores; keep them in two ledgers"
            )
    complete = {seed: rows for seed, by_fold in folds.items() if (rows := _complete(by_fold, taken))}
    partial = {seed: (len(folds[seed]), len(taken)) for seed in sorted(folds.keys() - complete.keys())}
    return complete, partial


def _complete(by_fold: Mapping[int | None, ResultRow], taken: Set[int]) -> SeedRows:
    """The rows of all folds that are taken, or the one row that says no fold, or nothing."""
    if taken and by_fold.keys() >= taken:
        return tuple(row for fold, row in by_fold.items() if fold is not None)
    return (by_fold[None],) if None in by_fold else ()


def _unfinished(
    seed: int, shown: Iterable[ResultRow], upstream: Iterable[ResultRow]
) -> tuple[str, Sequence[str | None]]:
    """What keeps a seed from having a score, the most telling first, and the trials behind that."""
    trials: dict[str, list[str | None]] = defaultdict(list)
    for rows, failed in ((shown, "failed"), (upstream, "blocked")):
        for row in rows:
            if row["seed"] == seed and row["status"] != "completed":
                trials[failed if row["status"] == "failed" else row["status"]].append(row["trial_id"])
    state = next((name for name in ("failed", "blocked", "pruned", "running") if name in trials), "planned")
    return state, trials[state]


def _join(names: Iterable[str | None]) -> str:
    return " ".join(sorted({name for name in names if name}))


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return fmean(known) if len(known) == len(scores) else None

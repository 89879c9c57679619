"""The long results table: one row per evaluation and task, and what was imported from elsewhere."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, starmap
from operator import attrgetter, itemgetter
from pathlib import Path
from sys import intern
from typing import Any

from lai_net.config import InputConfig
from lai_net.metrics.scoring import SCORES, TASKS_OF_PHASE
from tune.ledger.ledger import Ledger
from tune.ledger.rows import AttemptRow, EvaluationRow, TrialRow
from tune.planning.plan import SPLITS, Plan, PlannedEvaluation, is_current, make_plan
from tune.results.csv_files import csv_bytes
from tune.search.plan import plan_search
from tune.search.report import asked_trials
from tune.spec.baseline import model_of_settings
from tune.spec.study import Study, with_all_seeds

LONG_COLUMNS = (
    "trial_id", "config_id", "dataset", "phase", "task", "split", "seed", "gcn_layers", "gcn_heads",
    "entity_filter", "attention_mask", "annotations", "precision", "recall", "f1", "status", "epochs",
    "wall_s", "device", "commit", "fold", "entities", "protocol", "averaging", "selection", "encoder",
    "model", "representation", "upstream_trial_id", "origin",
)  # fmt: skip

FACTOR_COLUMNS = (
    "dataset", "phase", "gcn_layers", "gcn_heads", "entity_filter", "attention_mask", "annotations",
    "representation",
)  # fmt: skip
"""What says of a row in which cells of a study it belongs."""
_SCORE_COLUMNS = ("task", *SCORES, "status", "protocol", "averaging")
"""In these the rows of one evaluation may differ."""
_SHARED_COLUMNS = tuple(column for column in LONG_COLUMNS if column not in _SCORE_COLUMNS)
_PLACES = dict(
    zip(_SHARED_COLUMNS + _SCORE_COLUMNS, range(-len(_SHARED_COLUMNS), len(_SCORE_COLUMNS)), strict=True)
)
"""Of the shared below 0, from their end."""
_WORDS = {True: "true", False: "false"}
_IN_ORDER = itemgetter(*(_PLACES[column] for column in LONG_COLUMNS))


class ResultRow(Mapping[str, Any]):
    """One row by `LONG_COLUMNS`; a value that does not exist is None.

    `spec_id` and `upstream_spec_id` join it with the cells of a study; an imported row has them where a run
    has planned its very trial here. A large table has hundreds of thousands: one takes a seventh of a
    dictionary, since those of an evaluation share what they have in common.
    """

    __slots__ = ("_score", "_shared", "spec_id", "upstream_spec_id")

    def __init__(
        self, values: Mapping[str, Any], *, spec_id: str | None = None, upstream_spec_id: str | None = None
    ) -> None:
        self._shared = tuple(map(values.get, _SHARED_COLUMNS))
        self._score = tuple(map(values.get, _SCORE_COLUMNS))
        self.spec_id = spec_id
        self.upstream_spec_id = upstream_spec_id

    def scored(self, score: Mapping[str, Any]) -> "ResultRow":
        """The same with what a score says: task, precision, recall, F1, protocol, averaging, status."""
        row = ResultRow.__new__(ResultRow)
        row._shared, row.spec_id, row.upstream_spec_id = self._shared, self.spec_id, self.upstream_spec_id
        row._score = tuple(starmap(score.get, zip(_SCORE_COLUMNS, self._score, strict=True)))
        return row

    def __getitem__(self, column: str) -> Any:
        place = _PLACES[column]
        return self._shared[place] if place < 0 else self._score[place]

    def in_order(self) -> tuple[Any, ...]:
        """The values by `LONG_COLUMNS`, as `values` has them, at a fraction of its time."""
        values: tuple[Any, ...] = _IN_ORDER(self._score + self._shared)
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(LONG_COLUMNS)

    def __len__(self) -> int:
        return len(LONG_COLUMNS)


def representation_of(row: Mapping[str, Any]) -> Any:
    """A row's representation; one that says none means annotated or, without annotations, enumerated."""
    return row["representation"] or ("annotate" if row["annotations"] else "enumerate")


def factors_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """A row's values by `FACTOR_COLUMNS`, a representation that it does not say filled in."""
    return (*(row[name] for name in FACTOR_COLUMNS[:-1]), representation_of(row))


def long_table(ledger: Ledger, study: Study | None = None) -> list[ResultRow]:
    """All results in a fixed order, or those that a study plans.

    A started trial without an evaluation has a row without scores, as an evaluation that failed has one a
    task; evaluations by other semantics are left out. Of imported rows a study takes all that name one of
    its datasets.
    """
    trials = {row.trial_id: row for row in ledger.trials()}
    rows = list(_run_rows(ledger, trials, None if study is None else shown_plan(study, ledger)))
    names = None if study is None else {dataset.name for dataset in study.datasets}
    specs: dict[str | None, str] = {name: trial.spec_id for name, trial in trials.items()}
    rows += [
        ResultRow(
            row,
            spec_id=specs.get(row.get("trial_id")),
            upstream_spec_id=specs.get(row.get("upstream_trial_id")),
        )
        for row in _not_run_here(ledger.each_imported(), rows)
        if names is None or row["dataset"] in names
    ]
    rows.sort(key=_Order())
    return rows


def shown_plan(study: Study, ledger: Ledger) -> Plan:
    """What a study may show: all that it plans and `[decide]` may add, or what its search has asked for."""
    if study.search is None:
        return make_plan(with_all_seeds(study))
    trials = asked_trials(plan_search(study), ledger)
    evaluations = (
        PlannedEvaluation(trial.key, None, split, entities)
        for trial in trials
        for split in SPLITS
        for entities in trial.config.evaluated_on
    )
    return Plan(study, (), tuple(trials), tuple(evaluations))


def _run_rows(ledger: Ledger, trials: Mapping[str, TrialRow], plan: Plan | None) -> Iterator[ResultRow]:
    """What was run here, or of that what a study plans."""
    keys = set() if plan is None else {trial.key for trial in plan.trials}
    asked = set() if plan is None else set(plan.evaluations)
    attempts = ledger.all_attempts()
    epochs = ledger.epoch_counts()
    seconds = ledger.epoch_times()
    # A trial's evaluations at a time: parsed, all of a large ledger's take more room than its rows.
    for name, evaluations in _evaluations_by_trial(ledger, trials):
        trial = trials[name]
        if name not in attempts or (plan is not None and trial.key not in keys):
            continue
        common = _trial_values(trial) | _run_values(attempts[name])
        common |= {"epochs": epochs.get(name, 0), "wall_s": seconds.get(name)}
        joined = [
            (item, None if item.upstream_trial_id is None else trials[item.upstream_trial_id])
            for item in evaluations
        ]
        if plan is not None:
            joined = [pair for pair in joined if _planned(trial, *pair) in asked]
        for item, upstream in joined:
            yield from _evaluation_rows(common, item, trial, upstream)
        if not joined:
            yield ResultRow(common | {"task": trial.phase}, spec_id=trial.spec_id)


def _not_run_here(
    imported: Iterable[Mapping[str, Any]], rows: Iterable[ResultRow]
) -> Iterator[Mapping[str, Any]]:
    """Imported rows without those of evaluations that the ledger made itself since.

    What says of a trial that runs here how far it came elsewhere is left out, too.
    """
    names = ("trial_id", "upstream_trial_id", "split", "entities")
    imported = list(imported)
    trials = {row.get("trial_id") for row in imported} - {None}
    own = [row for row in rows if row["trial_id"] in trials]
    here = {row["trial_id"] for row in own}
    made = {tuple(map(row.get, names)) for row in own if row["f1"] is not None}
    return (
        row
        for row in imported
        if tuple(map(row.get, names)) not in made
        and (row.get("status", "completed") == "completed" or row.get("trial_id") not in here)
    )


def _evaluations_by_trial(
    ledger: Ledger, trials: Iterable[str]
) -> Iterator[tuple[str, Sequence[EvaluationRow]]]:
    """Every trial with the evaluations that today's code would make likewise, those without any last."""
    rest = dict.fromkeys(trials)
    current = filter(is_current, ledger.each_evaluation(by_trial=True))
    for name, group in groupby(current, key=attrgetter("trial_id")):
        del rest[name]
        yield name, tuple(group)
    yield from ((name, ()) for name in rest)


def _planned(trial: TrialRow, item: EvaluationRow, upstream: TrialRow | None) -> PlannedEvaluation:
    """An evaluation as a plan names it, which knows no ids."""
    joined = None if upstream is None else upstream.key
    return PlannedEvaluation(trial.key, joined, item.split, item.entities)


def _run_values(attempts: Sequence[AttemptRow]) -> dict[str, Any]:
    """How a trial ended, and where and by what code its attempts ran; uncommitted changes are `-dirty`."""
    provenances = [attempt.provenance for attempt in attempts]
    devices = [item.get("device") for item in provenances]
    commits = [f"{item['commit']}-dirty" if item.get("dirty") else item.get("commit") for item in provenances]
    return {
        "status": attempts[-1].status,
        "device": " + ".join(dict.fromkeys(filter(None, devices))) or None,
        "commit": " + ".join(dict.fromkeys(filter(None, commits))) or None,
    }


def _trial_values(trial: TrialRow) -> dict[str, Any]:
    return {
        "trial_id": trial.trial_id,
        "config_id": trial.config_id,
        "dataset": trial.dataset,
        "phase": trial.phase,
        "seed": trial.seed,
        "fold": trial.fold,
        "origin": "run",
        **config_values(trial.config),
    }


def config_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the long table says of a config's active settings."""
    inputs = InputConfig(**settings["input"])
    return {
        "gcn_layers": settings["graph"]["layers"],
        "gcn_heads": settings["graph"].get("heads"),
        "entity_filter": settings["filter"]["enabled"] if settings["phase"] == "NER" else None,
        "attention_mask": settings["input"]["attention_mask"],
        "annotations": inputs.is_annotated,
        "selection": settings["training"]["selection"],
        "encoder": settings["encoder"]["name"],
        "model": model_of_settings(settings),
        "representation": inputs.family,
    }


def _evaluation_rows(
    common: Mapping[str, Any], item: EvaluationRow, trial: TrialRow, upstream: TrialRow | None
) -> Iterator[ResultRow]:
    values = {
        **common,
        "split": item.split,
        "entities": item.entities,
        "upstream_trial_id": item.upstream_trial_id,
    }
    plain = ResultRow(
        values, spec_id=trial.spec_id, upstream_spec_id=None if upstream is None else upstream.spec_id
    )
    failed = [{"task": task, "status": "failed"} for task in TASKS_OF_PHASE[trial.phase]]
    for score in item.scores if item.error is None else failed:
        # Each parsed text is an object of its own: tens of megabytes in a large table.
        yield plain.scored(
            {name: intern(value) if isinstance(value, str) else value for name, value in score.items()}
        )


class _Order:
    """Sorts by dataset, phase and factors, then by run; None sorts first.

    Rows of an evaluation share the first part of their keys, and evaluations of a trial the first of that:
    many rows, few trials.
    """

    def __init__(self) -> None:
        self._evaluations: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._runs: dict[tuple[str | float, ...], tuple[str | float, ...]] = {}

    def __call__(self, row: ResultRow) -> tuple[Any, ...]:
        own = self._evaluations.get(row._shared)
        if own is None:
            own = self._evaluations[row._shared] = self._of_evaluation(row)
        return (own, *(row[name] or "" for name in ("task", "protocol", "averaging", "trial_id")))

    def _of_evaluation(self, row: ResultRow) -> tuple[Any, ...]:
        texts = ("dataset", "phase", "model")
        numbers = ("gcn_layers", "gcn_heads", "entity_filter")
        rest = ("attention_mask", "annotations", "origin", "config_id")
        run = (
            *(str(row[name]) for name in texts),
            *(-1 if row[name] is None else float(row[name]) for name in numbers),
            *(str(row[name] or "") for name in rest),
            *(-1 if row[name] is None else int(row[name]) for name in ("fold", "seed")),
        )
        evaluation = (row[name] or "" for name in ("split", "entities", "upstream_trial_id"))
        return (self._runs.setdefault(run, run), *evaluation)


def to_csv(rows: Sequence[ResultRow]) -> bytes:
    """CSV; booleans as true and false, None empty."""
    return csv_bytes(
        LONG_COLUMNS,
        ([_WORDS[item] if isinstance(item, bool) else item for item in row.in_order()] for row in rows),
    )


def to_json(rows: Sequence[ResultRow]) -> bytes:
    """A JSON list of objects; None is null."""
    return json.dumps(list(map(dict, rows)), indent=1, allow_nan=False).encode() + b"\n"


def write_parquet(rows: Sequence[ResultRow], path: Path) -> None:
    """Write a Parquet file whose column types do not depend on which values are missing."""
    import pyarrow as pa  # heavy, so only here
    from pyarrow import parquet

    kinds = {
        **dict.fromkeys(LONG_COLUMNS, pa.string()),
        **dict.fromkeys(("seed", "gcn_layers", "gcn_heads", "epochs", "fold"), pa.int64()),
        **dict.fromkeys(("entity_filter", "annotations"), pa.bool_()),
        **dict.fromkeys((*SCORES, "wall_s"), pa.float64()),
    }
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=pa.schema(kinds.items()))
    parquet.write_table(table, path)

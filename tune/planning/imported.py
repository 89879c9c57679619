"""Which evaluations imported rows of the long table bring, and which of them count for a study."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lai_net.metrics.scoring import TASKS_OF_PHASE
from lai_net.wording import counted
from tune.ledger.ledger import Ledger
from tune.spec.identity import evaluation_id, semantics_of
from tune.spec.study import Study

_EVALUATION = ("trial_id", "upstream_trial_id", "split", "entities")
"""Columns that name an evaluation."""


class ImportedIds(NamedTuple):
    """The trials and evaluations of which imported rows bring results."""

    trials: frozenset[str]
    evaluations: frozenset[str]


class ImportedEvaluation(NamedTuple):
    """An evaluation of which imported rows bring every task.

    Attributes:
        row: one of them.
        counts: whether a study's tables could show every task: rows of its datasets by the protocol and
            averaging that it shows (an averaging may be left open), imported when the code computed what
            it does now.
    """

    row: Mapping[str, Any]
    counts: bool


def imported_evaluations(ledger: Ledger, study: Study | None = None) -> list[ImportedEvaluation]:
    """The completed ones that have ids; without a study all of them count."""
    found: dict[tuple[Any, ...], tuple[Mapping[str, Any], set[str], set[str]]] = {}
    for row in ledger.each_imported():
        if row.get("trial_id") and row["status"] == "completed":
            _, tasks, shown = found.setdefault(_evaluation_of(row), (row, set(), set()))
            tasks.add(row["task"])
            if study is None or _could_show(study, row):
                shown.add(row["task"])
    return [
        ImportedEvaluation(row, shown.issuperset(TASKS_OF_PHASE[row["phase"]]))
        for row, tasks, shown in found.values()
        if tasks.issuperset(TASKS_OF_PHASE[row["phase"]])
    ]


def lines_on_nameless(ledger: Ledger, study: Study | None = None) -> list[str]:
    """How many completed rows, of a study's datasets or of any, have no trial_id and so spare no training."""
    names = None if study is None else {dataset.name for dataset in study.datasets}
    count = sum(
        row.get("trial_id") is None
        and row["status"] == "completed"
        and (names is None or row["dataset"] in names)
        for row in ledger.each_imported()
    )
    if not count:
        return []
    has, them, trains = ("has", "it", "its cell") if count == 1 else ("have", "them", "their cells")
    rows = counted(count, "imported row")
    return [f"{rows} {has} no trial_id: tables show {them}, but `lai run` trains {trains}"]


def imported_ids(ledger: Ledger, study: Study | None = None) -> ImportedIds:
    """The ids of the imported evaluations that count."""
    found = [item for item in imported_evaluations(ledger, study) if item.counts]
    trials = frozenset(item.row["trial_id"] for item in found)
    return ImportedIds(trials, frozenset(evaluation_id(*_evaluation_of(item.row)) for item in found))


def _could_show(study: Study, row: Mapping[str, Any]) -> bool:
    if row["protocol"] != study.report.protocol:
        return False
    averagings = [dataset.averaging for dataset in study.datasets if dataset.name == row["dataset"]]
    if not averagings or row["averaging"] not in (None, *averagings):
        return False
    today = semantics_of(row)
    return bool(row.get("semantics", [1] * len(today)) == today)  # the first rows did not say theirs


def _evaluation_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _EVALUATION)

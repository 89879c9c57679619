"""Import of long tables from runs made elsewhere: every value checked, duplicates idempotent."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from lai_net.config import PHASES, AttentionMask, EntitySource, Representation
from lai_net.errors import InputError
from lai_net.metrics.scoring import SCORES, TASKS_OF_PHASE, Averaging, Protocol, Task
from lai_net.wording import spelled
from tune.ledger.ledger import Ledger
from tune.ledger.rows import AttemptRow
from tune.results.csv_files import Parsers, number, one_of, parse_fields, read_csv, truth, whole, word
from tune.results.curves import curve_reports
from tune.results.table import LONG_COLUMNS, representation_of
from tune.spec.baseline import LAI_NET, Model
from tune.spec.identity import semantics_of

_REQUIRED = LONG_COLUMNS[LONG_COLUMNS.index("dataset") : LONG_COLUMNS.index("f1") + 1]
_DATASETS = {name.lower(): name for name in ("SciERC", "ADE", "ACE05", "CoNLL04")}
_PROVENANCE = ("wall_s", "device", "commit")
"""Where and how fast a run was made; made again, it has the same scores and others of these."""
_OUTCOME = (*SCORES, "status", "epochs", *_PROVENANCE)
"""What a run gives; everything else says which run it is."""
_EVALUATED = ("task", "split", "entities", "protocol", "averaging", "upstream_trial_id")
"""What tells the rows of one run apart."""
_NOT_THE_CELL = (
    *_OUTCOME, "trial_id", "config_id", "upstream_trial_id", "selection", "encoder", "representation",
    "origin",
)  # fmt: skip
"""What tells rows of one cell and seed apart."""


_NOT_THE_TRIAL = (*_OUTCOME, *_EVALUATED, "trial_id", "encoder", "origin")
_TRIAL = tuple(name for name in LONG_COLUMNS if name not in _NOT_THE_TRIAL)
"""What is the same in all rows of one trial; its encoder may have lain elsewhere."""
_IN_LEDGER = "in the ledger"
"""The place of a row that is none of the file's."""


class Import(NamedTuple):
    """What became of a file's rows.

    Attributes:
        new: how many were new or newly completed.
        otherwise: how many were there with the same scores, but another wall_s, device or commit.
    """

    new: int
    otherwise: int


def import_csv(path: Path, ledger: Ledger, curves: Path | None = None) -> Import:
    """Store the rows of a long table (CSV) as imported.

    `curves` is a file with learning curves of its trials (see `tune.results.curves`).

    What the file omits reads as the tables' defaults: completed, LAI-Net, end to end, protocol pure, micro
    averages. In ADE the averaging stays open, since studies differ: such a row joins either. A factor that
    does not exist is emptied: heads with 0 layers, the filter in RE; Vis. without annotations is inv. Trials
    that the ledger itself completed are left out. A run that is not completed gives way once it is; of one
    that is completed the first row stays, with its provenance. A row is taken to be of today's semantics,
    since a table does not say, and is noted with them.

    Raises:
        InputError: `file:line` and what is wrong there; nothing is stored then.
    """
    rows, places, otherwise = ledger.imported(), dict[str, str](), 0
    own = ledger.newest_attempts()
    completed: dict[str, list[tuple[dict[str, Any], str]]] = defaultdict(list)
    for row in rows.values():
        if row["status"] == "completed":
            completed[_values_but(row, _NOT_THE_CELL)].append((row, _IN_LEDGER))
    trials = _Trials(rows.values())
    for line, cells in read_csv(path, _REQUIRED, LONG_COLUMNS):
        place = f"line {line}"
        try:
            row = _normalized(_checked(cells))
            trials.add(row, place)
            key = _values_but(row, _OUTCOME)
            if _is_outdone(row, own.get(row["trial_id"])):
                continue
            if key in rows and not _is_newer(row, rows[key], places.get(key, _IN_LEDGER)):
                otherwise += _is_otherwise(row, rows[key])
                continue
            if row["status"] == "completed":
                _add(completed[_values_but(row, _NOT_THE_CELL)], row, place)
            rows[key], places[key] = row, place
        except InputError as error:
            raise InputError(f"{path}:{line}: {error}") from error
    outdated = _outdated(rows)
    rows = {key: row for key, row in rows.items() if key not in outdated}
    reports = [] if curves is None else curve_reports(curves, ledger, rows.values())
    return Import(ledger.record_imported(rows, outdated, reports), otherwise)


class _Trials:
    """What the rows of each trial_id say of their trial, and where; an id has one trial."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._known: dict[str, dict[str, tuple[Any, str]]] = {}
        for row in rows:
            said = {name: (value, _IN_LEDGER) for name, value in _said_of_trial(row).items()}
            self._known.setdefault(row.get("trial_id") or "", {}).update(said)

    def add(self, row: Mapping[str, Any], place: str) -> None:
        """Note a row.

        Raises:
            InputError: others say another seed, config or factor of its trial.
        """
        if row["trial_id"] is None:
            return
        known = self._known.setdefault(row["trial_id"], {})
        for name, value in _said_of_trial(row).items():
            other, there = known.setdefault(name, (value, place))
            if other != value:
                raise InputError(
                    f"trial {row['trial_id']} is known with {name} {spelled(other)} ({there}), but here has "
                    f"{spelled(value)}; give each trial a trial_id of its own"
                )


def _said_of_trial(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says of its trial; a value that it leaves open is not said."""
    return {name: value for name in _TRIAL if (value := row.get(name)) is not None}


def _outdated(rows: Mapping[str, dict[str, Any]]) -> set[str]:
    """Keys of rows that are not completed, though the same run has a completed row with all that they say."""
    completed: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows.values():
        if row["status"] == "completed":
            completed[_values_but(row, _OUTCOME + _EVALUATED)].append(row)
    return {
        key
        for key, row in rows.items()
        if row["status"] != "completed"
        and any(
            all(row[name] in (None, other[name]) for name in _EVALUATED)
            for other in completed[_values_but(row, _OUTCOME + _EVALUATED)]
        )
    }


def _is_outdone(row: Mapping[str, Any], own: AttemptRow | None) -> bool:
    """Whether the ledger knows as much of this trial by itself."""
    return own is not None and (own.status == "completed" or row["status"] != "completed")


def _is_newer(row: Mapping[str, Any], other: Mapping[str, Any], there: str) -> bool:
    """Whether a row replaces another of the same run.

    Raises:
        InputError: both are completed, and differ in more than provenance.
    """
    if other["status"] != "completed":
        return True
    names = [name for name in _OUTCOME if name not in _PROVENANCE and other[name] != row[name]]
    if names and row["status"] == "completed":
        raise InputError(
            f"the same run as another row ({there}), but with other {', '.join(names)}; keep one of them, or "
            "two ledgers"
        )
    return False


def _is_otherwise(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a completed row says another provenance than another of the same run, which stays."""
    differs = any(row[name] not in (None, other[name]) for name in _PROVENANCE)
    return differs and row["status"] == "completed"


def _add(others: list[tuple[dict[str, Any], str]], row: dict[str, Any], place: str) -> None:
    """Add a row to those of its cell and seed.

    Raises:
        InputError: another one has other scores, so that no table could say which holds. Of two configs,
            as a search has many in one cell, both are kept; a report of a study that has the cell is refused.
    """
    for other, there in others:
        fits = representation_of(row) == representation_of(other) and all(
            row[name] == other[name] or None in (row[name], other[name])
            for name in ("config_id", "encoder", "selection", "epochs")
        )
        names = [name for name in SCORES if row[name] != other[name]]
        if fits and names:
            raise InputError(
                f"the same cell and seed as another row (trial {other['trial_id'] or 'without id'}, {there}),"
                f" but with other {', '.join(names)}; keep one of them, or two ledgers"
            )
    others.append((row, place))


def _values_but(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return json.dumps([row[name] for name in LONG_COLUMNS if name not in names])


def _checked(cells: Mapping[str, str]) -> dict[str, Any]:
    row = parse_fields(cells, LONG_COLUMNS, _PARSERS)
    is_completed = row["status"] in (None, "completed")
    for name in ("dataset", "phase", "task", "seed", *(("split",) if is_completed else ())):
        if row[name] is None:
            raise InputError(f"{name} is empty; every row needs it")
    if row["task"] not in TASKS_OF_PHASE[row["phase"]]:
        raise InputError(f"task {row['task']} is not one of phase {row['phase']}")
    if row["f1"] is None and is_completed:
        raise InputError("f1 is empty; only a row whose status is not completed may lack it")
    return row


def _normalized(row: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {"status": "completed", "model": LAI_NET}
    if row["f1"] is not None:
        defaults |= {"entities": "predicted", "protocol": "pure"}
        defaults |= {} if row["dataset"] == "ADE" else {"averaging": "micro"}
    filled = {name: defaults.get(name) if value is None else value for name, value in row.items()}
    filled |= {"origin": "imported", "semantics": semantics_of(row)}
    if filled["gcn_layers"] == 0:
        filled["gcn_heads"] = None
    if filled["phase"] == "RE":
        filled["entity_filter"] = None
    if filled["annotations"] is False and filled["attention_mask"] == "vis":
        filled["attention_mask"] = "inv"
    return filled


def _dataset(text: str) -> str:
    spelled = _DATASETS.get(text.lower(), text)
    if text != spelled:
        raise ValueError(f"spelled {spelled}")
    return text


_PARSERS: Parsers = {
    "trial_id": word,
    "dataset": _dataset,
    "phase": one_of(*PHASES),
    "task": one_of(*get_args(Task)),
    "split": one_of("dev", "test"),
    "seed": whole(0),
    "gcn_layers": whole(0),
    "gcn_heads": whole(1),
    "entity_filter": truth,
    "attention_mask": one_of(*get_args(AttentionMask)),
    "annotations": truth,
    "precision": number(1),
    "recall": number(1),
    "f1": number(1),
    "status": one_of("running", "completed", "failed", "pruned"),
    "epochs": whole(0),
    "wall_s": number(math.inf),
    "fold": whole(0),
    "entities": one_of(*get_args(EntitySource)),
    "protocol": one_of(*get_args(Protocol)),
    "averaging": one_of(*get_args(Averaging)),
    "selection": one_of("dev", "test"),
    "model": one_of(*get_args(Model)),
    "representation": one_of(*get_args(Representation)),
    "upstream_trial_id": word,
    "origin": one_of("run", "imported"),
}

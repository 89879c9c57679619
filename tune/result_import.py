"""Import of long tables from runs made elsewhere: every value checked, duplicates idempotent."""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lai_net.errors import InputError
from tune.ledger import AttemptRow, Ledger
from tune.results import LONG_COLUMNS, SCORES, TASKS, representation_of

_REQUIRED = LONG_COLUMNS[LONG_COLUMNS.index("dataset") : LONG_COLUMNS.index("f1") + 1]
_DATASETS = {name.lower(): name for name in ("SciERC", "ADE", "ACE05", "CoNLL04")}
_OUTCOME = (*SCORES, "status", "epochs", "wall_s", "device", "commit")
"""What a run gives; everything else says which run it is."""
_EVALUATED = ("task", "split", "entities", "protocol", "averaging", "upstream_trial_id")
"""What tells the rows of one run apart."""
_NOT_THE_CELL = (
    *_OUTCOME, "trial_id", "config_id", "upstream_trial_id", "selection", "encoder", "representation",
    "origin",
)  # fmt: skip
"""What tells rows of one cell and seed apart."""
_MOST = 2**32 - 1
"""Of a whole number: the largest seed."""


def import_csv(path: Path, ledger: Ledger) -> int:
    """Store the rows of a long table (CSV) as imported; returns how many were new or newly completed.

    What the file omits reads as the tables' defaults: completed, LAI-Net, end to end, protocol pure, micro
    averages. In ADE the averaging stays open, since studies differ: such a row joins either. A factor that
    does not exist is emptied: heads with 0 layers, the filter in RE; Vis. without annotations is inv. Trials
    that the ledger itself completed are left out. A run that is not completed gives way once it is.

    Raises:
        InputError: `file:line` and what is wrong there; nothing is stored then.
    """
    rows = ledger.imported()
    own = ledger.newest_attempts()
    completed: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows.values():
        if row["status"] == "completed":
            completed[_values_but(row, _NOT_THE_CELL)].append(row)
    for line, cells in _read(path):
        try:
            row = _normalized(_checked(cells))
            key = _values_but(row, _OUTCOME)
            if _is_outdone(row, own.get(row["trial_id"])) or (key in rows and not _is_newer(row, rows[key])):
                continue
            if row["status"] == "completed":
                _add(completed[_values_but(row, _NOT_THE_CELL)], row)
            rows[key] = row
        except InputError as error:
            raise InputError(f"{path}:{line}: {error}") from error
    outdated = _outdated(rows)
    return ledger.record_imported({key: row for key, row in rows.items() if key not in outdated}, outdated)


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


def _is_newer(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a row replaces another of the same run.

    Raises:
        InputError: both are completed, and differ.
    """
    if other["status"] != "completed":
        return True
    names = [name for name in _OUTCOME if other[name] != row[name]]
    if names and row["status"] == "completed":
        raise InputError(f"the same run as another row, but with other {', '.join(names)}; keep one of them")
    return False


def _add(others: list[dict[str, Any]], row: dict[str, Any]) -> None:
    """Add a row to those of its cell and seed.

    Raises:
        InputError: another one has other scores, so that no table could say which holds.
    """
    for other in others:
        fits = representation_of(row) == representation_of(other) and all(
            row[name] == other[name] or None in (row[name], other[name]) for name in ("encoder", "selection")
        )
        names = [name for name in SCORES if row[name] != other[name]]
        if fits and names:
            raise InputError(
                f"the same cell and seed as another row (trial {other['trial_id'] or 'without id'}), but "
                f"with other {', '.join(names)}; keep one of them, or two ledgers"
            )
    others.append(row)


def _values_but(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return json.dumps([row[name] for name in LONG_COLUMNS if name not in names])


def _read(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = reader.fieldnames or []
            _check_header(header)
            rows = [(reader.line_num, row) for row in reader]
    except InputError as error:
        raise InputError(f"{path}:1: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}") from error
    for line, row in rows:
        if None in row or None in row.values():
            raise InputError(f"{path}:{line}: must have {len(header)} fields, as the header has")
    return rows


def _check_header(header: Any) -> None:
    unknown = [name for name in header if name not in LONG_COLUMNS]
    missing = [name for name in _REQUIRED if name not in header]
    if unknown:
        raise InputError(f"unknown column {unknown[0]!r}; known: {', '.join(LONG_COLUMNS)}")
    if missing:
        raise InputError(f"column {missing[0]!r} is missing; required: {', '.join(_REQUIRED)}")
    if len(set(header)) != len(header):
        raise InputError("a column is there twice")


def _checked(cells: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in LONG_COLUMNS:
        text = cells.get(name, "").strip()
        try:
            row[name] = _PARSERS.get(name, str)(text) if text else None
        except ValueError as error:
            raise InputError(f"{name} must be {error}, but got {text!r}") from error
    is_completed = row["status"] in (None, "completed")
    for name in ("dataset", "phase", "task", "seed", *(("split",) if is_completed else ())):
        if row[name] is None:
            raise InputError(f"{name} is empty; every row needs it")
    if row["task"] not in TASKS[row["phase"]]:
        raise InputError(f"task {row['task']} is not one of phase {row['phase']}")
    if row["f1"] is None and is_completed:
        raise InputError("f1 is empty; only a row whose status is not completed may lack it")
    return row


def _normalized(row: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {"status": "completed", "model": "LAI-Net"}
    if row["f1"] is not None:
        defaults |= {"entities": "predicted", "protocol": "pure"}
        defaults |= {} if row["dataset"] == "ADE" else {"averaging": "micro"}
    filled = {name: defaults.get(name) if value is None else value for name, value in row.items()}
    filled["origin"] = "imported"
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


def _one_of(*options: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in options:
            raise ValueError(f"one of {', '.join(options)}")
        return text

    return parse


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = _finite(text)  # pandas writes 4 as 4.0 in a column that has gaps
        if value is None or not least <= value <= _MOST or not value.is_integer():
            raise ValueError(f"a whole number from {least} to {_MOST}")
        return int(value)

    return parse


def _number(most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = _finite(text)
        if value is None or not 0 <= value <= most:
            raise ValueError(f"a number from 0 to {most:g}")
        return value

    return parse


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"


_PARSERS: dict[str, Callable[[str], Any]] = {
    "dataset": _dataset,
    "phase": _one_of("NER", "RE"),
    "task": _one_of("NER", "RE", "RE+"),
    "split": _one_of("dev", "test"),
    "seed": _whole(0),
    "gcn_layers": _whole(0),
    "gcn_heads": _whole(1),
    "entity_filter": _truth,
    "attention_mask": _one_of("inv", "vis", "full"),
    "annotations": _truth,
    "precision": _number(1),
    "recall": _number(1),
    "f1": _number(1),
    "status": _one_of("running", "completed", "failed", "pruned"),
    "epochs": _whole(0),
    "wall_s": _number(math.inf),
    "fold": _whole(0),
    "entities": _one_of("predicted", "gold", "gold_typed_by_model"),
    "protocol": _one_of("pure", "plmarker"),
    "averaging": _one_of("micro", "macro"),
    "selection": _one_of("dev", "test"),
    "model": _one_of("LAI-Net", "PL-Marker"),
    "origin": _one_of("run", "imported"),
}

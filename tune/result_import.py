"""Import of long tables from runs made elsewhere: every value checked, duplicates idempotent."""

import csv
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lai_net.errors import InputError
from tune.ledger import Ledger
from tune.results import LONG_COLUMNS

_REQUIRED = LONG_COLUMNS[LONG_COLUMNS.index("dataset") : LONG_COLUMNS.index("f1") + 1]
_DATASETS = {name.lower(): name for name in ("SciERC", "ADE", "ACE05", "CoNLL04")}
_TASKS = {"NER": ("NER",), "RE": ("RE", "RE+")}
_OUTCOME = ("precision", "recall", "f1", "status", "epochs", "wall_s", "device", "commit")
"""What a run gives; everything else says which run it is."""


def import_csv(path: Path, ledger: Ledger) -> int:
    """Store the rows of a long table (CSV) as imported; returns how many were new.

    What the file omits reads as the tables' defaults: completed, LAI-Net, end to end, protocol pure, macro
    averages in ADE and micro elsewhere. A factor that does not exist is emptied: heads with 0 layers, the
    filter in RE; Vis. without annotations is inv. Trials that the ledger itself completed are left out.

    Raises:
        InputError: `file:line` and what is wrong there; nothing is stored then.
    """
    known = ledger.imported()
    own = {name for name, attempt in ledger.newest_attempts().items() if attempt.status == "completed"}
    rows: dict[str, dict[str, Any]] = {}
    for line, cells in _read(path):
        try:
            row = _normalized(_checked(cells))
            key = json.dumps([row[name] for name in LONG_COLUMNS if name not in _OUTCOME])
            other = rows.get(key) or known.get(key)
            if other is not None and other != row:
                names = ", ".join(name for name in _OUTCOME if other[name] != row[name])
                raise InputError(f"the same run as another row, but with other {names}; keep one of them")
            if row["trial_id"] not in own:
                rows[key] = row
        except InputError as error:
            raise InputError(f"{path}:{line}: {error}") from error
    return ledger.record_imported(rows)


def _read(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = reader.fieldnames or []
            _check_header(header)
            rows = [(reader.line_num, row) for row in reader]
    except InputError as error:
        raise InputError(f"{path}:1: {error}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
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
    for name in ("dataset", "phase", "task", "split", "seed"):
        if row[name] is None:
            raise InputError(f"{name} is empty; every row needs it")
    if row["task"] not in _TASKS[row["phase"]]:
        raise InputError(f"task {row['task']} is not one of phase {row['phase']}")
    if row["f1"] is None and row["status"] in (None, "completed"):
        raise InputError("f1 is empty; only a row whose status is not completed may lack it")
    return row


def _normalized(row: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {
        "status": "completed",
        "model": "LAI-Net",
        "entities": "predicted",
        "protocol": "pure",
        "averaging": "macro" if row["dataset"] == "ADE" else "micro",
    }
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
        if value is None or value < least or not value.is_integer():
            raise ValueError(f"a whole number from {least}")
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

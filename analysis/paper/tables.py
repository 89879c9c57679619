"""The five published tables as exact decimals, so that an audit sees the digits that were printed."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from lai_net.errors import InputError
from tune.results.table import SCORES

_SETTINGS = "settings.csv"
_SETTING_FACTORS = ("gcn_layers", "gcn_heads")


class Place(NamedTuple):
    """Where a number is printed; `row` is the model, the factor and level, the method, or the mask."""

    table: int
    dataset: str
    task: str
    row: str
    metric: str

    def __str__(self) -> str:
        return f"Table {self.table}, {self.dataset}, {self.task}, {self.row}, {self.metric}"


@dataclass(frozen=True)
class Published:
    """What the paper prints; a dash or a blank has no entry.

    Attributes:
        values: scores in percent, and sentences per second.
        changes: what is printed in brackets beside the value of the same place: a difference in points, in
            Table 3 a change in percent.
        base_levels: (dataset, phase, factor) -> the level in Table 2 that makes the headline result.
    """

    values: Mapping[Place, Decimal]
    changes: Mapping[Place, Decimal]
    base_levels: Mapping[tuple[str, str, str], str]


@dataclass(frozen=True)
class _Columns:
    """Which columns of a table's file say what; `values` and `changes` go from column to metric."""

    row: tuple[str, ...]
    values: Mapping[str, str]
    changes: Mapping[str, str]


_OWN = {metric: metric for metric in SCORES}
_DELTAS = {f"printed_delta_{metric}": metric for metric in SCORES}
_FROM_ROW = ""  # Table 3 has a column that names the metric

_COLUMNS = {
    1: _Columns(("model",), _OWN, {}),
    2: _Columns(("factor", "level"), {"f1": "f1"}, {}),
    3: _Columns(("model",), {"value": _FROM_ROW}, {"printed_change_percent": _FROM_ROW}),
    4: _Columns(("method",), _OWN, _DELTAS),
    5: _Columns(("mask",), {"f1": "f1"}, {"printed_delta_f1": "f1"}),
}


def read_tables(folder: Path | None = None) -> Published:
    """Read `table1.csv` to `table5.csv`; the base levels are the folder's `settings.csv`, or else ours.

    Args:
        folder: another copy of the tables; None reads the copy that ships.

    Raises:
        InputError: a file or a column is missing, or a field is no number, with `path:line`.
    """
    shipped = files("analysis.paper")
    source = folder or shipped
    values: dict[Place, Decimal] = {}
    changes: dict[Place, Decimal] = {}
    for number, columns in _COLUMNS.items():
        path = source / f"table{number}.csv"
        for line, row in read_rows(path, _required(columns)):
            _take(row, number, columns, (values, changes), f"{path}:{line}")
    if any(value <= 0 for value in values.values()):
        place = next(place for place, value in values.items() if value <= 0)
        raise InputError(f"{source}: {place}: a score or a speed must be above 0; leave a dash empty")
    settings = source / _SETTINGS
    return Published(values, changes, _base_levels(settings if settings.is_file() else shipped / _SETTINGS))


def _required(columns: _Columns) -> set[str]:
    metric = {"metric"} if _FROM_ROW in columns.values.values() else set()
    return {"dataset", "task", *columns.row, *columns.values, *columns.changes} | metric


def _take(
    row: Mapping[str, str],
    number: int,
    columns: _Columns,
    into: tuple[dict[Place, Decimal], dict[Place, Decimal]],
    where: str,
) -> None:
    """Put a line's numbers `into` (values, changes)."""
    label = " ".join(row[name] for name in columns.row)
    for target, names in zip(into, (columns.values, columns.changes), strict=True):
        for name, metric in names.items():
            place = Place(number, row["dataset"], row["task"], label, metric or row["metric"])
            if place in target:
                raise InputError(f"{where}: {place} stands here again; keep one line")
            if row[name]:
                target[place] = _number(row[name], f"{where}: {name}")


def _number(text: str, where: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise InputError(f"{where}: {text!r} is no number; leave a dash empty")
    return number


def _base_levels(path: Traversable | Path) -> dict[tuple[str, str, str], str]:
    return {
        (row["dataset"], row["phase"], factor): row[factor]
        for _, row in read_rows(path, {"dataset", "phase", *_SETTING_FACTORS})
        for factor in _SETTING_FACTORS
        if row[factor]
    }


def read_rows(path: Traversable | Path, required: set[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines of a CSV file with their numbers.

    Raises:
        InputError: the file or a column is missing, or a line has not as many fields as columns.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give a folder with table1.csv to table5.csv"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8; save it as UTF-8") from error
    reader = csv.DictReader(text.splitlines())
    missing = sorted(required - set(reader.fieldnames or ()))
    if missing:
        raise InputError(f"{path}:1: no column {', '.join(missing)}; use the columns of the shipped table")
    for row in reader:
        if None in row or None in row.values():
            raise InputError(f"{path}:{reader.line_num}: not as many fields as columns; mend the line")
        yield reader.line_num, row

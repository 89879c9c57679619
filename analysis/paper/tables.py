"""The five published tables as exact decimals, so that an audit sees the digits that were printed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from lai_net.errors import InputError
from lai_net.metrics.scoring import SCORES
from tune.results.csv_files import read_csv

FOLDER = Path(__file__).parent
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
    """Which columns of a table's file say what.

    Attributes:
        row: what names the row.
        values: from column to metric; None where the file's column `metric` names it.
        changes: likewise.
    """

    row: tuple[str, ...]
    values: Mapping[str, str | None]
    changes: Mapping[str, str | None]


_OWN = {metric: metric for metric in SCORES}
_DELTAS = {f"printed_delta_{metric}": metric for metric in SCORES}

_COLUMNS = {
    1: _Columns(("model",), _OWN, {}),
    2: _Columns(("factor", "level"), {"f1": "f1"}, {}),
    3: _Columns(("model",), {"value": None}, {"printed_change_percent": None}),
    4: _Columns(("method",), _OWN, _DELTAS),
    5: _Columns(("mask",), {"f1": "f1"}, {"printed_delta_f1": "f1"}),
}
_NUMBER = re.compile(r"[+-]?\d{1,7}(\.\d{1,6})?", re.ASCII)
_MOST_OF_A_SPEED = 1_000_000
"""And of its change in percent; there is no natural bound, but what is larger is a slip."""


def read_tables(folder: Path | None = None) -> Published:
    """Read `table1.csv` to `table5.csv`; the base levels are the folder's `settings.csv`, or else ours.

    Args:
        folder: another copy of the tables; None reads the copy that ships.

    Raises:
        InputError: a file, its rows or a column are missing, or a field is no number, or none that can be,
            with `path:line`.
    """
    source = folder or FOLDER
    values: dict[Place, Decimal] = {}
    changes: dict[Place, Decimal] = {}
    for number, columns in _COLUMNS.items():
        path = source / f"table{number}.csv"
        for line, row in read_rows(path, _required(columns)):
            _take(row, number, columns, (values, changes), f"{path}:{line}")
    settings = source / _SETTINGS
    return Published(values, changes, _base_levels(settings if settings.is_file() else FOLDER / _SETTINGS))


def _required(columns: _Columns) -> list[str]:
    metric = ["metric"] if None in columns.values.values() else []
    return ["dataset", "task", *columns.row, *metric, *columns.values, *columns.changes]


def _take(
    row: Mapping[str, str],
    number: int,
    columns: _Columns,
    into: tuple[dict[Place, Decimal], dict[Place, Decimal]],
    where: str,
) -> None:
    """Put a line's numbers `into` (values, changes)."""
    label = " ".join(row[name] for name in columns.row)
    for target, names, least in zip(into, (columns.values, columns.changes), (0, -100), strict=True):
        for name, metric in names.items():
            place = Place(number, row["dataset"], row["task"], label, metric or row["metric"])
            if place in target:
                raise InputError(f"{where}: {place} stands here again; keep one line")
            if row[name]:
                most = 100 if place.metric in SCORES else _MOST_OF_A_SPEED
                target[place] = _number(row[name], least, most, f"{where}: {name}")


def _number(text: str, least: int, most: int, where: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise InputError(f"{where}: {text!r} is no number such as 61.80; leave a dash empty")
    number = Decimal(text)
    if not least < number <= most:
        raise InputError(
            f"{where}: must be above {least} and at most {most}, but got {text}; leave a dash empty"
        )
    return number


def _base_levels(path: Path) -> dict[tuple[str, str, str], str]:
    return {
        (row["dataset"], row["phase"], factor): row[factor]
        for _, row in read_rows(path, ("dataset", "phase", *_SETTING_FACTORS))
        for factor in _SETTING_FACTORS
        if row[factor]
    }


def read_rows(path: Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The lines of a CSV file with their numbers.

    Raises:
        InputError: the file, a column or every line is missing, or one has not as many fields as columns.
    """
    rows = read_csv(path, required)
    if not rows:
        raise InputError(f"{path}:1: no line below the columns' names; use a copy of the shipped table")
    return rows

"""CSV files. Of those from elsewhere every field is checked, and what is wrong is told by file and line."""

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lai_net.config import SEED_END
from lai_net.errors import InputError

Parsers = Mapping[str, Callable[[str], Any]]
"""By column what its text means; they raise `ValueError` with what it must be. Others are text."""
_MOST = SEED_END - 1
"""Of a whole number: the largest seed."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def csv_bytes(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> bytes:
    """A file in UTF-8; None is empty."""
    out = io.BytesIO()
    with io.TextIOWrapper(out, encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        text.flush()
        return out.getvalue()


def read_csv(
    path: Path, required: Sequence[str], known: Sequence[str] | None = None
) -> list[tuple[int, dict[str, str]]]:
    """The rows of a file with their lines.

    Raises:
        InputError: it cannot be read, lacks a required column or has one beside those known (None lets any
            be), or a row is ragged.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = reader.fieldnames or []
            _check_header(header, required, known)
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


def _check_header(header: Sequence[str], required: Sequence[str], known: Sequence[str] | None) -> None:
    separators = [sign for sign in ";\t" if len(header) == 1 and sign in header[0]]
    if separators:
        raise InputError(f"fields are separated by {separators[0]!r}; write the file with commas")
    unknown = [] if known is None else [name for name in header if name not in known]
    missing = [name for name in required if name not in header]
    if "" in unknown:
        raise InputError("a column has no name, as pandas' index has none; leave it out (index=False)")
    if unknown:
        raise InputError(f"unknown column {unknown[0]!r}; known: {', '.join(known or ())}")
    if missing:
        raise InputError(f"column {missing[0]!r} is missing; required: {', '.join(required)}")
    if len(set(header)) != len(header):
        raise InputError("a column is there twice")


def parse_fields(cells: Mapping[str, str], columns: Sequence[str], parsers: Parsers) -> dict[str, Any]:
    """A row's values by column; None where a field is empty or left out.

    Raises:
        InputError: a field is not what it must be.
    """
    row: dict[str, Any] = {}
    for name in columns:
        text = cells.get(name, "").strip()
        try:
            row[name] = parsers.get(name, str)(text) if text else None
        except ValueError as error:
            raise InputError(f"{name} must be {error}, but got {text!r}") from error
    return row


def one_of(*options: str) -> Callable[[str], str]:
    """Parses one of some words."""

    def parse(text: str) -> str:
        if text not in options:
            raise ValueError(f"one of {', '.join(options)}")
        return text

    return parse


def whole(least: int) -> Callable[[str], int]:
    """Parses a whole number, also as pandas writes it."""

    def parse(text: str) -> int:
        value = _finite(text)  # pandas writes 4 as 4.0 in a column that has gaps
        if value is None or not least <= value <= _MOST or not value.is_integer():
            raise ValueError(f"a whole number from {least} to {_MOST}")
        return int(value)

    return parse


def number(most: float) -> Callable[[str], float]:
    """Parses a finite number from 0."""

    def parse(text: str) -> float:
        value = _finite(text)
        if value is None or not 0 <= value <= most:
            raise ValueError(f"a number from 0 to {most:g}")
        return value

    return parse


def positive(text: str) -> float:
    """Parses a finite number above 0."""
    value = _finite(text)
    if value is None or value <= 0:
        raise ValueError("a number above 0")
    return value


def _finite(text: str) -> float | None:
    """A number as tables have it: `float` would take 0_1 for 1 as well."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def word(text: str) -> str:
    """Parses a name without white space in it."""
    if text.split() != [text]:
        raise ValueError("a name without white space; replace it, for instance by -")
    return text


def truth(text: str) -> bool:
    """Parses true or false."""
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"

"""Whether a ledger's file is whole: SQLite's own checks, the JSON in its columns, and its text's encoding."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from lai_net.errors import InputError
from tune.ledger.rows import KEY_COLUMNS, damaged_row

_JSON_COLUMNS = {
    "config", "provenance", "artefacts", "report", "scores", "coverage", "documents", "row", "given",
    "decided",
}  # fmt: skip
"""In whichever table."""


def check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Look at every page and row; a few seconds for a GiB.

    Raises:
        InputError: one is damaged, or refers to what is not there.
    """
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        what = " ".join(str(found).split()).removeprefix("*** in database main *** ")
        raise InputError(
            f"{path}: the file is damaged ({what}); restore a copy, or save what can be read with "
            f"`sqlite3 {path} .recover | sqlite3 NEW` and put NEW in its place"
        )
    orphan = connection.execute("PRAGMA foreign_key_check").fetchone()
    if orphan is not None:
        raise InputError(
            f"{path}: the file is damaged (a row of {orphan[0]} refers to a missing row of {orphan[2]}); "
            "restore a copy, or name a ledger in another folder"
        )
    if (damaged := first_damaged_row(connection)) is not None:
        raise InputError(f"{path}: {damaged}")


def first_damaged_row(connection: sqlite3.Connection) -> str | None:
    """What is wrong with the first row that lacks JSON where it should be, or UTF-8; None where none does."""
    return next(_damaged_rows(connection), None)


def _damaged_rows(connection: sqlite3.Connection) -> Iterator[str]:
    for table, names in _tables(connection):
        # As bytes: sqlite3 itself gives no row whose text it cannot decode.
        rows = f"SELECT {', '.join(f'CAST({name} AS BLOB)' for name in names)} FROM {table}"
        for column in (name for name in names if name in _JSON_COLUMNS):
            for values in connection.execute(f"{rows} WHERE {column} <> '' AND NOT json_valid({column})"):
                yield damaged_row(_key(names, values), column)
        for values in connection.execute(rows):
            if not _is_utf8(b"\n".join(filter(None, values))):
                column = next(name for name, value in zip(names, values, strict=True) if not _is_utf8(value))
                yield damaged_row(_key(names, values), column, "UTF-8")


def _tables(connection: sqlite3.Connection) -> list[tuple[str, list[str]]]:
    """The tables in the order of their making, with their columns."""
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")
    columns = "SELECT name FROM pragma_table_info(?)"
    return [(table, [name for (name,) in connection.execute(columns, (table,))]) for (table,) in tables]


def _key(names: Sequence[str], values: Sequence[bytes]) -> dict[str, str]:
    row = dict(zip(names, values, strict=True))
    return {name: row[name].decode(errors="backslashreplace") for name in KEY_COLUMNS if name in row}


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True

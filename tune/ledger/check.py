"""Whether a ledger's file is whole: SQLite's own checks, and the JSON in its columns."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lai_net.errors import InputError
from tune.ledger.rows import KEY_COLUMNS, damaged_row

_JSON_COLUMNS = {
    "trial": ("config",),
    "attempt": ("provenance", "artefacts"),
    "epoch": ("report",),
    "evaluation": ("scores", "coverage"),
    "evaluation_documents": ("documents",),
    "imported": ("row",),
    "imported_epoch": ("report",),
    "search_event": ("given", "decided"),
}


def check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Look at every page and row; about a second for a GiB.

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
    """What is wrong with the first row that holds no JSON where it should; None where all do."""
    return next(_damaged_rows(connection), None)


def _damaged_rows(connection: sqlite3.Connection) -> Iterator[str]:
    existing = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for table, columns in _JSON_COLUMNS.items():
        for column in columns if table in existing else ():
            wrong = f"{column} <> '' AND NOT json_valid({column})"
            cursor = connection.execute(f"SELECT * FROM {table} WHERE {wrong}")
            names = [item[0] for item in cursor.description]
            for values in cursor:
                row = dict(zip(names, values, strict=True))
                yield damaged_row({name: row[name] for name in KEY_COLUMNS if name in row}, column)

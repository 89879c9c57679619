"""A ledger that is damaged, of an old version, or none at all."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from lai_net.errors import InputError
from tests.benchmarks.simulated import Trial, probe_row
from tests.unit.ledgers import ASSETS, TRIAL, finished_ledger
from tune.ledger.file import MissingLedgerError
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow, SearchEvent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return finished_ledger(tmp_path)


def sql(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


def test_a_damaged_page_is_found_before_anything_is_written(path: Path) -> None:
    content = bytearray(path.read_bytes())
    (root,) = (
        sqlite3.connect(path).execute("SELECT rootpage FROM sqlite_schema WHERE name = 'epoch'").fetchone()
    )
    start = (root - 1) * 4096
    content[start : start + 200] = bytes(range(200))
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"ledger\.sqlite.*damaged.*\.recover"):
        Ledger.open(path)
    assert path.read_bytes() == content


def test_a_row_without_json_is_named(path: Path) -> None:
    sql(path, "UPDATE epoch SET report = '{\"epoch\": 7' WHERE epoch = 7")
    said = r"ledger\.sqlite: row trial_id t1, attempt 1, epoch 7: is damaged \(no JSON in report\)"
    with pytest.raises(InputError, match=said):
        Ledger.open(path)
    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.status("t1") == "completed"
        for read in (
            lambda: ledger.epochs("t1"),
            ledger.epoch_times,
            lambda: list(ledger.epoch_values(["dev.f1"])),
        ):
            with pytest.raises(InputError, match=said):
                read()


def test_of_two_damaged_rows_always_the_same_one_is_named(path: Path) -> None:
    """Their tables' names come from the file as a set, whose order differs between processes."""
    sql(path, "UPDATE epoch SET report = '{' WHERE epoch = 7")
    sql(path, "UPDATE trial SET config = '{'")
    code = (
        f"from pathlib import Path; from tune.ledger.ledger import Ledger; Ledger.open(Path({str(path)!r}))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=False,
        ).stderr.splitlines()[-1]
        for seed in "123"
    ]  # fmt: skip
    assert said == [said[0]] * 3
    assert "no JSON in config" in said[0]


@pytest.mark.parametrize(
    ("table", "column", "read"),
    [("trial", "config", Ledger.trials), ("attempt", "provenance", Ledger.all_attempts)],
)
def test_other_tables_likewise(path: Path, table: str, column: str, read) -> None:
    sql(path, f"UPDATE {table} SET {column} = 'x'")
    with (
        Ledger.open(path, read_only=True) as ledger,
        pytest.raises(InputError, match=rf"row trial_id t1.*no JSON in {column}"),
    ):
        read(ledger)


@pytest.mark.parametrize(
    ("table", "column", "key", "read"),
    [
        ("trial", "dataset", "trial_id t1", Ledger.trials),
        ("trial", "config", "trial_id t1", lambda ledger: ledger.trial("t1")),
        ("attempt", "error", "trial_id t1, attempt 1", Ledger.all_attempts),
        ("epoch", "report", "trial_id t1, attempt 1, epoch 1", lambda ledger: ledger.epochs("t1")),
        ("evaluation", "split", "trial_id t1, evaluation_id e1", Ledger.evaluations),
        ("imported", "row", "key k", Ledger.imported),
        ("imported", "key", r'key {"a": "\\xff"}', Ledger.imported),
        ("probe", "meter", "shape_id a, device_type logical", Ledger.probes),
    ],
)
def test_a_row_whose_text_cannot_be_decoded_is_named(
    path: Path, table: str, column: str, key: str, read
) -> None:
    with Ledger.open(path) as ledger:
        scores = {"evaluation_id": "e1", "trial_id": "t1", "upstream_trial_id": None}
        ledger.record_evaluation(EvaluationRow(**scores, split="dev", entities="predicted", scores=[]))
        ledger.record_imported({"k": {"seed": 1}})
        ledger.record_probe(probe_row(Trial("t", "a", 0.3, 0.3)))
    content = b'{"a": "\xff"}'.hex()
    where = "WHERE epoch = 1" if table == "epoch" else ""
    sql(path, f"UPDATE {table} SET {column} = CAST(x'{content}' AS TEXT) {where}")
    said = rf"ledger\.sqlite: row {key}: is damaged \(no UTF-8 in {column}\); restore a copy"
    with Ledger.open(path, read_only=True) as ledger, pytest.raises(InputError, match=said):
        read(ledger)
    with pytest.raises(InputError, match=said):
        Ledger.open(path)


def test_a_row_that_refers_to_nothing_is_found(path: Path) -> None:
    sql(path, "DELETE FROM trial")
    with pytest.raises(InputError, match="a row of attempt refers to a missing row of trial"):
        Ledger.open(path)


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_a_ledger_of_an_old_version_is_read_and_brought_up(tmp_path: Path, version: int) -> None:
    path, asset = tmp_path / "ledger.sqlite", ASSETS / f"ledger-v{version}.sqlite"
    shutil.copy(asset, path)

    def told(ledger: Ledger) -> tuple:
        return (
            ledger.trials(), ledger.all_attempts(), ledger.epochs("t1"), ledger.evaluations(),
            ledger.imported(), ledger.search_events("s"), ledger.documents("e1"),
            ledger.failed_evaluations(), ledger.probes(),
        )  # fmt: skip

    with Ledger.open(path, read_only=True) as old:
        before = told(old)
    assert path.read_bytes() == asset.read_bytes(), "a reader migrates nothing"
    assert [row.trial_id for row in before[0]] == ["t1", "t2"]
    assert before[1]["t2"][-1].status == "running"
    assert [event.kind for event in before[5]] == ([] if version == 1 else ["begin"])
    assert bool(before[6]) == (version >= 3)
    assert {item.failure for item in before[1]["t1"]} == {None}, "not recorded then"
    event, probe = SearchEvent("later", 0, "begin", {"spread": []}, {}), probe_row(Trial("t", "a", 0.3, 0.3))
    with Ledger.open(path) as new:
        assert told(new) == before
        assert new.next_attempt("t2") == 2
        new.record_search_event(event)
        new.record_probe(probe)
        assert new.search_events("later") == [event]
        assert probe in new.probes().values()
    assert schema(path) == schema_of_new(tmp_path)


def test_a_ledger_without_tables_is_one_that_nothing_was_recorded_in(tmp_path: Path) -> None:
    """Whoever is killed while it lays out a new file leaves that."""
    path = tmp_path / "ledger.sqlite"
    path.touch()
    with pytest.raises(
        MissingLedgerError, match=r"ledger\.sqlite: nothing was recorded in it yet; call `lai run`"
    ):
        Ledger.open(path, read_only=True)
    with Ledger.read_or_empty(path) as ledger:
        assert ledger.trials() == []
    assert path.read_bytes() == b""
    with Ledger.open(path) as ledger:
        ledger.register_trials([TRIAL])


def test_another_programs_file_without_tables_is_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    sql(path, "PRAGMA application_id = 7")
    content = path.read_bytes()
    for read_only in (True, False):
        with pytest.raises(InputError, match=r"other\.sqlite: an SQLite file, but not a ledger"):
            Ledger.open(path, read_only=read_only)
    assert path.read_bytes() == content


def schema(path: Path) -> list[tuple]:
    connection = sqlite3.connect(path)
    query = "SELECT t.name, c.* FROM pragma_table_list t, pragma_table_info(t.name) c ORDER BY t.name, c.cid"
    found = [*connection.execute(query), *connection.execute("PRAGMA user_version")]
    connection.close()
    return found


def schema_of_new(folder: Path) -> list[tuple]:
    Ledger.open(folder / "new.sqlite").close()
    return schema(folder / "new.sqlite")


@pytest.mark.parametrize("read_only", [True, False])
def test_a_ledger_of_no_version_is_refused(tmp_path: Path, *, read_only: bool) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 0")
    connection.close()
    with pytest.raises(InputError, match="not a ledger"):
        Ledger.open(path, read_only=read_only)

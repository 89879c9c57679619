"""A ledger on a file system of a network, or on one without locks."""

import errno
import fcntl
import shutil
import sqlite3
from pathlib import Path

import pytest

from lai_net.errors import InputError
from tests.unit.ledgers import finished_ledger
from tune.ledger import file as ledger_file
from tune.ledger.file import is_being_written, is_on_network
from tune.ledger.ledger import Ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return finished_ledger(tmp_path)


def journal_mode(path: Path) -> str:
    connection = sqlite3.connect(path)
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    return str(mode)


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export {root} {kind} rw 0 0
/dev/sdb1 {root}/scratch ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("nfs4", True),
        ("cifs", True),
        ("fuse.sshfs", True),
        ("lustre", True),
        ("ext4", False),
        ("overlay", False),
    ],
)
def test_a_network_file_system_is_told_by_the_innermost_mount(tmp_path, monkeypatch, kind, expected) -> None:
    root = tmp_path / "a b"
    (root / "scratch").mkdir(parents=True)
    table = tmp_path / "mounts"
    table.write_text(MOUNTS.format(root=str(root).replace(" ", "\\040"), kind=kind))
    monkeypatch.setattr(ledger_file, "MOUNTS", table)
    assert is_on_network(root / "runs" / "ledger.sqlite") == expected
    assert not is_on_network(root / "scratch" / "ledger.sqlite")
    assert not is_on_network(tmp_path / "ledger.sqlite")
    table.unlink()
    assert not is_on_network(root / "ledger.sqlite"), "no Linux"


def test_on_a_network_a_ledger_has_no_wal_and_is_read_while_it_is_written(path: Path, monkeypatch) -> None:
    assert journal_mode(path) == "wal"
    monkeypatch.setattr(ledger_file, "is_on_network", lambda _: True)
    with Ledger.open(path) as writer:
        writer.record_imported({"a": {}})
        assert [file.name for file in path.parent.glob("*-wal")] == []
        with Ledger.open(path, read_only=True) as reader:
            assert reader.imported() == {"a": {}}
            writer.record_imported({"b": {}})
            assert reader.imported() == {"a": {}, "b": {}}, "what a writer adds is seen"
    assert journal_mode(path) == "delete"
    monkeypatch.setattr(ledger_file, "is_on_network", lambda _: False)
    Ledger.open(path).close()
    assert journal_mode(path) == "wal"


def test_a_commit_that_a_kill_cut_is_told_to_readers_and_taken_back_by_a_writer(path: Path, monkeypatch):
    monkeypatch.setattr(ledger_file, "is_on_network", lambda _: True)
    cut = path.with_name("cut.sqlite")
    with Ledger.open(path) as writer:
        before = writer.epochs("t1")
        writer._connection.execute("PRAGMA cache_size = 1")  # so that it begins to write before the commit
        writer._connection.execute("BEGIN IMMEDIATE")
        writer._connection.execute("UPDATE epoch SET report = json_set(report, '$.loss', 1)")
        for end in ("", "-journal"):
            shutil.copy(f"{path}{end}", f"{cut}{end}")
        writer._connection.execute("ROLLBACK")
    for _ in range(2):
        with pytest.raises(InputError, match=r"cut\.sqlite: its last writer was killed .*`lai run` again"):
            Ledger.open(cut, read_only=True)
    with Ledger.open(cut) as writer:
        assert writer.epochs("t1") == before
    with Ledger.open(cut, read_only=True) as reader:
        assert reader.epochs("t1") == before


def test_a_file_system_without_locks_is_refused(path: Path, monkeypatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(InputError, match=r"no locks \(No locks available\).*local disk"):
        Ledger.open(path)
    assert not is_being_written(path), "a reader is not bothered"

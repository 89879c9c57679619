"""A ledger on a full disk, or beyond a quota or a limit to a file's size: one line, and nothing is lost."""

import contextlib
import errno
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lai_net.errors import InputError
from tests.unit.ledgers import ASSETS, TRIAL, finished_ledger
from tune import fault_points
from tune.ledger import file as ledger_file
from tune.ledger.ledger import Ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return finished_ledger(tmp_path)


def test_a_full_disk_is_one_line_and_loses_nothing(path: Path) -> None:
    with Ledger.open(path) as ledger:
        (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
        ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(InputError, match=r"ledger\.sqlite: the disk is full; .* the same call resumes"):
            ledger.record_imported({str(number): {"text": "y" * 4000} for number in range(40)})
        assert ledger.imported() == {}
        ledger._connection.execute("PRAGMA max_page_count = 100000")
        ledger.record_imported({"k": {}})
    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.imported() == {"k": {}}
        assert ledger.status("t1") == "completed"


LIMIT = r"ledger\.sqlite: no room for more by a quota .*see df and quota, then the same call resumes"


@contextlib.contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """No file may grow beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_limit_to_a_files_size_is_one_line_and_loses_nothing(path: Path) -> None:
    with Ledger.open(path) as ledger:
        with (
            largest_file(path.stat().st_size),
            pytest.raises(InputError, match=LIMIT),
        ):
            ledger.record_imported({str(number): {"text": "y" * 4000} for number in range(40)})
        assert ledger.imported() == {}
        ledger.record_imported({"k": {}})
    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.imported() == {"k": {}}
        assert ledger.status("t1") == "completed"


def test_a_new_ledger_beyond_a_limit_to_a_files_size_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with largest_file(16384), pytest.raises(InputError, match=LIMIT):
        Ledger.open(path)
    with Ledger.open(path) as ledger:
        ledger.register_trials([TRIAL])


def test_a_quota_that_the_system_tells_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with monkeypatch.context() as refusing:
        refusing.setattr(ledger_file.os, "ftruncate", refuse)
        with pytest.raises(InputError, match=LIMIT):
            Ledger.open(tmp_path / "ledger.sqlite")
    Ledger.open(tmp_path / "ledger.sqlite").close()


FULL = r"ledger\.sqlite: the disk is full; .* the same call resumes"


@pytest.mark.parametrize("point", ["ledger.create", "ledger.migrate"])
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_disk_that_is_full_when_a_ledger_is_laid_out_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, side: str
) -> None:
    path = tmp_path / "ledger.sqlite"
    if point == "ledger.migrate":
        shutil.copy(ASSETS / "ledger-v1.sqlite", path)
    with monkeypatch.context() as armed:
        armed.setattr(fault_points, "_visits", 0)
        armed.setenv(fault_points.VARIABLE, f"{point}.{side}_commit:raise-enospc")
        with pytest.raises(InputError, match=FULL):
            Ledger.open(path)
    Ledger.open(path).close()


@pytest.mark.parametrize("there", ["nothing", "lock", "ledger"])
def test_a_ledger_on_a_full_disk_is_one_line_and_the_same_call_resumes(
    mount_disk: Callable[..., Path], there: str
) -> None:
    disk = mount_disk("disk", 512)
    path, filler = disk / "ledger.sqlite", disk / "filler"
    if there == "lock":
        path.with_name("ledger.sqlite.lock").touch()
    if there == "ledger":
        Ledger.open(path).close()
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(InputError, match=FULL):
        Ledger.open(path)
    filler.unlink()
    with Ledger.open(path) as ledger:
        ledger.register_trials([TRIAL])

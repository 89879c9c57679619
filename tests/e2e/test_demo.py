"""The shipped demo study as a user runs it: whole, killed at random moments, and called again."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drills.invariants import finished

KILLS = 5
pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture(scope="module", autouse=True)
def own_temporary_folder() -> Iterator[None]:
    """A killed driver cannot remove Ray's session; short, since Ray puts sockets there."""
    with (
        tempfile.TemporaryDirectory(prefix="e", dir="/tmp", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TMPDIR", folder)
        yield


def start_run(ledger: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "analysis", "run", "demo", "--ledger", str(ledger)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def report_of(ledger: Path) -> dict[str, bytes]:
    """The bytes of every table and figure."""
    out = ledger.parent / "report"
    command = [sys.executable, "-m", "analysis", "report", "demo", "--ledger", str(ledger), "--out", str(out)]
    subprocess.run(command, check=True)
    return {
        path.name: path.read_bytes() for path in out.iterdir() if path.stem.startswith(("table", "figure"))
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ledger = tmp_path_factory.mktemp("undisturbed") / "ledger.sqlite"
    assert start_run(ledger).wait() == 0
    return ledger


def test_the_tables_and_the_figure_are_there_and_a_second_call_does_nothing(undisturbed: Path) -> None:
    names = {f"table{number}.{kind}" for number in (2, 4, 5) for kind in ("csv", "md", "tex")}
    found = report_of(undisturbed)
    assert names | {f"figure_a1.{kind}" for kind in ("png", "pdf", "svg")} <= set(found)
    assert not any(word in found["table2.csv"] for word in (b"missing", b"failed"))
    before = finished(undisturbed)
    assert len(before) == 54
    assert start_run(undisturbed).wait() == 0
    assert finished(undisturbed) == before


def test_killed_five_times_it_gives_the_same_tables(undisturbed: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    moments = random.Random(20261122)
    before: dict[str, int] = {}
    for _ in range(KILLS):
        process = start_run(ledger)
        time.sleep(moments.uniform(15, 60))
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = finished(ledger)
        assert now.items() >= before.items(), "a finished trial was trained again"
        before = now
    assert start_run(ledger).wait() == 0
    assert finished(ledger).items() >= before.items()
    assert max(finished(ledger).values()) > 1, "no kill hit a running trial"
    assert report_of(ledger) == report_of(undisturbed)

"""Workers and a node are killed while the driver stands at each of its fault points."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drills.invariants import differences, finished, violations
from tests.drills.playing import start_driver
from tests.drills.study import study_text
from tests.integration.test_faults import OF_TABLES
from tests.integration.test_run_cluster import Raylets, ancestors, head_alone, kill_session, wait_for
from tune.fault_points import VARIABLE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc"),
]
PATIENCE_S = 240
AT_THE_DRIVER = [point for point in OF_TABLES if not point.startswith("worker.")]
CASES = [(point, "node") for point in AT_THE_DRIVER] + [
    (point, "worker") for point in AT_THE_DRIVER if "register" not in point  # no worker is there so early
]  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[Raylets]:
    """A head, and two nodes of one trial each; the last is started anew for each test."""
    with head_alone() as raylets:
        raylets.start_worker()
        yield raylets


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The study, and the ledger of a run in one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    study, ledger = folder / "study.toml", folder / "ledger.sqlite"
    study.write_text(study_text([1]))
    assert ended(start_driver(study, ledger, "serial")) == (0, "")
    return study, ledger


def ended(driver: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        _, err = driver.communicate(timeout=PATIENCE_S)
    finally:
        driver.kill()
    return driver.returncode, err if driver.returncode else ""


def kill_workers(node: subprocess.Popen[bytes]) -> int:
    """SIGKILL of all workers of a node; how many there were."""
    workers = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and told(entry, "cmdline").startswith("ray::ImplicitFunc")
    ]
    own = [pid for pid in workers if node.pid in ancestors(pid)]
    for pid in own:
        os.kill(pid, signal.SIGKILL)
    return len(own)


def told(process: Path, name: str) -> str:
    """What /proc says of a process; nothing of one that is gone."""
    try:
        return (process / name).read_text()
    except OSError:
        return ""


def is_stopped(process: Path) -> bool:
    return told(process, "stat").rpartition(") ")[2].startswith("T")


@pytest.mark.parametrize(("point", "victim"), CASES)
def test_killed_while_the_driver_stands_at_a_point(cluster, undisturbed, tmp_path, point, victim):
    study, expected = undisturbed
    node, ledger = cluster.start_worker(), tmp_path / "ledger.sqlite"
    armed = cluster.environment | {VARIABLE: f"{point}:{1 if 'register' in point else 2}:stop"}
    driver = start_driver(study, ledger, cluster.address, **armed)
    process = Path("/proc", str(driver.pid))
    wait_for(lambda: driver.poll() is not None or is_stopped(process), PATIENCE_S)
    assert driver.poll() is None, "the point was not passed"
    before = finished(ledger)
    if victim == "node":
        kill_session(node)
    else:
        assert sum(kill_workers(each) for each in cluster.processes[1:]) > 0
    driver.send_signal(signal.SIGCONT)
    code, err = ended(driver)
    if node.poll() is None:
        kill_session(node)
    assert code == 0, err
    assert violations(ledger, before) == []
    assert differences(study, ledger, expected) == []

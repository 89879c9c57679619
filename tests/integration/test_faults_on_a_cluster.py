"""Workers and a node are killed while the driver stands at each of its fault points."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.drills.invariants import differences, finished, violations
from tests.drills.playing import start_driver
from tests.integration.searching import lai
from tests.integration.test_faults import (
    AT_THE_START,
    KEEPING,
    MEASURED,
    OF_A_PROBE,
    OF_A_SEARCH,
    OF_FORGETTING,
    OF_TABLES,
    SEARCH,
    STUDY,
)
from tests.integration.test_run_cluster import Raylets, ancestors, head_alone, kill_session, wait_for
from tune.fault_points import VARIABLE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc"),
]
PATIENCE_S = 240
ONE_GPU = ("--num-gpus=1",)  # a logical one
STUDIES = {
    "table": STUDY,
    "keeping": KEEPING.replace("LEVEL", "needed"),
    "measured": MEASURED,
    "search": SEARCH,
}
AT_THE_DRIVER = [
    *(("table", point, 1 if point in AT_THE_START else 2) for point in OF_TABLES if "worker." not in point),
    *(("keeping", point, 1) for point in OF_FORGETTING),
    *(("measured", point, 2) for point in OF_A_PROBE),
    *(("search", point, 5) for point in OF_A_SEARCH),  # the first decisions start what reports epochs later
]
"""Study, point, and at which visit of it: when a worker is there, where there can be one."""
CASES = [(*place, "node") for place in AT_THE_DRIVER] + [
    (*place, "worker") for place in AT_THE_DRIVER if place[1] not in AT_THE_START
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Raylets]:
    """A head, and two nodes of one trial each; the last is started anew for each test."""
    with head_alone() as raylets:
        raylets.start_worker(options=ONE_GPU)
        yield raylets


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """A study of STUDIES, and the ledger of a run of it in one process."""

    @cache
    def run(name: str) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp(name)
        study, ledger = folder / "study.toml", folder / "ledger.sqlite"
        study.write_text(STUDIES[name])
        assert ended(start_driver(study, ledger, "serial")) == (0, "")
        return study, ledger

    return run


def ended(driver: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        _, err = driver.communicate(timeout=PATIENCE_S)
    finally:
        driver.kill()
    return driver.returncode, err if driver.returncode else ""


def signal_workers(node: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """Signal all workers of a node; how many there were."""
    workers = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and told(entry, "cmdline").startswith("ray::ImplicitFunc")
    ]
    own = [pid for pid in workers if node.pid in ancestors(pid)]
    for pid in own:
        os.kill(pid, number)
    return len(own)


def told(process: Path, name: str) -> str:
    """What /proc says of a process; nothing of one that is gone."""
    try:
        return (process / name).read_text()
    except OSError:
        return ""


def is_stopped(process: Path) -> bool:
    return told(process, "stat").rpartition(") ")[2].startswith("T")


@pytest.mark.parametrize(("name", "point", "count", "victim"), CASES)
def test_killed_while_the_driver_stands_at_a_point(
    cluster, undisturbed, tmp_path, name, point, count, victim
):
    study, expected = undisturbed(name)
    node, ledger = cluster.start_worker(options=ONE_GPU), tmp_path / "ledger.sqlite"
    armed = cluster.environment | {VARIABLE: f"{point}:{count}:stop"}
    driver = start_driver(study, ledger, cluster.address, **armed)
    process = Path("/proc", str(driver.pid))
    wait_for(lambda: driver.poll() is not None or is_stopped(process), PATIENCE_S)
    assert driver.poll() is None, "the point was not passed"
    before = finished(ledger)
    if victim == "node":
        kill_session(node)
    else:
        assert sum(signal_workers(each, signal.SIGKILL) for each in cluster.processes[1:]) > 0
    driver.send_signal(signal.SIGCONT)
    code, err = ended(driver)
    if node.poll() is None:
        kill_session(node)
    assert code == 0, err
    assert violations(ledger, before) == []
    if name == "search":  # its order is that of arrival: what it promises is a log that replays
        assert ", 0 differ" in lai("replay", study, "--ledger", ledger).stdout
    else:
        assert differences(study, ledger, expected) == []

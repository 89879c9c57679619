"""Plays a schedule: starts drivers, kills what it names, and looks at the ledger after every call."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lai_net.errors import InputError
from tests.drills.invariants import differences, finished, num_epochs, violations
from tests.drills.schedule import Call, Kill, Schedule
from tune.fault_points import VARIABLE
from tune.ledger.ledger import Ledger
from tune.provenance import process_start

DRIVER = Path(__file__).parents[1] / "integration" / "drill.py"
_PATIENCE_S, _MOST_CALLS = 240, 5


@dataclass
class Outcome:
    """What became of a schedule.

    Attributes:
        kills: those that hit, by victim.
        fell: calls that ended with the node that was killed: all raylets are on one machine, and Ray may
            attach the driver to any of them.
    """

    schedule: Schedule
    kills: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    fell: int = 0
    violations: list[str] = field(default_factory=list)


def start_driver(study: Path, ledger: Path, engine: str, **environment: str) -> subprocess.Popen[str]:
    """A `lai run` in a process and a process group of its own."""
    return subprocess.Popen(
        [sys.executable, str(DRIVER), str(study), str(ledger), engine],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        start_new_session=True,
    )


def finish(study: Path, ledger: Path, engine: str = "serial") -> tuple[int, str, str]:
    """Run to the end: exit code, stdout, stderr."""
    process = start_driver(study, ledger, engine)
    out, err = process.communicate(timeout=90)
    return process.returncode, out, err


class Nodes:
    """A Ray cluster on this machine: a head, and a second raylet that can be killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        self._second: Any = None
        self.ensure()

    @property
    def address(self) -> str:
        """HOST:PORT of the head."""
        return str(self._cluster.address)

    def ensure(self) -> None:
        """Start the second node, where there is none."""
        if self._second is None:
            self._second = self._cluster.add_node(num_cpus=1)

    def kill_second(self) -> bool:
        """SIGKILL of its raylet; whether there was one."""
        if self._second is None:
            return False
        (raylet,) = self._second.all_processes["raylet"]
        raylet.process.kill()
        node, self._second = self._second, None
        self._cluster.remove_node(node, allow_graceful=False)
        return True

    def close(self) -> None:
        """Stop all of it."""
        self._cluster.shutdown()


@contextlib.contextmanager
def nodes() -> Iterator[Nodes]:
    """A cluster with a token of its own, in a temporary folder that goes with it."""
    from tune import ray_environment  # noqa: F401 - ray reads it at its import
    from tune.cluster.connection import _give_own_token

    _give_own_token()
    opened = Nodes()
    try:
        yield opened
    finally:
        opened.close()


def play(schedule: Schedule, study: Path, undisturbed: Path, cluster: Nodes | None) -> Outcome:
    """Disturb a fresh run of the study as the schedule says, call it to its end, and compare."""
    outcome = Outcome(schedule)
    with tempfile.TemporaryDirectory(prefix="d", dir="/tmp", ignore_cleanup_errors=True) as folder:
        ledger = Path(folder) / "ledger.sqlite"
        disturbed = iter(schedule.calls)
        while outcome.calls < _MOST_CALLS + len(schedule.calls):
            if cluster is not None:
                cluster.ensure()
            call = next(disturbed, Call())
            before = finished(ledger)
            code = _call(call, study, ledger, outcome, cluster)
            outcome.violations += violations(ledger, before)
            if code == 0 and call == Call():
                break
        else:
            outcome.violations.append("the study does not come to its end")
            return outcome
        outcome.violations += differences(study, ledger, undisturbed)
    return outcome


_TRACEBACK = re.compile(r"^Traceback", re.MULTILINE)
"""Of the driver: failed jobs, which end a run with 1, too, are told in one line each."""


def _call(call: Call, study: Path, ledger: Path, outcome: Outcome, cluster: Nodes | None) -> int:
    engine = cluster.address if cluster is not None else outcome.schedule.engine
    armed = {} if call.fault is None else {VARIABLE: f"{call.fault}:kill"}
    driver = start_driver(study, ledger, engine, **armed)
    outcome.calls += 1
    hit = [
        kill.victim
        for kill in call.kills
        if _await_progress(driver, ledger, kill) and _hit(kill, driver, ledger, cluster)
    ]
    outcome.kills.update(hit)
    try:
        _, err = driver.communicate(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        driver.kill()
        driver.communicate()
        outcome.violations.append(f"a call hung for {_PATIENCE_S} s")
        return 1
    code = driver.returncode
    if call.fault is not None and code == -signal.SIGKILL:
        outcome.kills["driver at a fault point"] += 1
    if code not in (0, 1, 3, -signal.SIGKILL) or (code == 1 and _TRACEBACK.search(err)):
        last = (err.strip().splitlines() or ["nothing"])[-1]
        if "node" in hit:
            outcome.fell += 1
        else:
            outcome.violations.append(f"a call ended with {code}: {last}")
    return code


def _await_progress(driver: subprocess.Popen[str], ledger: Path, kill: Kill) -> bool:
    """Wait for the kill's moment; False if the driver ended before."""
    target, until = num_epochs(ledger) + kill.epochs, time.monotonic() + _PATIENCE_S
    while driver.poll() is None and time.monotonic() < until:
        if num_epochs(ledger) >= target:
            time.sleep(kill.delay_s)
            return driver.poll() is None
        time.sleep(0.01)
    return False


def _hit(kill: Kill, driver: subprocess.Popen[str], ledger: Path, cluster: Nodes | None) -> bool:
    if kill.victim == "node":
        return cluster is not None and cluster.kill_second()
    if kill.victim == "worker":
        return kill_worker(ledger)
    driver.kill()
    return True


def kill_worker(ledger: Path) -> bool:
    """SIGKILL of the worker of a trial that runs."""
    try:
        with Ledger.open(ledger, read_only=True) as opened:
            running = [row for row in opened.newest_attempts().values() if row.status == "running"]
    except InputError:
        return False
    for made in (row.provenance for row in running):
        if (
            process_start(made["pid"]) == made["pid_started"]
        ):  # an earlier driver's may be gone, its pid another's
            os.kill(made["pid"], signal.SIGKILL)
            return True
    return False

"""Ctrl-C, and what batch systems send: a run stops at its last checkpoints, and the same call resumes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.drills.invariants import differences, num_epochs
from tests.drills.playing import DRIVER, finish, start_driver
from tune.commands.options import INTERRUPTED
from tune.fault_points import VARIABLE

pytestmark = [
    pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc"),
    pytest.mark.usefixtures("own_temporary_folder"),
]


@pytest.fixture(autouse=True)
def hangup_is_not_ignored():
    """As it is where the tests themselves run under `nohup`: what they start inherits it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signal_stops_cleanly_and_the_same_call_resumes(study, tmp_path, number):
    ledger = tmp_path / "ledger.sqlite"
    process = start_driver(study, ledger, "serial")
    while num_epochs(ledger) < 3:
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 3, err
    assert "the same call resumes" in out
    code, out, _ = finish(study, ledger)
    assert code == 0
    assert ", 0 remain" in out
    code, out, _ = finish(study, ledger)
    assert code == 0
    assert "0 of 6 trials to train, 0 evaluations to make" in out


def test_a_closed_terminal_interrupts_a_run(study, tmp_path):
    ledger, (master, slave) = tmp_path / "ledger.sqlite", os.openpty()
    command = [sys.executable, str(DRIVER), str(study), str(ledger), "serial"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    while num_epochs(ledger) < 3:
        time.sleep(0.01)
    os.close(master)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) == INTERRUPTED


def test_nohup_keeps_a_run_going(study, tmp_path):
    ledger, before = tmp_path / "ledger.sqlite", signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process = start_driver(study, ledger, "serial")
    signal.signal(signal.SIGHUP, before)
    while num_epochs(ledger) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


@pytest.mark.ray
@pytest.mark.parametrize(
    ("send", "number"),
    [
        (os.killpg, signal.SIGINT),
        (os.killpg, signal.SIGTERM),
        pytest.param(os.killpg, signal.SIGUSR1, marks=pytest.mark.slow),
        pytest.param(os.killpg, signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param(os.kill, signal.SIGTERM, marks=pytest.mark.slow),
    ],
    ids=["int", "term-all", "usr1", "hup-all", "term"],
)
def test_signal_stops_ray_cleanly(study, tmp_path, send, number):
    """To the whole group, as a terminal, a batch system and systemd may; Ray itself ends at SIGTERM."""
    ledger = tmp_path / "ledger.sqlite"
    process = start_driver(study, ledger, "ray")
    while num_epochs(ledger) < 3:
        time.sleep(0.01)
    send(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 3, err
    assert "the same call resumes" in out
    assert list(Path(os.environ["TMPDIR"]).glob("lai-*")) == []


@pytest.mark.ray
def test_signal_while_ray_starts_is_heard_and_nothing_is_trained(study, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    process = start_driver(study, ledger, "ray")
    assert "6 of 6 trials to train" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "0 jobs completed" in out
    assert "the same call resumes" in out
    assert num_epochs(ledger) == 0


@contextlib.contextmanager
def hanging_driver(study, ledger, engine, point):
    """A run that hangs at a fault point after its third epoch, and is gone after the test.

    It is started with SIGINT ignored, as what a script starts in the background is.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver = start_driver(study, ledger, engine, **{VARIABLE: f"{point}:4:hang"})
    signal.signal(signal.SIGINT, before)
    try:
        while num_epochs(ledger) < 3:
            time.sleep(0.02)
        time.sleep(0.2)
        yield driver
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()


def ctrl_c_twice(driver):
    """What a terminal sends, to the whole group; the second once the first is heard, or they may be one."""
    os.killpg(driver.pid, signal.SIGINT)
    assert any("a second Ctrl-C stops at once" in line for line in iter(driver.stderr.readline, ""))
    assert driver.poll() is None, "the first waits for the epoch"
    os.killpg(driver.pid, signal.SIGINT)


def test_a_second_ctrl_c_ends_a_run_at_once_and_the_same_call_resumes(study, undisturbed, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    with hanging_driver(study, ledger, "serial", "worker.epoch") as driver:
        ctrl_c_twice(driver)
        began = time.monotonic()
        _, err = driver.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert driver.returncode == INTERRUPTED
    assert err.strip().splitlines() == ["interrupted; the same call resumes"]
    assert finish(study, ledger)[0] == 0
    assert differences(study, ledger, undisturbed) == []


@pytest.mark.slow
@pytest.mark.ray
def test_a_second_ctrl_c_ends_ray_at_once(study, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    with hanging_driver(study, ledger, "ray", "epoch.record.before_commit") as driver:
        ctrl_c_twice(driver)
        began = time.monotonic()
        _, err = driver.communicate(timeout=60)
    assert driver.returncode == INTERRUPTED, err
    assert time.monotonic() - began < 15


@pytest.mark.ray
def test_nothing_of_our_own_ray_outlives_a_run(study, tmp_path):
    """Nor its agents, which would seek a GCS that was killed for a minute."""
    process = start_driver(study, tmp_path / "ledger.sqlite", "ray")
    started = set()
    while process.poll() is None:
        started |= descendants(process.pid)
        time.sleep(0.05)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert len(started) > 5
    assert [pid for pid in started if is_alive(pid)] == []


def descendants(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children")
    with contextlib.suppress(OSError):
        own = {int(child) for child in children.read_text().split()}
        return own.union(*map(descendants, own))
    return set()


def is_alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return False

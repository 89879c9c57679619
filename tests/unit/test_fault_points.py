"""Arming a fault point, and that each one named is passed."""

import os
import signal

import pytest

from lai_net.errors import InputError
from tune import fault_points
from tune.engine import Message, attempt_messages
from tune.fault_points import POINTS, VARIABLE, reach


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(fault_points, "_visits", 0)


def test_nothing_happens_unarmed() -> None:
    for point in POINTS:
        reach(point)
    assert fault_points._visits == 0


def test_the_armed_point_acts_at_its_count_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "epoch.record.before_commit:2:raise-enospc")
    reach("epoch.record.before_commit")
    reach("epoch.record.after_commit")
    with pytest.raises(OSError, match="No space left"):
        reach("epoch.record.before_commit")
    reach("epoch.record.before_commit")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "worker.epoch",
        "worker.epoch:explode",
        "nowhere:kill",
        "worker.epoch:x:kill",
        "worker.epoch:1:2:kill",
    ],
)
def test_what_arms_nothing_is_one_line(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(InputError, match="LAI_FAULT must be POINT:ACTION"):
        reach("worker.epoch")


def test_a_process_that_stops_goes_on_once_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "worker.epoch:stop")
    child = os.fork()
    if child == 0:
        reach("worker.epoch")
        os._exit(7)
    _, status = os.waitpid(child, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.kill(child, signal.SIGCONT)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


def test_a_full_disk_at_the_worker_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "worker.epoch:raise-enospc")
    told = list(attempt_messages(lambda _: iter([Message("started"), Message("epoch", {"epoch": 1})]), ""))
    last = Message.from_json(told[-1])
    assert (last.event, last.content["retryable"]) == ("failed", True)
    assert "No space left" in last.content["error"]

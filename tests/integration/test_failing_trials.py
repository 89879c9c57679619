"""What goes wrong in a run costs a try and no result: full disks, damage, hangs, workers that die."""

import functools
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drills.invariants import differences, finished, violations
from tests.drills.playing import finish, start_driver
from tests.drills.study import study_text
from tests.integration.standing_in import STUDY, drill, run, written
from tune import fault_points
from tune.commands import running
from tune.engine import Message
from tune.fault_points import VARIABLE
from tune.ledger.ledger import Ledger
from tune.schedule import Schedule

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")


@pytest.mark.parametrize("point", ["attempt.start.before_commit", "attempt.finish.after_commit"])
def test_a_full_disk_ends_a_run_with_one_line_and_loses_nothing(study, undisturbed, tmp_path, point):
    ledger = tmp_path / "ledger.sqlite"
    driver = start_driver(study, ledger, "serial", **{VARIABLE: f"{point}:2:raise-enospc"})
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == 2
    assert err.strip().splitlines()[-1] == (
        f"{ledger}: the disk is full; all that was recorded before is safe: free space, then the same call "
        "resumes"
    )
    assert "Traceback" not in err
    before = finished(ledger)
    assert finish(study, ledger)[0] == 0
    assert violations(ledger, before) == []
    assert differences(study, ledger, undisturbed) == []


def test_a_full_disk_at_a_worker_is_tried_again_in_the_same_run(study, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "worker.epoch:8:raise-enospc")
    monkeypatch.setattr(fault_points, "_visits", 0)
    monkeypatch.setattr(running, "Schedule", functools.partial(Schedule, pause_s=0.0))
    ledger = tmp_path / "ledger.sqlite"
    assert run(study, ledger) == 0
    assert differences(study, ledger, undisturbed) == []
    with Ledger.open(ledger, read_only=True) as opened:
        tries = [[row.status for row in attempts] for attempts in opened.all_attempts().values()]
    assert sorted(tries)[-1] == ["failed", "completed"]
    assert sum(map(len, tries)) == 7


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.safetensors", "state.json"])
def test_a_checkpoint_that_is_cut_off_is_passed_over(tiny_encoder, tmp_path, name):
    """Trained in truth: the first trial is killed after two epochs, and half of its checkpoint is left."""
    study = written(tmp_path, study_text([1], 3, tiny_encoder))
    unbroken, cut = tmp_path / "unbroken" / "ledger.sqlite", tmp_path / "cut" / "ledger.sqlite"

    def train(ledger: Path, **environment: str) -> int:
        driver = start_driver(study, ledger, "real", **environment)
        driver.communicate(timeout=240)
        return driver.returncode

    assert train(unbroken) == 0
    assert train(cut, **{VARIABLE: "worker.epoch:2:kill"}) == -signal.SIGKILL
    (file,) = cut.parent.glob(f"artifacts/*/attempt-1/epoch-*/{name}")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert train(cut) == 0
    assert differences(study, cut, unbroken) == []
    with Ledger.open(cut, read_only=True) as opened:
        assert sorted(map(len, opened.all_attempts().values())) == [1, 1, 1, 1, 1, 2]


def test_a_loss_that_is_no_number_costs_no_other_trial_and_is_not_tried_again(study, undisturbed, tmp_path):
    def diverge(spec: str) -> Iterator[Message]:
        config = json.loads(spec).get("config", {"phase": None})
        is_bad = config["phase"] == "NER" and config["graph"]["layers"] == 2
        for message in drill.execute(spec):
            bad = {"loss": float("nan")} if is_bad and message.event == "epoch" else {}
            yield Message(message.event, message.content | bad)

    ledger = tmp_path / "ledger.sqlite"
    assert run(study, ledger, diverge) == 1
    with Ledger.open(ledger, read_only=True) as opened:
        (failed,) = [tries for tries in opened.all_attempts().values() if tries[-1].status == "failed"]
    assert [(attempt.failure, "JSON compliant" in attempt.error) for attempt in failed] == [("config", True)]
    before = finished(ledger)
    assert len(before) == 5
    assert run(study, ledger) == 0
    assert violations(ledger, before) == []
    assert differences(study, ledger, undisturbed) == []


@pytest.mark.slow
@pytest.mark.ray
def test_a_trial_that_hangs_is_given_up_and_tried_again(study, undisturbed, tmp_path):
    """Every worker process hangs at its eighth epoch, in its second trial."""
    study.write_text(STUDY + "[budget]\nstall_minutes = 0.2\nmax_attempts = 9\n")
    ledger = tmp_path / "ledger.sqlite"
    driver = start_driver(study, ledger, "ray", **{VARIABLE: "worker.epoch:8:hang"})
    _, err = driver.communicate(timeout=480)
    assert driver.returncode == 0, err
    assert "no word for 0.2 minutes (budget.stall_minutes); the worker was killed" in err
    assert differences(study, ledger, undisturbed) == []


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("point", ["worker.started:3", "worker.epoch:8", "worker.completed:2"])
def test_workers_that_are_killed_at_their_points_are_replaced(study, undisturbed, tmp_path, point):
    """Every worker process is, on its way; the driver lives."""
    study.write_text(STUDY + "[budget]\nmax_attempts = 9\n")
    ledger = tmp_path / "ledger.sqlite"
    driver = start_driver(study, ledger, "ray", **{VARIABLE: f"{point}:kill"})
    _, err = driver.communicate(timeout=240)
    assert driver.returncode == 0, err
    assert int(re.findall(r"(\d+) failed tries", err)[-1]) > 0, "or no worker was killed"
    assert differences(study, ledger, undisturbed) == []

"""Deterministic drills: kills at every fault point, full disks, Ctrl-C, a trial that hangs."""

import contextlib
import functools
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from tests.drills.invariants import differences, finished, num_epochs, violations
from tests.drills.playing import DRIVER, start_driver
from tests.drills.study import study_text
from tune import fault_points, run_command
from tune.engine import SerialEngine
from tune.fault_points import POINTS, VARIABLE
from tune.ledger import Ledger
from tune.ledger_rows import ProbeRow
from tune.preparation import Prepared, prepare
from tune.run_command import INTERRUPTED, execute_study
from tune.schedule import Schedule

STUDY = study_text([1])
SEARCH = """
name = "drill"
seeds = [1]
[[datasets]]
name = "demo"
corpus = "embedded"
[datasets.ner]
preset = "demo-ner"
set = { "training.epochs" = 5 }
[search]
phase = "NER"
sampler = "grid"
[search.space]
"graph.layers" = { int = [0, 2] }
[search.scheduler]
noise_margin = 0.0
[search.confirm]
best = 1
seeds = 2
"""
PROBE = ProbeRow(
    shape_id="s", device_type="logical", meter="rss", peak_bytes=1, context_bytes=1, capacity_bytes=1,
    step_s=1.0, largest_step_s=1.0, steps_per_epoch=1,
)  # fmt: skip
OF_TABLES = [point for point in POINTS if not point.startswith(("search.", "results.", "probe."))]
VISITS = [(point, count) for point in OF_TABLES for count in (1, 4) if count == 1 or "register" not in point]
OF_A_SEARCH = [point for point in POINTS if point.startswith("search.")]

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")


@pytest.fixture(scope="module")
def drill() -> ModuleType:
    """The stand-in training, without its pauses."""
    spec = importlib.util.spec_from_file_location("drill", DRIVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.EPOCH_S = 0
    return module


def written(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text)
    return path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return written(tmp_path, STUDY)


@pytest.fixture(scope="module")
def undisturbed(drill: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    ledger = folder / "ledger.sqlite"
    assert call(drill, prepare(str(written(folder, STUDY)), []), ledger) == 0
    return ledger


def call(drill: ModuleType, prepared: Prepared, path: Path) -> int:
    """`lai run` in this process."""
    with Ledger.open(path) as ledger:
        engine = contextlib.nullcontext(SerialEngine(drill.execute, poll_s=0.01))
        return execute_study(prepared, ledger, path.parent, lambda: engine)


def call_in_fork(drill: ModuleType, prepared: Prepared, path: Path, fault: str) -> int:
    """`lai run` in a process of its own with a fault; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        os.environ[VARIABLE] = fault
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        code = 99
        with contextlib.suppress(Exception):
            code = call(drill, prepared, path)
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize(("point", "count"), VISITS)
def test_killed_at_a_point_a_study_resumes_to_the_same(drill, study, undisturbed, tmp_path, point, count):
    prepared, ledger = prepare(str(study), []), tmp_path / "ledger.sqlite"
    assert call_in_fork(drill, prepared, ledger, f"{point}:{count}:kill") == -signal.SIGKILL
    before = finished(ledger)
    assert call(drill, prepared, ledger) == 0
    assert violations(ledger, before) == []
    assert differences(study, ledger, undisturbed) == []


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("point", OF_A_SEARCH)
def test_killed_at_a_point_a_search_decides_the_same(drill, tmp_path, point, count):
    prepared = prepare(str(written(tmp_path, SEARCH)), [])
    logs = []
    for name in ("unbroken", "killed"):
        (tmp_path / name).mkdir()
        ledger = tmp_path / name / "ledger.sqlite"
        if name == "killed":
            assert call_in_fork(drill, prepared, ledger, f"{point}:{count}:kill") == -signal.SIGKILL
        assert call(drill, prepared, ledger) == 0
        with Ledger.open(ledger, read_only=True) as opened:
            logs.append(opened.search_events(prepared.search.search_id))
    assert logs[0] == logs[1]


def test_every_point_is_passed(drill, study, tmp_path, monkeypatch):
    passed = set()
    for module in ("tune.ledger", "tune.engine", "tune.execution"):
        monkeypatch.setattr(sys.modules[module], "reach", passed.add)
    call(drill, prepare(str(study), []), tmp_path / "ledger.sqlite")
    call(drill, prepare(str(written(tmp_path, SEARCH)), []), tmp_path / "search.sqlite")
    with Ledger.open(tmp_path / "imported.sqlite") as ledger:
        ledger.record_imported({})
        ledger.record_probe(PROBE)
    assert passed == set(POINTS)


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
    driver = start_driver(study, ledger, "serial")
    driver.communicate(timeout=60)
    assert driver.returncode == 0
    assert violations(ledger, before) == []
    assert differences(study, ledger, undisturbed) == []


def test_a_full_disk_at_a_worker_is_tried_again_in_the_same_run(
    drill, study, undisturbed, tmp_path, monkeypatch
):
    monkeypatch.setenv(VARIABLE, "worker.epoch:8:raise-enospc")
    monkeypatch.setattr(fault_points, "_visits", 0)
    monkeypatch.setattr(run_command, "Schedule", functools.partial(Schedule, pause_s=0.0))
    ledger = tmp_path / "ledger.sqlite"
    assert call(drill, prepare(str(study), []), ledger) == 0
    assert differences(study, ledger, undisturbed) == []
    with Ledger.open(ledger, read_only=True) as opened:
        tries = [[row.status for row in attempts] for attempts in opened.all_attempts().values()]
    assert sorted(tries)[-1] == ["failed", "completed"]
    assert sum(map(len, tries)) == 7


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
    assert "Traceback" not in err
    assert "the same call resumes" in err
    driver = start_driver(study, ledger, "serial")
    driver.communicate(timeout=60)
    assert driver.returncode == 0
    assert differences(study, ledger, undisturbed) == []


@pytest.mark.slow
@pytest.mark.ray
def test_a_trial_that_hangs_is_given_up_and_tried_again(study, undisturbed, tmp_path):
    """Every worker process hangs at its eighth epoch, in its second trial."""
    study.write_text(STUDY + "[budget]\nstall_minutes = 0.05\nmax_attempts = 9\n")
    ledger = tmp_path / "ledger.sqlite"
    driver = start_driver(study, ledger, "ray", **{VARIABLE: "worker.epoch:8:hang"})
    _, err = driver.communicate(timeout=240)
    assert driver.returncode == 0, err
    assert "no word for 0.05 minutes (budget.stall_minutes); the worker was killed" in err
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

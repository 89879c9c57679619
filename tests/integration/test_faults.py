"""Deterministic drills: kills at every fault point, full disks, Ctrl-C, a trial that hangs."""

import contextlib
import functools
import importlib.util
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.drills.invariants import content, differences, finished, left_behind, num_epochs, violations
from tests.drills.playing import DRIVER, start_driver
from tests.drills.study import study_text
from tune import fault_points
from tune.commands import running
from tune.commands.options import INTERRUPTED
from tune.commands.running import execute_study
from tune.commands.standing import best_trials
from tune.engine import Message, SerialEngine
from tune.fault_points import POINTS, VARIABLE
from tune.ledger.file import MIGRATIONS, SCHEMA_VERSION, version_of
from tune.ledger.ledger import Ledger
from tune.planning.plan import make_plan
from tune.preparation import Prepared, prepare
from tune.results.importing import import_csv
from tune.results.table import long_table, to_csv
from tune.schedule import Schedule
from tune.spec.study import load_study

ASSETS = Path(__file__).parents[1] / "assets"
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
MEASURED = STUDY + '[resources]\ngpus_per_trial = "measured"\ngpus = 1\n'
KEEPING = STUDY + '[budget]\nkeep_models = "LEVEL"\n'


def points(name: str) -> list[str]:
    return [point for point in POINTS if point.startswith(name)]


OF_A_SEARCH, OF_AN_IMPORT, OF_A_MIGRATION = points("search."), points("results."), points("ledger.migrate.")
OF_A_PROBE, OF_FORGETTING, OF_A_STORE = points("probe."), points("model."), points("files.publish")
OF_TABLES = sorted(
    {*POINTS} - {*OF_A_SEARCH, *OF_AN_IMPORT, *OF_A_MIGRATION, *OF_A_PROBE, *OF_FORGETTING, *OF_A_STORE}
)
"""Whatever has no place of its own, so a new point is killed at, or the test below fails."""
AT_THE_START = [*points("ledger.create."), *points("trials.register.")]
"""Passed once, when nothing runs yet."""
VISITS = [
    (point, count) for point in OF_TABLES for count in (1, 4) if count == 1 or point not in AT_THE_START
]

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
    return in_fork(lambda: call(drill, prepared, path), fault)


def in_fork(act: Callable[[], int], fault: str) -> int:
    child = os.fork()
    if child == 0:
        os.environ[VARIABLE] = fault
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        code = 99
        with contextlib.suppress(Exception):
            code = act()
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


@pytest.mark.parametrize("level", ["needed", "none"])
def test_a_search_keeps_its_confirmations_and_its_best_or_nothing(drill, tmp_path, level):
    prepared = prepare(str(written(tmp_path, f'{SEARCH}[budget]\nkeep_models = "{level}"\n')), [])
    ledger = tmp_path / "ledger.sqlite"
    assert call(drill, prepared, ledger) == 0
    assert left_behind(ledger) == []
    with Ledger.open(ledger, read_only=True) as opened:
        seeds = {row.trial_id: row.seed for row in opened.trials()}
        f1 = {row.trial_id: row.dev_f1("NER") for row in opened.evaluations() if row.split == "dev"}
        kept = {key for key, attempt in opened.newest_attempts().items() if "best" in attempt.artefacts}
    fresh = {key for key in f1 if seeds[key] in prepared.search.fresh_seeds}
    assert len(fresh) == 2
    assert kept == ({*fresh, max(f1, key=f1.get)} if level == "needed" else set())


def test_of_equally_good_configs_a_search_keeps_all_however_often_it_resumes(drill, tmp_path, monkeypatch):
    monkeypatch.setattr(drill, "number", lambda _: 0.5)
    prepared = prepare(str(written(tmp_path, f'{SEARCH}[budget]\nkeep_models = "needed"\n')), [])
    ledger = tmp_path / "ledger.sqlite"
    for _ in range(2):
        assert call(drill, prepared, ledger) == 0
        with Ledger.open(ledger, read_only=True) as opened:
            assert all("best" in attempt.artefacts for attempt in opened.newest_attempts().values())


@pytest.mark.parametrize("point", OF_A_PROBE)
def test_killed_at_a_probe_a_study_resumes_to_the_same(drill, undisturbed, tmp_path, point):
    study, ledger = written(tmp_path, MEASURED), tmp_path / "ledger.sqlite"
    prepared = prepare(str(study), [])
    assert call_in_fork(drill, prepared, ledger, f"{point}:1:kill") == -signal.SIGKILL
    assert call(drill, prepared, ledger) == 0
    assert differences(study, ledger, undisturbed) == []
    with Ledger.open(ledger, read_only=True) as opened:
        assert len(opened.probes()) == 6, "each shape once"


@pytest.mark.parametrize("point", OF_AN_IMPORT)
def test_killed_at_an_import_all_rows_are_there_or_none(undisturbed, study, tmp_path, point):
    table, ledger = tmp_path / "results.csv", tmp_path / "ledger.sqlite"
    with Ledger.open(undisturbed, read_only=True) as opened:
        rows = long_table(opened, load_study(study))
    table.write_bytes(to_csv(rows))
    num_rows = len(rows)

    def take_in() -> int:
        with Ledger.open(ledger) as opened:
            return import_csv(table, opened)

    assert in_fork(take_in, f"{point}:kill") == -signal.SIGKILL
    with Ledger.open(ledger, read_only=True) as opened:
        assert len(opened.imported()) == (num_rows if point.endswith("after_commit") else 0)
    assert take_in() == (0 if point.endswith("after_commit") else num_rows)


@pytest.mark.parametrize("version", sorted(MIGRATIONS))
@pytest.mark.parametrize("point", OF_A_MIGRATION)
def test_killed_at_a_migration_a_ledger_is_of_one_version_or_the_other(tmp_path, point, version):
    ledger = tmp_path / "ledger.sqlite"
    shutil.copy(ASSETS / f"ledger-v{version}.sqlite", ledger)
    with Ledger.open(ledger, read_only=True) as opened:
        before = opened.trials(), opened.all_attempts(), opened.evaluations()

    def migrate() -> int:
        Ledger.open(ledger).close()
        return 0

    def found() -> int:
        with Ledger.open(ledger, read_only=True) as opened:
            assert (opened.trials(), opened.all_attempts(), opened.evaluations()) == before
            return version_of(opened._connection)

    assert in_fork(migrate, f"{point}:kill") == -signal.SIGKILL
    assert found() == (SCHEMA_VERSION if point.endswith("after_commit") else version)
    assert migrate() == 0
    assert found() == SCHEMA_VERSION


@pytest.mark.parametrize("level", ["needed", "none"])
@pytest.mark.parametrize(("point", "count"), [(point, count) for point in OF_FORGETTING for count in (1, 2)])
def test_killed_at_the_deletion_of_a_model_a_study_resumes_to_the_same(
    drill, undisturbed, tmp_path, level, point, count
):
    study, ledger = written(tmp_path, KEEPING.replace("LEVEL", level)), tmp_path / "ledger.sqlite"
    prepared = prepare(str(study), [])
    assert call_in_fork(drill, prepared, ledger, f"{point}:{count}:kill") == -signal.SIGKILL
    before = finished(ledger)
    assert call(drill, prepared, ledger) == 0
    assert violations(ledger, before) == []
    assert left_behind(ledger) == []
    found, expected = content(ledger), content(undisturbed)
    kept = {name for name, model in found.pop("models").items() if model != "not kept"}
    del expected["models"]
    assert found == expected
    with Ledger.open(ledger, read_only=True) as opened:
        needed = {row.trial_id for row in best_trials(make_plan(prepared.study), opened)}
        needed |= {row.upstream_trial_id for row in opened.evaluations()} - {None}
    assert kept == (needed if level == "needed" else set())


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
    monkeypatch.setattr(running, "Schedule", functools.partial(Schedule, pause_s=0.0))
    ledger = tmp_path / "ledger.sqlite"
    assert call(drill, prepare(str(study), []), ledger) == 0
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


def test_a_loss_that_is_no_number_costs_no_other_trial_and_is_not_tried_again(
    drill, study, undisturbed, tmp_path
):
    def diverge(spec: str) -> Iterator[Message]:
        config = json.loads(spec).get("config", {"phase": None})
        is_bad = config["phase"] == "NER" and config["graph"]["layers"] == 2
        for message in drill.execute(spec):
            bad = {"loss": float("nan")} if is_bad and message.event == "epoch" else {}
            yield Message(message.event, message.content | bad)

    prepared, ledger = prepare(str(study), []), tmp_path / "ledger.sqlite"
    engine = SerialEngine(diverge, poll_s=0.01)
    with Ledger.open(ledger) as opened:
        assert execute_study(prepared, opened, tmp_path, lambda: contextlib.nullcontext(engine)) == 1
        (failed,) = [tries for tries in opened.all_attempts().values() if tries[-1].status == "failed"]
    assert [(attempt.failure, "JSON compliant" in attempt.error) for attempt in failed] == [("config", True)]
    before = finished(ledger)
    assert len(before) == 5
    assert call(drill, prepared, ledger) == 0
    assert violations(ledger, before) == []
    assert differences(study, ledger, undisturbed) == []


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

"""A study whose trials share devices by measured memory, from its file to the ledger, on declared memory."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest

from lai_net.errors import InputError
from tests.drills.invariants import finished, num_epochs, violations
from tests.drills.playing import start_driver
from tests.drills.study import study_text
from tests.integration import standing_in
from tests.integration.test_faults_on_a_cluster import signal_workers
from tests.integration.test_run_cluster import Raylets, head_alone, kill_session, wait_for
from tune.commands.running import execute_study
from tune.engine import Message, Node, SerialEngine
from tune.failures import headline
from tune.ledger.ledger import Ledger
from tune.ledger.rows import AttemptRow
from tune.preparation import prepare
from tune.spec.study import load_study

STUDY = """
name = "small"
seeds = 2
[[datasets]]
name = "demo"
corpus = "embedded"
[datasets.ner]
preset = "demo-ner"
[resources]
gpus_per_trial = "measured"
gpus = 2
"""


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class Worker:
    """Takes 0.4 of a device to train, and 0.3 in a probe."""

    def __init__(self, peak: float) -> None:
        self.peak = peak
        self.told: list[dict] = []

    def __call__(self, spec: str) -> Iterator[Message]:
        told = json.loads(spec)
        self.told.append(told)
        yield Message("started", {"host": "h", "device": "declared"})
        if told["kind"] == "probe":
            content = {
                "shape_id": told["shape_id"], "device_type": told["device_type"], "meter": "declared",
                "peak_bytes": 300, "context_bytes": 20, "capacity_bytes": 1000, "step_s": 0.1,
                "largest_step_s": 0.2, "steps_per_epoch": 5,
            }  # fmt: skip
            yield Message("completed", {"probe": content})
            return
        if self.peak > told["memory_cap"]:
            raise OutOfMemoryError("declared")
        yield Message("completed", {"evaluations": [], "cpu_s": 1.0, "wall_s": 1.0})


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return standing_in.written(tmp_path, STUDY)


def run(study: Path, worker: Worker) -> int:
    return standing_in.run(study, study.parent / "ledger.sqlite", worker)


def test_trial_is_measured_once_and_goes_on_after_out_of_memory_at_a_larger_share(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = Worker(peak=0.4)
    assert run(study, worker) == 0
    asked = [(told["kind"], told["share"], round(told["memory_cap"], 3)) for told in worker.told]
    # 300 x 1.05 + 20 of 1000; the cap leaves out the 20 of the context
    assert asked == [
        ("probe", 1.0, 1.0), ("train", 0.335, 0.315), ("train", 0.375, 0.355), ("train", 0.5, 0.48),
        ("train", 0.5, 0.48),
    ]  # fmt: skip
    assert {told["logical_gpus"] for told in worker.told} == {2}
    with Ledger.open(study.parent / "ledger.sqlite", read_only=True) as ledger:
        (row,) = ledger.probes().values()
        first, second = (ledger.attempts(trial.trial_id) for trial in ledger.trials())
    assert row.peak_bytes == 300
    assert [attempt.status for attempt in first] == ["failed", "failed", "completed"]
    assert [attempt.status for attempt in second] == ["completed"]
    assert first[0].error is not None
    assert first[0].error.endswith("OutOfMemoryError: at 0.335 of a device (logical)")
    packing = first[2].provenance["packing"]
    assert packing == {"shape_id": row.shape_id, "device_type": "logical", "share": 0.5}
    assert "2 jobs completed, 0 failed" in capsys.readouterr().out


def test_what_no_device_holds_fails_once_and_a_new_call_measures_nothing(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(study, Worker(peak=2.0)) == 1
    said = "needs more than a whole device (logical); lower training.batch_size"
    assert said in capsys.readouterr().err
    with Ledger.open(study.parent / "ledger.sqlite", read_only=True) as ledger:
        tried, refused = (ledger.attempts(trial.trial_id) for trial in ledger.trials())
    for attempt in (tried[-1], *refused):
        assert (attempt.status, attempt.failure) == ("failed", "memory")
        assert said in headline(attempt.error, attempt.failure)
    assert "packing" not in refused[0].provenance
    again = Worker(peak=0.1)
    assert run(study, again) == 0
    assert [(told["kind"], told["share"]) for told in again.told] == [("train", 1.0), ("train", 1.0)]


def test_cluster_without_gpus_is_refused(study: Path) -> None:
    class Bare(SerialEngine):
        def nodes(self) -> list[Node]:
            return [Node(cpus=4)]

    prepared, make_engine = prepare(str(study), []), partial(contextlib.nullcontext, Bare(Worker(0.1)))
    ledger = Ledger.open(study.parent / "ledger.sqlite")
    with ledger, pytest.raises(InputError, match="no node has one"):
        execute_study(prepared, ledger, study.parent, make_engine, None, standing_in.unwatched)


@pytest.mark.parametrize("value", ['"all"', "-1", "true", "nan"])
def test_share_is_a_number_or_measured(study: Path, value: str) -> None:
    study.write_text(STUDY.replace('"measured"', value))
    with pytest.raises(
        InputError, match=r'resources\.gpus_per_trial: must be a number from 0, or "measured"'
    ):
        load_study(study)


TYPES = ("GeForce-RTX-3090", "A100")


def start_device(raylets: Raylets, name: str) -> subprocess.Popen[bytes]:
    """A counted device that its raylet calls as Ray calls a real one, with a CPU for one trial alone."""
    resources = json.dumps({f"accelerator_type:{name}": 1})
    return raylets.start_worker(options=("--num-gpus=1", f"--resources={resources}"))


def types_of(attempts: Iterable[AttemptRow]) -> set[str]:
    return {attempt.provenance["packing"]["device_type"] for attempt in attempts}


def started_on(path: Path) -> set[str]:
    with Ledger.open(path, read_only=True) as ledger:
        return types_of(ledger.newest_attempts().values())


@pytest.mark.slow
@pytest.mark.ray
def test_devices_of_two_types_in_one_cluster(tmp_path: Path) -> None:
    study, ledger = tmp_path / "study.toml", tmp_path / "ledger.sqlite"
    study.write_text(study_text([1]) + '[resources]\ngpus_per_trial = "measured"\n')
    with head_alone() as raylets:
        for name in TYPES:
            start_device(raylets, name)
        driver = start_driver(study, ledger, raylets.address, **raylets.environment)
        try:
            _, err = driver.communicate(timeout=240)
        finally:
            driver.kill()
    assert driver.returncode == 0, err
    with Ledger.open(ledger, read_only=True) as opened:
        attempts = opened.newest_attempts().values()
        measured = {device_type for _, device_type in opened.probes()}
    assert {attempt.status for attempt in attempts} == {"completed"}
    assert measured == types_of(attempts) == set(TYPES)


@pytest.mark.slow
@pytest.mark.ray
def test_a_type_that_joins_late_is_used_and_one_that_goes_is_done_without(tmp_path: Path) -> None:
    study, ledger = tmp_path / "study.toml", tmp_path / "ledger.sqlite"
    study.write_text(study_text([1, 2]) + '[resources]\ngpus_per_trial = "measured"\n')
    with head_alone() as raylets:
        first = start_device(raylets, TYPES[0])
        driver = start_driver(study, ledger, raylets.address, **raylets.environment)
        try:
            wait_for(lambda: driver.poll() is not None or num_epochs(ledger) > 0, 240)
            assert signal_workers(first, signal.SIGSTOP) > 0  # so that something is left for the late one
            late = start_device(raylets, TYPES[1])  # the driver, on this host, may hang on the first raylet
            wait_for(lambda: driver.poll() is not None or TYPES[1] in started_on(ledger), 240)
            assert driver.poll() is None
            kill_session(late)
            signal_workers(first, signal.SIGCONT)
            time.sleep(1)  # for what it had said
            before = finished(ledger)
            _, err = driver.communicate(timeout=600)  # see fence 7 of `tune.ray_engine`
        finally:
            driver.kill()
            driver.wait()
    assert driver.returncode == 0, err
    assert violations(ledger, before) == []
    with Ledger.open(ledger, read_only=True) as opened:
        attempts = opened.newest_attempts()
    assert {attempt.status for attempt in attempts.values()} == {"completed"}
    assert types_of(attempts[key] for key in attempts.keys() - before.keys()) == {TYPES[0]}

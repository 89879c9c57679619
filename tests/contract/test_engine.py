"""One suite for every engine: in this process, and on Ray Tune."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from lai_net.errors import InputError
from tune.engine import Engine, Executor, Message, SerialEngine, Task
from tune.schedule import Schedule


@dataclass(frozen=True)
class Job:
    key: str
    does: str = "succeed"
    needs: tuple[str, ...] = ()


@dataclass
class Rows:
    """A sink in memory. `blow_up` names a key whose first message cannot be stored."""

    rows: list[tuple[Task, Message]] = field(default_factory=list)
    blow_up: str | None = None

    def record(self, task: Task, message: Message) -> None:
        if task.key == self.blow_up:
            raise OSError("ledger: disk full")
        self.rows.append((task, message))

    def events(self, key: str) -> list[str]:
        return [message.event for task, message in self.rows if task.key == key]

    def order(self, event: str) -> list[str]:
        return [task.key for task, message in self.rows if message.event == event]


def act(spec: str) -> Iterator[Message]:
    """A worker that does as it is told."""
    told = json.loads(spec)
    does = told["does"]
    yield Message("started", {"pid": os.getpid(), "thread": threading.get_ident()})
    if does == "config":
        raise ValueError("a setting is wrong")
    if does == "disk" or (does == "disk-once" and told["attempt"] == 1):
        raise OSError(28, "No space left on device")
    if does == "die" or (does == "die-once" and told["attempt"] == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "exit":
        sys.exit(0)
    yield Message("epoch", {"epoch": 1, "loss": float("nan") if does == "diverge" else 0.1})
    if does == "leak":
        os.chdir("/")
        random.seed(7)
    if does == "short":
        time.sleep(0.1)
    if does == "slow":
        for epoch in range(2, 600):
            time.sleep(0.05)
            yield Message("epoch", {"epoch": epoch, "loss": 0.1})
    yield Message("completed", {"evaluations": []})


def schedule_task(job: Job) -> Task:
    return Task(job.key, 1, json.dumps({"does": job.does, "attempt": 1}))


def schedule_of(*jobs: Job, max_attempts: int = 2) -> Schedule:
    tries: dict[str, int] = {}

    def make_task(job: Job) -> Task:
        tries[job.key] = tries.get(job.key, 0) + 1
        spec = json.dumps({"does": job.does, "attempt": tries[job.key]})
        return Task(job.key, tries[job.key], spec)

    return Schedule(jobs, make_task, max_attempts=max_attempts, pause_s=0.05)


@pytest.fixture(scope="module")
def ray_up() -> Iterator[None]:
    from tune import ray_engine  # before ray: it sets what Ray reads at its import
    from tune.cluster.connection import cluster

    ray_engine.ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with cluster(gpus=1):
        yield


@pytest.fixture(params=["serial", pytest.param("ray", marks=pytest.mark.ray)])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "serial":
        return SerialEngine(act, poll_s=0.01)
    request.getfixturevalue("ray_up")
    return ray_of(act)


def ray_of(executor: Executor, **settings) -> Engine:
    from tune.ray_engine import RayEngine

    return RayEngine(executor, **{"cpus": 0.5, "share": 0.25, "max_concurrent": 2, **settings})


def run(engine: Engine, *jobs: Job, **settings) -> tuple[Schedule, Rows]:
    schedule, rows = schedule_of(*jobs, **settings), Rows()
    engine.run(schedule, rows, lambda: False)
    assert schedule.is_done()
    return schedule, rows


def test_failures_are_records_and_end_nothing(engine):
    jobs = [Job("good"), Job("bad", "config"), Job("nan", "diverge"), Job("full", "disk"), Job("later")]
    schedule, rows = run(engine, *jobs)
    assert schedule.completed == {"good", "later"}
    assert rows.events("good") == ["started", "epoch", "completed"]
    assert rows.events("bad") == ["started", "failed"]
    assert "a setting is wrong" in schedule.failed["bad"]
    assert "Traceback" in schedule.failed["bad"]
    assert "JSON compliant" in schedule.failed["nan"]
    assert rows.events("full") == ["started", "failed"] * 2


def test_machines_fault_is_tried_again_with_the_next_attempt(engine):
    schedule, rows = run(engine, Job("a", "disk-once"))
    assert schedule.completed == {"a"}
    assert [task.attempt for task, message in rows.rows if message.is_final] == [1, 2]


def test_dependant_starts_after_both_and_others_run_meanwhile(engine):
    jobs = [Job("ner"), Job("re"), Job("ner+re", needs=("ner", "re")), Job("other")]
    schedule, rows = run(engine, *jobs)
    assert len(schedule.completed) == 4
    events = [(task.key, message.event) for task, message in rows.rows]
    start = events.index(("ner+re", "started"))
    assert events.index(("ner", "completed")) < start
    assert events.index(("re", "completed")) < start


def test_blocked_dependant_ends_the_run(engine):
    schedule, rows = run(engine, Job("ner", "config"), Job("eval", needs=("ner",)))
    assert schedule.blocked == {"eval": "needs ner, which failed"}
    assert rows.events("eval") == []


def test_nothing_to_do_ends_at_once(engine):
    started = time.perf_counter()
    run(engine)
    assert time.perf_counter() - started < 1


def test_sink_that_cannot_store_ends_the_run_with_its_own_error(engine):
    schedule, rows = schedule_of(Job("a"), Job("b", needs=("a",))), Rows(blow_up="a")
    with pytest.raises(OSError, match="ledger: disk full"):
        engine.run(schedule, rows, lambda: False)
    assert rows.rows == []


def test_stop_leaves_soon_and_starts_nothing_more(engine):
    schedule, rows = schedule_of(Job("a", "slow"), Job("b", needs=("a",))), Rows()
    started = time.perf_counter()
    engine.run(schedule, rows, lambda: len(rows.rows) > 3)
    assert time.perf_counter() - started < 20
    assert schedule.remaining == ["a", "b"]


@pytest.mark.ray
def test_killed_worker_is_tried_again_elsewhere(ray_up):
    jobs = [Job("once", "die-once"), Job("dead", "die"), Job("exit", "exit"), Job("good")]
    schedule, _ = run(ray_of(act, max_concurrent=1), *jobs)
    assert schedule.completed == {"once", "good"}
    assert "died" in schedule.failed["dead"]
    assert "exit" in schedule.failed


@pytest.mark.ray
def test_one_process_serves_many_trials_in_waves(ray_up):
    _, rows = run(ray_of(act, max_concurrent=1, wave_trials=6), *[Job(str(n), "leak") for n in range(12)])
    pids = [message.content["pid"] for _, message in rows.rows if message.event == "started"]
    assert len(pids) == 12
    assert len(set(pids)) <= 2, "one warm worker a wave"


@pytest.mark.ray
def test_trials_shorter_than_a_workers_start_fill_every_slot(ray_up):
    """One worker is warm when two are wanted first; the other has a minute of trials to start in."""
    jobs = [Job("first"), *(Job(str(number), "short", needs=("first",)) for number in range(600))]
    schedule, rows = schedule_of(*jobs), Rows()

    def pids() -> set[int]:
        return {message.content["pid"] for _, message in rows.rows if message.event == "started"}

    ray_of(act).run(schedule, rows, lambda: len(pids()) == 2)
    assert len(pids()) == 2, "or the worker that was up took every trial, and the other never began"


@pytest.mark.ray
def test_unsatisfiable_resources_are_refused_before_anything_starts(ray_up):
    schedule, rows = schedule_of(Job("a")), Rows()
    with pytest.raises(InputError, match="64 CPUs"):
        ray_of(act, cpus=64).run(schedule, rows)
    assert rows.rows == []


@dataclass
class Stopping(Schedule):
    """Ends each task at its second epoch."""

    def goes_on(self, task: Task, message: Message) -> bool:
        return message.content.get("epoch") != 2


def test_task_is_stopped_in_flight_and_the_next_one_starts(engine):
    schedule, rows = Stopping([Job("a", "slow"), Job("b", "slow"), Job("c")], schedule_task), Rows()
    engine.run(schedule, rows, lambda: False)
    assert schedule.stopped == {"a", "b"}
    assert schedule.completed == {"c"}
    assert schedule.remaining == []
    assert rows.events("a") == rows.events("b") == ["started", "epoch", "epoch", "stopped"]
    assert rows.events("c") == ["started", "epoch", "completed"]


def test_task_may_be_stopped_at_its_first_word(engine):
    schedule, rows = schedule_of(Job("a", "slow")), Rows()
    schedule.goes_on = lambda task, message: False
    engine.run(schedule, rows, lambda: False)
    assert rows.events("a") == ["started", "stopped"]


def linger(spec: str) -> Iterator[Message]:
    """Its clean-up, once it is stopped, lasts longer than Tune's own patience of 2 s."""
    try:
        yield from act(spec)
    finally:
        time.sleep(3)


@pytest.mark.ray
def test_long_clean_up_of_a_stopped_trial_does_not_break_the_next_one(ray_up):
    schedule, rows = Stopping([Job("a", "slow"), Job("b", "slow")], schedule_task, max_attempts=1), Rows()
    ray_of(linger, max_concurrent=1).run(schedule, rows)
    assert schedule.stopped == {"a", "b"}
    assert len({message.content["pid"] for _, message in rows.rows if message.event == "started"}) == 1


@pytest.mark.ray
def test_nothing_listens_at_the_address():
    from tune.cluster.connection import cluster

    with pytest.raises(InputError, match="nothing answers"), cluster("127.0.0.1:1"):
        pass
    with pytest.raises(InputError, match="HOST:PORT"), cluster("somewhere"):
        pass


@pytest.mark.ray
def test_ray_writes_no_token_into_the_home(tmp_path):
    code = "from tune.cluster.connection import cluster\nwith cluster(gpus=1):\n    pass"
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}
    environment = {name: value for name, value in os.environ.items() if name not in named}
    subprocess.run([sys.executable, "-c", code], env=environment | {"HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.rglob("*token*")) == []

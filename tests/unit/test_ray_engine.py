"""What the Ray engine does when Tune itself breaks off, on a stand-in for `Tuner`; no Ray is started."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from tune import ray_engine, ray_wave
from tune.cluster import nodes as cluster_nodes

# isort: split
from ray.tune.experiment import Trial
from ray.tune.registry import register_trainable

from tune.cluster.nodes import node_of
from tune.cluster.workers import RemoteExecutor, _received
from tune.engine import MachineFaultError, Message, Node, Placement, Task, attempt_messages, is_machines_fault
from tune.ray_engine import RayEngine
from tune.ray_views import SinkScheduler
from tune.ray_wave import LeaveTune, Wave
from tune.schedule import Schedule
from tune.task_spec import CorpusSource


class Rows:
    def __init__(self) -> None:
        self.rows: list[tuple[Task, Message]] = []

    def record(self, task: Task, message: Message) -> None:
        self.rows.append((task, message))


def succeed(_: str) -> Iterator[Message]:
    yield Message("started")
    yield Message("completed")


class Tuner:
    """Asks for as many tasks as it gets, then runs them, or loses them as Tune 2.60 does."""

    held: list[int]
    pending_limits: list[int]
    error: Exception | None
    room: int
    returns: bool

    def __init__(self, trainable: Any, *, tune_config: Any, run_config: Any) -> None:
        self.algorithm, self.scheduler = tune_config.search_alg, tune_config.scheduler
        (self.callback,) = run_config.callbacks
        register_trainable("attempt", trainable)

    def fit(self) -> None:
        self.algorithm.add_configurations([SimpleNamespace(run_identifier="attempt", storage=None)])
        assert not self.algorithm.is_finished(), "or Tune would end of itself, or raise"
        asked = [self.algorithm.next_trial() for _ in range(9)]
        trials: list[Trial] = [trial for trial in asked if trial is not None]
        type(self).pending_limits.append(int(os.environ["TUNE_MAX_PENDING_TRIALS_PG"]))
        type(self).held.append(len(trials))
        assert len(self.held) < 9, "the engine asks for ever"
        error, type(self).error = type(self).error, None
        if len(trials) > self.room:
            error = ray_engine.ray.exceptions.OutOfMemoryError("the node is low on memory")
        if error is not None:
            raise RuntimeError(f"Caught unexpected exception: {error}") from error
        if self.returns:
            type(self).returns = False
            return
        for trial in trials:
            for message in attempt_messages(succeed, trial.config["spec"]):
                self.scheduler.on_trial_result(None, trial, {"message": message})
            trial.status = Trial.TERMINATED
        self.callback.on_step_end(iteration=1, trials=trials)
        raise LeaveTune  # as at a wave's end, whether or not anything is left


def schedule(count: int, max_attempts: int = 2) -> Schedule[Any]:
    jobs = [SimpleNamespace(key=f"job{number}", needs=()) for number in range(count)]
    return Schedule(
        jobs,
        lambda job, attempt=1: Task(job.key, attempt, json.dumps({})),
        max_attempts=max_attempts,
        pause_s=0.0,
    )


@pytest.fixture
def tuner(monkeypatch: pytest.MonkeyPatch) -> type[Tuner]:
    monkeypatch.setattr(ray_engine.ray_tune, "Tuner", Tuner)
    monkeypatch.setattr(cluster_nodes, "alive_nodes", lambda: [Node(2)])
    monkeypatch.setattr(cluster_nodes, "_LOOK_S", 0.0)
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "0")
    Tuner.held, Tuner.pending_limits, Tuner.error, Tuner.returns, Tuner.room = [], [], None, False, 9
    return Tuner


def test_a_worker_killed_for_memory_is_retried_with_fewer_side_by_side(tuner: type[Tuner]) -> None:
    tuner.error = ray_engine.ray.exceptions.OutOfMemoryError("the node is low on memory")
    source, sink = schedule(2), Rows()
    RayEngine(succeed).run(source, sink)
    assert tuner.held == [2, 1, 1]
    failed = [message.content for _, message in sink.rows if message.event == "failed"]
    assert [content["retryable"] for content in failed] == [True, True]
    assert all("at most 1 trials run side by side" in content["error"] for content in failed)
    assert sorted(source.completed) == ["job0", "job1"]


def test_memory_that_runs_out_side_by_side_is_no_try(
    tuner: type[Tuner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_nodes, "alive_nodes", lambda: [Node(4)])
    tuner.room = 1
    RayEngine(succeed).run(source := schedule(4, max_attempts=2), Rows())
    assert tuner.held == [4, 3, 2, 1, 1, 1, 1]
    assert len(source.completed) == 4


def test_what_alone_is_too_much_for_the_machine_fails_after_its_tries(tuner: type[Tuner]) -> None:
    tuner.room = 0
    RayEngine(succeed).run(source := schedule(2, max_attempts=2), Rows())
    assert tuner.held == [2, 1, 1, 1, 1]
    assert sorted(source.failed) == ["job0", "job1"]


def test_what_is_in_flight_when_tune_ends_of_itself_is_tried_again(tuner: type[Tuner]) -> None:
    tuner.returns = True
    source, sink = schedule(2), Rows()
    RayEngine(succeed).run(source, sink)
    assert tuner.held == [2, 2]
    assert [message.event for _, message in sink.rows if message.is_final] == ["failed"] * 2 + [
        "completed"
    ] * 2


@dataclass
class Cluster:
    """So many CPUs at each look; the last number stays."""

    cpus: list[int]

    def __call__(self) -> list[Node]:
        return [Node(self.cpus.pop(0) if len(self.cpus) > 1 else self.cpus[0])]


def test_nodes_that_join_or_go_count_within_a_wave_and_after_it(
    tuner: type[Tuner], monkeypatch: pytest.MonkeyPatch
) -> None:
    # the check, then nine questions, of which the fourth and all later ones find a node more
    monkeypatch.setattr(cluster_nodes, "alive_nodes", Cluster([1, 1, 1, 1, 4]))
    RayEngine(succeed).run(schedule(9), Rows())
    assert tuner.held == [4, 4, 1]
    assert min(tuner.pending_limits) >= 4, "or Tune itself would hold back what the late node can take"

    tuner.held.clear()
    monkeypatch.setattr(cluster_nodes, "alive_nodes", Cluster([4, 0]))
    RayEngine(succeed).run(schedule(2), Rows())
    assert tuner.held == [1, 1], "one waits for a node to come back"


def test_fewer_side_by_side_stays_so_when_a_node_joins(
    tuner: type[Tuner], monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner.error = ray_engine.ray.exceptions.OutOfMemoryError("the node is low on memory")
    monkeypatch.setattr(cluster_nodes, "alive_nodes", Cluster([2] * 12 + [4]))
    RayEngine(succeed).run(schedule(6), Rows())
    assert tuner.held[:2] == [2, 3]


def test_nodes_are_looked_up_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_nodes, "alive_nodes", Cluster([1, 2]))
    engine = RayEngine(succeed)
    assert engine.nodes() == engine.nodes() == [Node(1)]
    monkeypatch.setattr(cluster_nodes, "_LOOK_S", 0.0)
    assert engine.nodes() == [Node(2)]


def wave_of(source: Schedule[Any], sink: Rows, *nodes: Node, **given: Any) -> Wave:
    settings = {
        "should_stop": lambda: False,
        "cap": lambda: 9,
        "nodes": lambda: list(nodes),
        "stall_s": math.inf,
        "num_left": 9,
    }
    return Wave(source, sink, **settings | given)


def trial_of(task: Task) -> Any:
    """A stand-in that has no worker yet."""
    return SimpleNamespace(trial_id=task.key, status=Trial.PENDING, error_file=None)


def in_flight(wave: Wave) -> list[Any]:
    """All that the source has ready, as trials."""
    trials = []
    while (trial := wave.next_trial(trial_of)) is not None:
        trials.append(trial)
    return trials


def test_what_waits_for_a_type_that_is_gone_is_taken_back() -> None:
    jobs = [SimpleNamespace(key=key, needs=()) for key in ("H100", "logical", "A100")]
    source = Schedule(jobs, lambda job: Task(job.key, 1, "{}", Placement(0.3, job.key)), max_attempts=1)
    wave = wave_of(source, sink := Rows(), Node(8, 1, "H100"))
    trials = in_flight(wave)

    def stop(trial: Any) -> None:
        trial.status = Trial.TERMINATED

    chosen = SinkScheduler(wave).choose_trial_to_run(SimpleNamespace(stop_trial=stop))
    assert chosen is trials[1]
    assert [task.key for task, _ in sink.rows] == ["A100"]
    assert source.failed == {"A100": "no node with a device of the type A100 is left"}
    assert wave.sweep() == trials[2:]


def test_a_free_worker_goes_to_the_newest_trial_unless_the_oldest_has_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wave = wave_of(schedule(3), Rows(), Node(2))
    trials, scheduler = in_flight(wave), SinkScheduler(wave)
    assert scheduler.choose_trial_to_run(SimpleNamespace()) is trials[2]
    trials[2].status = Trial.RUNNING
    assert scheduler.choose_trial_to_run(SimpleNamespace()) is trials[1]
    monkeypatch.setattr(ray_wave, "_PATIENCE_S", 0.0)
    assert scheduler.choose_trial_to_run(SimpleNamespace()) is trials[0]
    for trial in trials:
        trial.status = Trial.RUNNING
    assert scheduler.choose_trial_to_run(SimpleNamespace()) is None


def test_a_trial_that_ends_without_a_word_is_a_failure() -> None:
    source = schedule(1, max_attempts=1)
    wave = wave_of(source, Rows(), Node(2))
    (trial,) = in_flight(wave)
    trial.status = Trial.ERROR
    assert wave.sweep() == [trial]
    assert "was lost" in source.failed["job0"]
    with pytest.raises(LeaveTune):
        wave.next_trial(trial_of)


def test_tune_is_left_when_no_trial_will_come_and_no_sooner() -> None:
    jobs = [SimpleNamespace(key="a", needs=()), SimpleNamespace(key="b", needs=("a",))]
    source = Schedule(jobs, lambda job: Task(job.key, 1, "{}"), max_attempts=1)
    wave = wave_of(source, Rows(), num_left=1)
    (trial,) = in_flight(wave)
    assert wave.next_trial(trial_of) is None, "what it unlocks is not known"
    wave.deliver(wave.in_flight["a"], Message("completed"))
    trial.status = Trial.TERMINATED
    wave.sweep()
    with pytest.raises(LeaveTune):
        wave.next_trial(trial_of)  # this wave has done its share
    assert [trial.trial_id for trial in in_flight(wave_of(source, Rows()))] == ["b"]


def test_tune_is_left_at_once_when_the_user_wants_to_stop() -> None:
    wave = wave_of(schedule(2), Rows(), should_stop=lambda: True)
    with pytest.raises(LeaveTune):
        wave.next_trial(trial_of)


def test_a_try_is_given_up_once() -> None:
    jobs = [SimpleNamespace(key="A100", needs=())]
    source = Schedule(jobs, lambda job: Task(job.key, 1, "{}", Placement(0.3, job.key)), max_attempts=1)
    wave = wave_of(source, sink := Rows())
    in_flight(wave)
    for _ in range(2):
        wave.give_up_stranded()
        wave.abandon("again")
    assert [message.event for _, message in sink.rows] == ["failed"]


def test_another_error_of_tune_ends_the_run(tuner: type[Tuner]) -> None:
    tuner.error = ValueError("a defect")
    with pytest.raises(RuntimeError, match="a defect"):
        RayEngine(succeed).run(schedule(1), Rows())


@pytest.mark.parametrize(
    ("node", "cpus", "gpus", "expected"),
    [
        ({"CPU": 8.0, "GPU": 3.0}, 1, 0.25, 8),
        ({"CPU": 8.0, "GPU": 3.0}, 0.25, 0.25, 12),
        ({"CPU": 64.0, "GPU": 3.0}, 1, 0.4, 6),
        ({"CPU": 64.0, "GPU": 3.0}, 1, 2, 1),
        ({"CPU": 0.3}, 0.1, 0, 3),
        ({"CPU": 2.0}, 1, 0.5, 0),
    ],
)
def test_shares_of_a_gpu_do_not_span_devices(
    node: dict[str, float], cpus: float, gpus: float, expected: int
) -> None:
    assert node_of(node).fits(cpus, gpus) == expected


def test_a_node_with_other_code_is_the_machines_fault() -> None:
    (message,) = attempt_messages(RemoteExecutor("another", {}, None), "{}")  # type: ignore[arg-type]
    content = Message.from_json(message).content
    assert MachineFaultError.__name__ in content["error"]
    assert (content["kind"], content["retryable"]) == ("machine", True)


def test_a_corpus_that_arrives_otherwise_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = CorpusSource(source="embedded", name="demo", content_id="other")
    monkeypatch.setattr("tune.cluster.workers.ray.get", lambda _: planned.load())
    with pytest.raises(MachineFaultError, match="corpus demo: what arrived is not what was sent") as raised:
        _received(planned, None)  # type: ignore[arg-type]
    assert is_machines_fault(raised.value)


def test_tune_sends_no_key_of_the_driver_to_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.tune.execution.class_cache import _ActorClassCache

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "hidden, too")
    made = _ActorClassCache().get(type("Trainable", (), {}))
    assert "hidden" not in str(made._default_options)
    assert made._default_options["runtime_env"]["env_vars"], "or Tune keeps them elsewhere"

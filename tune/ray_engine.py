"""The engine on Ray Tune. A Tune experiment is a disposable batch here: what lasts is in the sink.

Tune 2.60 can hang, end early or falsify without a word in seven ways; the fences are:

1. a search algorithm of our own, asked for a trial at every step, leaves `Tuner.fit` once no more will come:
   a `Searcher` that answers None while nothing runs is polled for ever, its FINISHED is final, whatever is
   unlocked later, and Tune raises where "finished" becomes true between two of its questions;
2. a function trainable, which needs no `save_checkpoint`;
3. what a trial needs is compared with the nodes before anything starts;
4. the next trial waits up to a minute for the last one's thread, and `on_step_end` finds trials that ended
   without a word;
5. results are recorded in `on_trial_result`, whose errors end the run, not in `on_trial_complete`, whose
   errors are swallowed;
6. when Ray kills a worker because a node is low on memory, Tune raises: its tasks go back to the source, and
   from the next experiment on one trial fewer runs side by side;
7. what waits for a device of a type that no node has any more would wait for ever: `choose_trial_to_run`
   takes it back. Tune goes on counting on it, and to the end of the experiment may start a worker for each
   trial where it would have kept one.

Two more make it fast: trials know their trainable, for which Tune would ask Ray's store some four times each,
and a free worker goes to the newest of them (`choose_trial_to_run`).
"""

import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tune import ray_environment  # noqa: F401 - ray reads it at its import

# isort: split
import ray
import ray.tune as ray_tune
from ray.tune import PlacementGroupFactory
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE
from ray.tune.experiment import Experiment, Trial
from ray.tune.registry import get_trainable_cls
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import SearchAlgorithm

from lai_net.errors import InputError
from tune.cluster.connection import cluster as cluster
from tune.engine import (
    LOGICAL,
    Executor,
    Message,
    Node,
    Placement,
    Sink,
    Source,
    Task,
    attempt_messages,
    deliver,
    failure,
)

# Tune would send the driver's keys of an object store to each worker in a runtime environment, which Ray
# logs; every node has its own (decision 17).
ENV_VARS_TO_PROPAGATE.difference_update([name for name in ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")])

_WAVE_TRIALS = 2000  # Tune keeps ~60 kB of every trial of an experiment
_TYPE_PREFIX = "accelerator_type:"  # Ray's resource, one a node: `accelerator_type:GeForce-RTX-3090`
_LOOK_S = 2.0  # between looks at the cluster's nodes
_PATIENCE_S = 60.0  # of a trial that waits for a worker of its own while newer ones take those that are free
_A_TOUCH = 0.001  # of that resource: it only says which nodes will do


@dataclass
class _Nodes:
    """The cluster's nodes; they may come and go."""

    found: list[Node] = field(default_factory=list)
    looked: float = -math.inf

    def __call__(self) -> list[Node]:
        """As of a few seconds ago at most: asked for at every step of Tune's."""
        if time.monotonic() - self.looked >= _LOOK_S:
            self.found, self.looked = alive_nodes(), time.monotonic()
        return self.found


@dataclass(frozen=True)
class RayEngine:
    """Runs tasks in warm worker processes of the Ray that is up (see `cluster`).

    Attributes:
        executor: runs in the workers, so it must be importable there or picklable by value.
        cpus: of one trial.
        gpus: share of a GPU of one trial.
        max_concurrent: bound of trials side by side; None takes what the cluster holds.
        wave_trials: tasks of one Tune experiment; more take another.
        stall_s: seconds without a word from a running trial, after which its worker is killed.
    """

    executor: Executor
    cpus: float = 1.0
    gpus: float = 0.0
    max_concurrent: int | None = None
    wave_trials: int = _WAVE_TRIALS
    stall_s: float = math.inf
    _nodes: _Nodes = field(init=False, default_factory=_Nodes)

    def run(self, source: Source, sink: Sink, should_stop: Callable[[], bool] = lambda: False) -> None:
        """See `tune.engine.Engine.run`.

        Raises:
            InputError: no node can hold a trial.
        """
        self._refuse_what_no_node_holds()
        # Tune reads it once an experiment; how many are pending at most is `_Wave.next_trial`'s to say
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self.wave_trials)
        num_killed = 0

        def cap() -> int:
            return max(1, self.slots() - num_killed)  # with no node left, the next one is waited for

        while not source.is_done() and not should_stop():
            wave = _Wave(source, sink, should_stop, cap, self.nodes, self.wave_trials, self.stall_s)
            if not self._run_wave(wave):
                num_killed += cap() > 1
                wave.abandon(f"a node ran low on memory; for now at most {cap()} trials run side by side")

    def nodes(self) -> list[Node]:
        """The cluster's nodes, of late; GPUs of a node are of one type, that of its first."""
        return self._nodes()

    def slots(self) -> int:
        """How many trials run side by side on the nodes that there are."""
        slots = sum(node.fits(self.cpus, self.gpus) for node in self.nodes())
        return slots if self.max_concurrent is None else min(slots, self.max_concurrent)

    def _refuse_what_no_node_holds(self) -> None:
        """Tune would wait for ever without a word."""
        if self.slots() == 0:
            held = "; ".join(f"{node.cpus:g} CPUs and {node.gpus} GPUs" for node in self.nodes())
            raise InputError(
                f"a trial needs {self.cpus:g} CPUs and {self.gpus:g} GPUs, but no node holds that ({held}); "
                "lower cpus_per_trial or gpus_per_trial in the study's [resources], or give its `gpus`"
            )

    def _resources(self, task: Task) -> PlacementGroupFactory:
        """What Ray reserves for a task: its own share of a device of its type, or the engine's."""
        given = task.placement or Placement(self.gpus)
        bundle = {"CPU": self.cpus, "GPU": given.share}
        if given.device_type != LOGICAL:
            bundle[_TYPE_PREFIX + given.device_type] = _A_TOUCH
        return PlacementGroupFactory([bundle])

    def _run_wave(self, wave: "_Wave") -> bool:
        """One Tune experiment; False if it broke off for want of memory."""
        executor = self.executor

        def attempt(config: dict[str, Any]) -> None:
            for message in attempt_messages(executor, config["spec"]):
                ray_tune.report({"message": message})

        with tempfile.TemporaryDirectory(prefix="lai-", ignore_cleanup_errors=True) as folder:
            tuner = ray_tune.Tuner(
                attempt,
                tune_config=ray_tune.TuneConfig(
                    search_alg=_SourceAlgorithm(wave, self._resources),
                    scheduler=_SinkScheduler(wave),
                    reuse_actors=True,
                ),
                run_config=ray_tune.RunConfig(
                    name="wave",
                    storage_path=folder,
                    callbacks=[_Watchdog(wave)],
                    verbose=0,
                ),
            )
            try:
                tuner.fit()
            except _LeaveTune:
                return True
            except Exception as error:
                if wave.error is not None:
                    raise wave.error from None
                if not isinstance(error.__cause__, ray.exceptions.OutOfMemoryError):
                    raise
                return False
        return True


class _LeaveTune(Exception):  # noqa: N818 - nothing is wrong: the wave is over, or the user wants to stop
    """Leaves `Tuner.fit` before its last acts: it writes and reads again what it knows of every trial."""


@dataclass
class _Flight:
    """A task that Tune holds, as a trial of its own.

    Attributes:
        is_over: its final message was delivered.
        heard: when its worker last said something, or began; None before.
        asked: when a worker was asked for.
    """

    task: Task
    trial: Trial
    is_over: bool = False
    heard: float | None = None
    asked: float = field(default_factory=time.monotonic)


@dataclass
class _Wave:
    """What the views of one Tune experiment share. Flights are keyed by Tune's trial ids."""

    source: Source
    sink: Sink
    should_stop: Callable[[], bool]
    cap: Callable[[], int]
    nodes: Callable[[], list[Node]]
    budget: int
    stall_s: float = math.inf
    flights: dict[str, _Flight] = field(default_factory=dict)
    error: Exception | None = None

    def next_trial(self, new_trial: Callable[[Task], Trial]) -> Trial | None:
        """A trial for the next task, or None to ask again.

        Raises:
            _LeaveTune: nothing flies and nothing will take off, or the user wants to stop.
        """
        if self.should_stop() or (not self.flights and (self.budget == 0 or self.source.is_done())):
            raise _LeaveTune
        task = self.source.next_task() if self.budget > 0 and len(self.flights) < self.cap() else None
        if task is None:
            return None
        self.budget -= 1
        trial = new_trial(task)
        self.flights[trial.trial_id] = _Flight(task, trial)
        return trial

    def deliver(self, flight: _Flight, message: Message) -> None:
        """Pass a message on; Tune hides the class of an error, so it is kept."""
        flight.heard = time.monotonic()
        try:
            flight.is_over = not deliver(self.source, self.sink, flight.task, message)
        except Exception as error:
            self.error = error
            raise

    def sweep(self) -> list[Trial]:
        """Let go of every flight whose trial is over, and report those that ended without a final message.

        Returns:
            The trials that are over.
        """
        ended = (Trial.TERMINATED, Trial.ERROR)
        landed = [flight for flight in self.flights.values() if flight.trial.status in ended]
        for flight in landed:
            del self.flights[flight.trial.trial_id]
            if not flight.is_over:
                self.deliver(flight, failure(_why(flight.trial), retryable=True))
        return [flight.trial for flight in landed]

    def kill_stalled(self) -> None:
        """Give up every try that has said nothing for too long, and only then kill its worker."""
        now = time.monotonic()
        for flight in self.flights.values():
            if flight.trial.status != Trial.RUNNING or flight.is_over:
                continue
            if flight.heard is None:
                flight.heard = now
            if now - flight.heard > self.stall_s:
                said = f"no word for {self.stall_s / 60:g} minutes (budget.stall_minutes); "
                why = f"{said}the worker was killed"
                self.deliver(flight, failure(why, retryable=True, kind="stall"))
                if (worker := flight.trial.temporary_state.ray_actor) is not None:
                    ray.kill(worker)

    def pending(self) -> list[_Flight]:
        """What waits for a worker, oldest first."""
        return [flight for flight in self.flights.values() if flight.trial.status == Trial.PENDING]

    def give_up_stranded(self) -> list[Trial]:
        """Give up every try that waits for a device of a type that no node has any more.

        Returns:
            Their trials.
        """
        types = {LOGICAL, *(node.device_type for node in self.nodes())}
        stranded = []
        for flight in self.pending():
            placement = flight.task.placement
            if placement is not None and placement.device_type not in types:
                why = f"no node with a device of the type {placement.device_type} is left"
                self.deliver(flight, failure(why, retryable=True))
                stranded.append(flight.trial)
        return stranded

    def abandon(self, why: str) -> None:
        """Report every task in flight as failed by the machine."""
        for flight in self.flights.values():
            if not flight.is_over:
                self.deliver(flight, failure(why, retryable=True))


class _SourceAlgorithm(SearchAlgorithm):
    """Tune's view of the source. Tune pickles it."""

    def __init__(self, wave: _Wave, resources: Callable[[Task], PlacementGroupFactory]) -> None:
        self._wave = wave
        self._resources = resources

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())

    def add_configurations(self, experiments: Any) -> None:
        """Hear what is to be run, before the first trial is asked for."""
        experiment: Experiment
        (experiment,) = experiments
        trainable: type = get_trainable_cls(experiment.run_identifier)  # type: ignore[no-untyped-call]

        class KnowingTrial(Trial):
            """A trial that knows its trainable."""

            def get_trainable_cls(self) -> type:
                return trainable

        def new_trial(task: Task) -> Trial:
            return KnowingTrial(
                experiment.run_identifier,
                config={"spec": task.spec},
                storage=experiment.storage,
                placement_group_factory=self._resources(task),
                trial_dirname_creator=lambda trial: trial.trial_id,
                stub=True,  # its name is not looked up
            )

        self._new_trial = new_trial

    def next_trial(self) -> Trial | None:
        """Asked at every step, also while Tune waits for a first trial. It is never finished: it leaves."""
        return self._wave.next_trial(self._new_trial)


class _SinkScheduler(FIFOScheduler):
    """Tune's view of the sink, and of the source's word on a trial in flight. Tune pickles it, too."""

    def __init__(self, wave: _Wave) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._wave = wave

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The newest that is pending: what is free goes to it, unless the oldest has waited for too long.

        By Tune's order that would go to the oldest, whose own worker is starting and then dropped: of trials
        that are shorter than such a start only one would ever run at a time. But what has no room for a
        worker of its own would never get one of those.
        """
        for trial in self._wave.give_up_stranded():
            tune_controller.stop_trial(trial)
        pending = self._wave.pending()
        if not pending:
            return None
        has_waited = time.monotonic() - pending[0].asked > _PATIENCE_S
        return pending[0 if has_waited else -1].trial

    def on_trial_result(self, tune_controller: object, trial: Trial, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Record; the worker's `report` returns only then. Tune asks once more after the worker's return."""
        flight = self._wave.flights[trial.trial_id]
        message = Message.from_json(result["message"])
        if not flight.is_over:
            self._wave.deliver(flight, message)
        is_stopped = flight.is_over and not message.is_final
        return str(TrialScheduler.STOP if is_stopped else TrialScheduler.CONTINUE)


class _Watchdog(ray_tune.Callback):
    """Looks after every step of Tune's controller. Tune pickles it, too."""

    def __init__(self, wave: _Wave) -> None:
        self._wave = wave

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())

    def on_step_end(self, iteration: int, trials: list[Trial], **_: object) -> None:  # noqa: ARG002
        """Notice every end, and every silence."""
        for trial in self._wave.sweep():
            _empty(trial)
        self._wave.kill_stalled()


def _empty(trial: Trial) -> None:
    """Take out of a trial that is over what Tune would keep until the experiment ends; nobody reads it."""
    for content in (trial.config, trial.metric_analysis, trial.metric_n_steps):
        content.clear()
    trial.run_metadata.last_result = {}


def _why(trial: Trial) -> str:
    """Tune's text about a trial that ended without a word of its own; its pickled error is not to be read."""
    path = Path(trial.error_file) if trial.error_file else None
    if path is not None and path.exists():
        return path.read_text(encoding="utf-8")
    return f"the worker process was lost (Tune calls the trial {trial.status}) and left no error"


def node_of(resources: dict[str, float]) -> Node:
    """A node as Ray describes it: the type of its GPUs is the name of a resource."""
    types = [name.removeprefix(_TYPE_PREFIX) for name in resources if name.startswith(_TYPE_PREFIX)]
    return Node(resources.get("CPU", 0), int(resources.get("GPU", 0)), types[0] if types else LOGICAL)


def alive_nodes() -> list[Node]:
    """The nodes of the cluster that this process has joined; GPUs of a node are of one type."""
    return [node_of(node["Resources"]) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]

"""The engine on Ray Tune. A Tune experiment is a disposable batch here: what lasts is in the sink.

Tune 2.60 can hang, end early or falsify without a word in seven ways; the fences are:

1. `suggest` answers FINISHED, not None, once nothing runs and nothing can become ready;
2. but never before: FINISHED is final, so with something in flight it answers None;
3. a function trainable, which needs no `save_checkpoint`;
4. what a trial needs is compared with the nodes before anything starts;
5. the next trial waits up to a minute for the last one's thread, and `on_step_end` finds trials that ended
   without a word;
6. results are recorded in `on_trial_result`, whose errors end the run, not in `on_trial_complete`, whose
   errors are swallowed;
7. when Ray kills a worker because a node is low on memory, Tune raises: its tasks go back to the source, and
   the next experiment runs one trial fewer side by side.
"""

import contextlib
import logging
import math
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.update(
    {
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
        "TUNE_GLOBAL_CHECKPOINT_S": "100000",
        **os.environ,
    }
)  # Ray reads some of these at its import; what the user has set stands
import ray
import ray.tune as ray_tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from lai_net.errors import InputError
from tune.engine import Executor, Message, Sink, Source, Task, attempt_messages, deliver, failure

_OBJECT_STORE_BYTES = 100 * 2**20
_WAVE_TRIALS = 2000  # Tune keeps ~60 kB of every trial of an experiment
_WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",  # Tune runs each trial in a new thread; an arena for each would keep its memory
} | {name: os.environ[name] for name in ("RAY_CHDIR_TO_TRIAL_DIR", "TUNE_FUNCTION_THREAD_TIMEOUT_S")}
_MAX_TEMPORARY_PATH = 20  # characters; Ray's sockets lie below it, and their paths may have 107


@contextlib.contextmanager
def cluster(address: str | None = None, *, gpus: int | None = None) -> Iterator[None]:
    """Join the Ray cluster at `address` (HOST:PORT), or start one of this machine and stop it at the end.

    Args:
        address: of a running head; None starts a local Ray.
        gpus: logical GPUs of a local Ray; None takes those that are there.

    Raises:
        InputError: nothing listens at `address`.
    """
    folder = None
    where: dict[str, Any] = {"address": address}
    if address is not None:
        _probe(address)
    else:
        _give_own_token()
        folder = _short_folder()
        where = {
            "address": "local",
            "num_gpus": gpus,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_temp_dir": folder,
        }
    # Failed trials are in our records; Tune's log would only tear the progress bar.
    try:
        ray.init(
            **where,
            runtime_env={"env_vars": _WORKER_ENVIRONMENT},
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
        yield
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class RayEngine:
    """Runs tasks in warm worker processes of the Ray that is up (see `cluster`).

    Attributes:
        executor: runs in the workers, so it must be importable there or picklable by value.
        cpus: of one trial.
        gpus: share of a GPU of one trial.
        max_concurrent: bound of trials side by side; None takes what the cluster holds.
        wave_trials: tasks of one Tune experiment; more take another.
    """

    executor: Executor
    cpus: float = 1.0
    gpus: float = 0.0
    max_concurrent: int | None = None
    wave_trials: int = _WAVE_TRIALS

    def run(self, source: Source, sink: Sink, should_stop: Callable[[], bool] = lambda: False) -> None:
        """See `tune.engine.Engine.run`.

        Raises:
            InputError: no node can hold a trial.
        """
        cap = self.slots()
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(cap)
        while not source.is_done() and not should_stop():
            wave = _Wave(source, sink, should_stop, cap, self.wave_trials)
            if not self._run_wave(wave):
                cap = max(1, cap - 1)
                os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(cap)
                wave.abandon(f"a node ran low on memory; from now on at most {cap} trials run side by side")

    def slots(self) -> int:
        """How many trials run side by side.

        Raises:
            InputError: none can; Tune would wait for ever without a word.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        slots = sum(fits(node, self.cpus, self.gpus) for node in nodes)
        if slots == 0:
            held = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
            raise InputError(
                f"a trial needs {self.cpus:g} CPUs and {self.gpus:g} GPUs, but no node holds that ({held}); "
                "lower cpus_per_trial or gpus_per_trial in the study's [resources], or give its `gpus`"
            )
        return slots if self.max_concurrent is None else min(slots, self.max_concurrent)

    def _run_wave(self, wave: "_Wave") -> bool:
        """One Tune experiment; False if it broke off for want of memory."""
        executor = self.executor

        def attempt(config: dict[str, Any]) -> None:
            for message in attempt_messages(executor, config["spec"]):
                ray_tune.report({"message": message})

        with tempfile.TemporaryDirectory(prefix="lai-", ignore_cleanup_errors=True) as folder:
            tuner = ray_tune.Tuner(
                ray_tune.with_resources(attempt, {"cpu": self.cpus, "gpu": self.gpus}),
                tune_config=ray_tune.TuneConfig(
                    search_alg=_SourceSearcher(wave),
                    scheduler=_SinkScheduler(wave),
                    num_samples=-1,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=ray_tune.RunConfig(
                    name="wave",
                    storage_path=folder,
                    callbacks=[_Watchdog(wave)],
                    failure_config=ray_tune.FailureConfig(max_failures=0),
                    verbose=0,
                ),
            )
            try:
                tuner.fit()
            except _Stopped:
                return True  # the flag that raised it also ends `run`
            except Exception as error:
                if wave.error is not None:
                    raise wave.error from None
                if not isinstance(error.__cause__, ray.exceptions.OutOfMemoryError):
                    raise
                return False
        return True


class _Stopped(Exception):  # noqa: N818 - nothing is wrong: the user asked for it
    """Leaves `Tuner.fit`."""


@dataclass
class _Flight:
    """A task that Tune holds. `is_over` once its final message was delivered."""

    task: Task
    is_over: bool = False


@dataclass
class _Wave:
    """What the searcher and the callback of one Tune experiment share. Keyed by Tune's trial ids."""

    source: Source
    sink: Sink
    should_stop: Callable[[], bool]
    cap: int
    budget: int
    flights: dict[str, _Flight] = field(default_factory=dict)
    num_seen: int = 0
    trials: dict[str, Trial] = field(default_factory=dict)
    error: Exception | None = None

    def suggest(self, ray_id: str) -> dict[str, Any] | str | None:
        """The next task; None to ask again; FINISHED, which is final."""
        if self.should_stop():
            return None  # the callback is about to leave
        task = self.source.next_task() if self.budget > 0 and len(self.flights) < self.cap else None
        if task is not None:
            self.budget -= 1
            self.flights[ray_id] = _Flight(task)
            return {"key": task.key, "attempt": task.attempt, "spec": task.spec}
        over = self.budget == 0 or self.source.is_done()
        return Searcher.FINISHED if over and not self.flights else None

    def deliver(self, flight: _Flight, message: Message) -> None:
        """Pass a message on; Tune hides the class of an error, so it is kept."""
        try:
            flight.is_over = not deliver(self.source, self.sink, flight.task, message)
        except Exception as error:
            self.error = error
            raise

    def sweep(self, trials: list[Trial]) -> None:
        """Let go of every flight whose trial is over, and report those that ended without a final message."""
        self.trials.update({trial.trial_id: trial for trial in trials[self.num_seen :]})
        self.num_seen = len(trials)
        ended = (Trial.TERMINATED, Trial.ERROR)
        for ray_id in [key for key in self.flights if self.trials[key].status in ended]:
            trial, flight = self.trials.pop(ray_id), self.flights.pop(ray_id)
            if not flight.is_over:
                self.deliver(flight, failure(_why(trial), retryable=True))

    def abandon(self, why: str) -> None:
        """Report every task in flight as failed by the machine."""
        for flight in self.flights.values():
            if not flight.is_over:
                self.deliver(flight, failure(why, retryable=True))


class _SourceSearcher(Searcher):
    """Tune's view of the source. Tune pickles it and calls it by keyword."""

    def __init__(self, wave: _Wave) -> None:
        super().__init__()
        self._wave = wave

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())

    def set_search_properties(self, *_: object, **__: object) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        return self._wave.suggest(trial_id)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: `_Wave.sweep` sees every end, also those that Tune does not tell."""


class _SinkScheduler(FIFOScheduler):
    """Tune's view of the sink, and of the source's word on a trial in flight. Tune pickles it, too."""

    def __init__(self, wave: _Wave) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._wave = wave

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())

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
        """Notice every end, and the user's wish to stop."""
        self._wave.sweep(trials)
        if self._wave.should_stop():
            raise _Stopped


def _why(trial: Trial) -> str:
    """Tune's text about a trial that ended without a word of its own; its pickled error is not to be read."""
    path = Path(trial.error_file) if trial.error_file else None
    if path is not None and path.exists():
        return path.read_text(encoding="utf-8")
    return f"the worker process was lost (Tune calls the trial {trial.status}) and left no error"


def fits(node: dict[str, float], cpus: float, gpus: float) -> int:
    """How often a trial's shape fits into a node's resources; GPU shares do not span devices."""
    by_cpu = _quotient(node.get("CPU", 0), cpus)
    if gpus == 0:
        return by_cpu
    if gpus < 1:
        return min(by_cpu, int(node.get("GPU", 0)) * _quotient(1, gpus))
    return min(by_cpu, _quotient(node.get("GPU", 0), gpus))


def _quotient(held: float, needed: float) -> int:
    return math.floor(held / needed + 1e-9)  # 0.3 / 0.1 is a little less than 3


def _probe(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"--address must be HOST:PORT of a Ray head, but got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise InputError(
            f"--address {address}: nothing answers there ({error}); start one with `ray start --head`, "
            "or leave --address out"
        ) from error


def _give_own_token() -> None:
    """A secret of this process for its own Ray, so that Ray writes none into the user's home."""
    named = os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}
    if not named and not Path("~/.ray/auth_token").expanduser().exists():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _short_folder() -> str:
    base = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="lai-", dir=base if len(base) <= _MAX_TEMPORARY_PATH else "/tmp")

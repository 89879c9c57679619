"""The engine on Ray Tune. A Tune experiment is a disposable batch here: what lasts is in the sink.

Tune 2.60 can hang, end early or falsify without a word in eight ways; the fences are:

1. a search algorithm of our own, asked for a trial at every step, leaves `Tuner.fit` once no more will come:
   a `Searcher` that answers None while nothing runs is polled for ever, its FINISHED is final, whatever is
   unlocked later, and Tune raises where "finished" becomes true between two of its questions;
2. a function trainable, which needs no `save_checkpoint`;
3. what a trial needs is compared with the nodes before anything starts;
4. the next trial waits up to a minute for the last one's thread, and `on_step_end` finds trials that ended
   without a word;
5. results are recorded in `on_trial_result`, whose errors end the run, not in `on_trial_complete`, whose
   errors are swallowed;
6. when Ray kills a worker because a node is low on memory, Tune raises: its tasks go back to the source, a
   try counts of what ran alone only, and from the next experiment on one trial fewer runs side by side;
7. what waits for a device of a type that no node has any more would wait for ever: `choose_trial_to_run`
   takes it back. Tune goes on counting on it, and to the end of the experiment may start a worker for each
   trial where it would have kept one;
8. at SIGUSR1, a batch system's warning, Tune ends the experiment as if it were complete: `Watchdog.setup`
   takes the signal back, and what is in flight when Tune ends of itself goes back to the source.

Two things make it fast: trials know their trainable, for which Tune would ask Ray's store three to five times
each, and a free worker goes to the newest of them (`Wave.next_to_start`).
"""

import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tune import ray_environment  # noqa: F401 - ray reads it at its import

# isort: split
import ray
import ray.tune as ray_tune
from ray.tune import PlacementGroupFactory
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE

from lai_net.errors import InputError
from tune.cluster.nodes import TYPE_PREFIX, Nodes
from tune.engine import LOGICAL, Executor, Node, Placement, Sink, Source, Task, attempt_messages
from tune.ray_views import SinkScheduler, SourceAlgorithm, Watchdog
from tune.ray_wave import LeaveTune, Wave

# Tune would send the driver's keys of an object store to each worker in a runtime environment, which Ray
# logs; every node has its own (decision 17).
ENV_VARS_TO_PROPAGATE.difference_update([name for name in ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")])

_WAVE_TRIALS = 2000  # Tune keeps ~60 kB of every trial of an experiment
_TYPE_SHARE = 0.001  # of a node's resource that names its devices' type: it only says which nodes will do


@dataclass(frozen=True)
class RayEngine:
    """Runs tasks in warm worker processes of the Ray that is up (see `cluster`).

    Attributes:
        executor: runs in the workers, so it must be importable there or picklable by value.
        cpus: of one trial.
        share: of a GPU that one trial takes.
        max_concurrent: bound of trials side by side; None takes what the cluster holds.
        wave_trials: tasks of one Tune experiment; more take another.
        stall_s: seconds without a word from a running trial, after which its worker is killed.
    """

    executor: Executor
    cpus: float = 1.0
    share: float = 0.0
    max_concurrent: int | None = None
    wave_trials: int = _WAVE_TRIALS
    stall_s: float = math.inf
    _nodes: Nodes = field(init=False, default_factory=Nodes)

    def run(self, source: Source, sink: Sink, should_stop: Callable[[], bool] = lambda: False) -> None:
        """See `tune.engine.Engine.run`.

        Raises:
            InputError: no node can hold a trial.
        """
        self._refuse_what_no_node_holds()
        # Tune reads it once an experiment, and asks for no trial while so many are pending: never so many
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self.wave_trials + 1)
        num_killed = 0

        def cap() -> int:
            return max(1, self.slots() - num_killed)  # with no node left, the next one is waited for

        while not source.is_done() and not should_stop():
            wave = Wave(source, sink, should_stop, cap, self.nodes, self.wave_trials, self.stall_s)
            if not self._run_wave(wave):
                num_killed += cap() > 1
                why = f"a node ran low on memory; for now at most {cap()} trials run side by side"
                wave.abandon(why, is_try=len(wave.in_flight) == 1)  # of several none need be to blame

    def nodes(self) -> list[Node]:
        """The cluster's nodes, of late."""
        return self._nodes()

    def slots(self) -> int:
        """How many trials run side by side on the nodes that there are."""
        slots = sum(node.fits(self.cpus, self.share) for node in self.nodes())
        return slots if self.max_concurrent is None else min(slots, self.max_concurrent)

    def _refuse_what_no_node_holds(self) -> None:
        """Tune would wait for ever without a word."""
        if self.slots() == 0:
            held = "; ".join(f"{node.cpus:g} CPUs and {node.gpus} GPUs" for node in self.nodes())
            raise InputError(
                f"a trial needs {self.cpus:g} CPUs and {self.share:g} GPUs, but no node holds that ({held}); "
                "lower cpus_per_trial or gpus_per_trial in the study's [resources], or give its `gpus`"
            )

    def _resources(self, task: Task) -> PlacementGroupFactory:
        """What Ray reserves for a task: its own share of a device of its type, or the engine's."""
        given = task.placement or Placement(self.share)
        bundle = {"CPU": self.cpus, "GPU": given.share}
        if given.device_type != LOGICAL:
            bundle[TYPE_PREFIX + given.device_type] = _TYPE_SHARE
        return PlacementGroupFactory([bundle])

    def _run_wave(self, wave: Wave) -> bool:
        """One Tune experiment; False if it broke off for want of memory."""
        executor = self.executor

        def attempt(config: dict[str, Any]) -> None:
            for message in attempt_messages(executor, config["spec"]):
                ray_tune.report({"message": message})

        with tempfile.TemporaryDirectory(prefix="lai-", ignore_cleanup_errors=True) as folder:
            tuner = ray_tune.Tuner(
                attempt,
                tune_config=ray_tune.TuneConfig(
                    search_alg=SourceAlgorithm(wave, self._resources),
                    scheduler=SinkScheduler(wave),
                    reuse_actors=True,
                ),
                run_config=ray_tune.RunConfig(
                    name="wave",
                    storage_path=folder,
                    callbacks=[Watchdog(wave)],
                    verbose=0,
                ),
            )
            try:
                tuner.fit()
            except LeaveTune:
                return True
            except Exception as error:
                if wave.error is not None:
                    raise wave.error from None
                if not isinstance(error.__cause__, ray.exceptions.OutOfMemoryError):
                    raise
                return False
        wave.abandon("Tune ended its experiment, though our search algorithm never does")
        return True

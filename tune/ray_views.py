"""What Tune calls while it runs a wave: search algorithm, scheduler and callback. Tune pickles all three."""

import signal
import threading
from collections.abc import Callable
from typing import Any

from tune import ray_environment  # noqa: F401 - ray reads it at its import

# isort: split
from ray.tune import Callback, PlacementGroupFactory
from ray.tune.experiment import Experiment, Trial
from ray.tune.registry import get_trainable_cls
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import SearchAlgorithm

from tune.engine import Message, Task
from tune.ray_wave import Wave


class SourceAlgorithm(SearchAlgorithm):
    """Tune's view of the source."""

    def __init__(self, wave: Wave, resources: Callable[[Task], PlacementGroupFactory]) -> None:
        self._wave = wave
        self._resources = resources

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())

    def add_configurations(self, experiments: Any) -> None:
        """Hear what is to be run, before the first trial is asked for."""
        experiment: Experiment
        (experiment,) = experiments
        trainable: type = get_trainable_cls(experiment.run_identifier)  # type: ignore[no-untyped-call]

        class TrialOfTrainable(Trial):
            """A trial that knows its trainable."""

            def get_trainable_cls(self) -> type:
                return trainable

        def new_trial(task: Task) -> Trial:
            return TrialOfTrainable(
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


class SinkScheduler(FIFOScheduler):
    """Tune's view of the sink, and of the source's word on a trial in flight."""

    def __init__(self, wave: Wave) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._wave = wave

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """See `Wave.next_to_start`; what waits in vain is stopped first."""
        for trial in self._wave.give_up_stranded():
            tune_controller.stop_trial(trial)
        return self._wave.next_to_start()

    def on_trial_result(self, tune_controller: object, trial: Trial, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Record; the worker's `report` returns only then. Tune asks once more after the worker's return."""
        item = self._wave.in_flight[trial.trial_id]
        message = Message.from_json(result["message"])
        self._wave.deliver(item, message)
        is_stopped = item.is_over and not message.is_final
        return str(TrialScheduler.STOP if is_stopped else TrialScheduler.CONTINUE)


class Watchdog(Callback):
    """Looks after every step of Tune's controller."""

    def __init__(self, wave: Wave) -> None:
        self._wave = wave
        self._at_usr1 = signal.getsignal(signal.SIGUSR1)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())

    def setup(self, *_: object, **__: object) -> None:
        """Take back SIGUSR1, at which Tune would leave everything and call the experiment complete."""
        if threading.current_thread() is threading.main_thread():  # elsewhere Tune did not take it
            signal.signal(signal.SIGUSR1, self._at_usr1)

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

"""Epochs and scores for TensorBoard, MLflow and W&B, through Ray's own callbacks.

A view beside the ledger, never its source: a tracker that fails is left out from then on, and the study
goes on. Each attempt at a trial is a run of its own, named `TRIAL_ID-ATTEMPT`. Our Tune experiments are
disposable and their trials know only a task (docs/decisions/0002), so the callbacks are told of stand-ins
that carry what a reader looks for: settings, seed and scores.
"""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lai_net.active_settings import active_settings
from lai_net.errors import InputError, first_line
from lai_net.metrics.scoring import SCORES
from lai_net.settings import flat
from tune.engine import Message, Sink, Task
from tune.planning.jobs import Evaluating, Training

if TYPE_CHECKING:
    from ray.tune.logger import LoggerCallback

FOLDER = "tracking"
"""Beside the ledger: files of TensorBoard and W&B, a folder for each attempt."""
_UPLOAD_S = 300  # what is not uploaded by then lies in its folder, for `wandb sync`
_PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}


@dataclass(frozen=True)
class TrackedTrial:
    """An attempt as Ray's callbacks want to see a trial.

    Attributes:
        trial_id: the run's name.
        experiment_dir_name: what the runs of a study are grouped by.
        local_path: where TensorBoard's and W&B's files go.
        config: settings that act, flat, with dataset, phase and seed.
    """

    trial_id: str
    experiment_dir_name: str
    local_path: str
    config: dict[str, Any] = field(compare=False)
    checkpoint: None = None

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """TensorBoard's hyperparameters: all settings."""
        return self.config

    def init_local_path(self) -> None:
        """Make the folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return self.trial_id


@dataclass
class TrackingSink:
    """Shows trackers what passes through on its way to `inner`.

    Attributes:
        inner: told first; what it refuses is not shown.
        jobs: of this run, by key; evaluations of two trials together are not shown.
        study: the study's name.
        folder: where files of runs go.
        callbacks: by the tracker's name; those that fail are taken out.
    """

    inner: Sink
    jobs: Mapping[str, Training | Evaluating]
    study: str
    folder: Path
    callbacks: dict[str, "LoggerCallback"]
    _runs: dict[str, TrackedTrial] = field(default_factory=dict)

    def record(self, task: Task, message: Message) -> None:
        """Pass on, then show."""
        self.inner.record(task, message)
        job = self.jobs.get(task.key)
        if not isinstance(job, Training):
            return
        if message.event == "started":
            run = self._run(job, task.attempt)
            self._tell("log_trial_start", run)
            self._runs[task.key] = run
        elif task.key in self._runs:
            self._go_on(self._runs[task.key], job, message)
            if message.is_final:
                del self._runs[task.key]

    def close(self) -> None:
        """Wait until all is written or uploaded; attempts that were interrupted end as failed."""
        for run in self._runs.values():
            self._tell("log_trial_end", run, failed=True)
        self._tell("on_experiment_end", [])

    def _go_on(self, run: TrackedTrial, job: Training, message: Message) -> None:
        if message.event == "epoch":
            epoch = message.content["epoch"]
            self._tell("log_trial_result", epoch, run, {**message.content, "training_iteration": epoch})
            return
        if message.event == "completed":
            epochs = job.trial.config.training.epochs
            numbers: dict[str, Any] = {"training_iteration": epochs}
            for evaluation in message.content["evaluations"]:
                numbers |= _scores(evaluation)
            self._tell("log_trial_result", epochs, run, numbers)
        self._tell("log_trial_end", run, failed=message.event == "failed")

    def _run(self, job: Training, attempt: int) -> TrackedTrial:
        row = job.trial.row
        place = {"dataset": row.dataset, "phase": row.phase, "seed": row.seed}
        fold = {} if row.fold is None else {"fold": row.fold}
        name = f"{row.trial_id}-{attempt}"
        settings = flat(active_settings(job.trial.config))
        return TrackedTrial(name, self.study, str(self.folder / name), place | fold | settings)

    def _tell(self, method: str, *args: Any, **kwargs: Any) -> None:
        for name, callback in list(self.callbacks.items()):
            try:
                getattr(callback, method)(*args, **kwargs)
            except Exception as error:
                del self.callbacks[name]
                sys.stderr.write(f"--track {name}: {first_line(error)}; going on without it\n")


def parse_trackers(options: list[str]) -> dict[str, str | None]:
    """What `NAME` and `NAME=WHERE` ask for: `tensorboard`, `mlflow=URI`, `wandb=PROJECT`. Loads no Ray.

    Raises:
        InputError: a name that is none, or what it needs is missing here.
    """
    trackers: dict[str, str | None] = {}
    for option in options:
        name, _, where = option.partition("=")
        if name not in _PACKAGES:
            raise InputError(f"--track {option}: not a tracker; take one of {', '.join(_PACKAGES)}")
        if name == "tensorboard" and where:
            raise InputError(
                "--track tensorboard: its files lie in `tracking` beside the ledger; name no place"
            )
        if name == "wandb" and "WANDB_API_KEY" in os.environ:
            raise InputError(
                "--track wandb: Ray would write WANDB_API_KEY into its logs; "
                "unset it and call `wandb login` once"
            )
        if importlib.util.find_spec(_PACKAGES[name]) is None:
            raise InputError(
                f"--track {option}: {_PACKAGES[name]} is missing; pip install 'lai-tune[tracking]'"
            )
        trackers[name] = where or None
    return trackers


def callbacks_of(trackers: Mapping[str, str | None], study: str) -> dict[str, "LoggerCallback"]:
    """Ray's callbacks, ready to be told; to be called once Ray is up, which reads its settings at its import.

    Args:
        trackers: see `parse_trackers`.
        study: MLflow's experiment; W&B's group, and its project where none is given.

    Raises:
        InputError: one cannot be set up.
    """
    made = {}
    for name, where in trackers.items():
        try:
            made[name] = _callback(name, where, study)
            made[name].setup()
        except Exception as error:
            raise InputError(f"--track {name}: {first_line(error)}") from error
    return made


def _callback(name: str, where: str | None, study: str) -> "LoggerCallback":
    if name == "tensorboard":
        from ray.tune.logger.tensorboardx import TBXLoggerCallback

        return TBXLoggerCallback()  # type: ignore[no-untyped-call]
    if name == "mlflow":
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        return MLflowLoggerCallback(tracking_uri=where, experiment_name=study)
    from tune.wandb_callback import FlushingWandbCallback

    return FlushingWandbCallback(project=where or study, group=study, upload_timeout=_UPLOAD_S)


@contextlib.contextmanager
def tracking(
    inner: Sink,
    jobs: Mapping[str, Training | Evaluating],
    trackers: Mapping[str, str | None],
    study: str,
    folder: Path,
) -> Iterator[Sink]:
    """A `TrackingSink` in a run's time, closed unless by a second Ctrl-C; without trackers just `inner`."""
    if not trackers:
        yield inner
        return
    sink = TrackingSink(inner, jobs, study, folder, callbacks_of(trackers, study))
    try:
        yield sink
    except Exception:
        sink.close()
        raise
    sink.close()


def _scores(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Precision, recall and F1 by place; MLflow's names know no `+`."""
    place = f"{evaluation['split']}/{evaluation['entities']}"
    numbers = {}
    for score in evaluation["scores"]:
        task = score["task"].replace("+", "_plus")
        for name in SCORES:
            numbers[f"{place}/{score['protocol']}/{score['averaging']}/{task}/{name}"] = score[name]
    return numbers

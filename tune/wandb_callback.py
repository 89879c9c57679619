"""Ray's callback for W&B, which loses nothing at a run's end."""

from typing import Any

from ray.air.integrations.wandb import WandbLoggerCallback, _WandbLoggingActor


class _FlushingActor(_WandbLoggingActor):
    """Ends once W&B has written all.

    Ray kills the process as soon as `run` returns, and with it W&B's own, which may not have written a file
    to its end by then: offline, runs were left empty.
    """

    def run(self) -> None:
        super().run()  # type: ignore[no-untyped-call]
        self._wandb.teardown()


class FlushingWandbCallback(WandbLoggerCallback):
    """`WandbLoggerCallback`, its actors as above, in folders that are there."""

    _logger_actor_cls: Any = _FlushingActor

    def log_trial_start(self, trial: Any) -> None:
        """Make the folder, as Ray's callback for TensorBoard does; Tune makes those of its own trials."""
        trial.init_local_path()
        super().log_trial_start(trial)

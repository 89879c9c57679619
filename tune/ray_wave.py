"""The tasks of one Tune experiment, each a trial of Tune's: what is in flight, starts next, or is lost."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tune import ray_environment  # noqa: F401 - ray reads it at its import

# isort: split
import ray
from ray.tune.experiment import Trial

from tune.engine import LOGICAL, Message, Node, Sink, Source, Task, deliver, failure

_PATIENCE_S = 60.0  # of a trial that waits for a worker of its own while newer ones take those that are free


class LeaveTune(Exception):  # noqa: N818 - nothing is wrong: the wave is over, or the user wants to stop
    """Leaves `Tuner.fit` before its last acts: it writes and reads again what it knows of every trial."""


@dataclass
class InFlight:
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
class Wave:
    """What Tune's views of one experiment share.

    Attributes:
        cap: how many tasks may be in flight now.
        num_left: tasks that this experiment may still take.
        stall_s: seconds without a word from a running trial, after which its worker is killed.
        in_flight: by Tune's trial id.
        error: of the source or the sink; Tune hides the class of an error.
    """

    source: Source
    sink: Sink
    should_stop: Callable[[], bool]
    cap: Callable[[], int]
    nodes: Callable[[], list[Node]]
    num_left: int
    stall_s: float
    in_flight: dict[str, InFlight] = field(default_factory=dict)
    error: Exception | None = None

    def next_trial(self, new_trial: Callable[[Task], Trial]) -> Trial | None:
        """A trial for the next task, or None to ask again.

        Raises:
            LeaveTune: nothing is in flight and nothing more will be, or the user wants to stop.
        """
        if self.should_stop() or (not self.in_flight and (self.num_left == 0 or self.source.is_done())):
            raise LeaveTune
        task = self.source.next_task() if self.num_left > 0 and len(self.in_flight) < self.cap() else None
        if task is None:
            return None
        self.num_left -= 1
        trial = new_trial(task)
        self.in_flight[trial.trial_id] = InFlight(task, trial)
        return trial

    def next_to_start(self) -> Trial | None:
        """The newest that is pending: what is free goes to it, unless the oldest has waited for too long.

        By Tune's order that would go to the oldest, whose own worker is starting and then dropped: of trials
        that are shorter than such a start only one would ever run at a time. But what has no room for a
        worker of its own would never get one of those.
        """
        pending = self._pending()
        if not pending:
            return None
        has_waited = time.monotonic() - pending[0].asked > _PATIENCE_S
        return pending[0 if has_waited else -1].trial

    def deliver(self, item: InFlight, message: Message) -> None:
        """Pass a message on, unless the final one was."""
        if item.is_over:
            return
        item.heard = time.monotonic()
        try:
            item.is_over = not deliver(self.source, self.sink, item.task, message)
        except Exception as error:
            self.error = error
            raise

    def sweep(self) -> list[Trial]:
        """Let go of every task whose trial is over, and report those that ended without a final message.

        Returns:
            The trials that are over.
        """
        ended = [
            item for item in self.in_flight.values() if item.trial.status in (Trial.TERMINATED, Trial.ERROR)
        ]
        for item in ended:
            del self.in_flight[item.trial.trial_id]
            if not item.is_over:
                self.deliver(item, failure(_why(item.trial), retryable=True))
        return [item.trial for item in ended]

    def kill_stalled(self) -> None:
        """Give up every try that has said nothing for too long, and only then kill its worker."""
        now = time.monotonic()
        for item in self.in_flight.values():
            if item.trial.status != Trial.RUNNING or item.is_over:
                continue
            if item.heard is None:
                item.heard = now
            if now - item.heard > self.stall_s:
                said = f"no word for {self.stall_s / 60:g} minutes (budget.stall_minutes); "
                why = f"{said}the worker was killed"
                self.deliver(item, failure(why, retryable=True, kind="stall"))
                if (worker := item.trial.temporary_state.ray_actor) is not None:
                    ray.kill(worker)

    def give_up_stranded(self) -> list[Trial]:
        """Give up every try that waits for a device of a type that no node has any more.

        Returns:
            Their trials.
        """
        types = {LOGICAL, *(node.device_type for node in self.nodes())}
        stranded = []
        for item in self._pending():
            placement = item.task.placement
            if placement is not None and placement.device_type not in types:
                why = f"no node with a device of the type {placement.device_type} is left"
                self.deliver(item, failure(why, retryable=True))
                stranded.append(item.trial)
        return stranded

    def abandon(self, why: str, *, is_try: bool = True) -> None:
        """Report every task in flight as failed by the machine."""
        for item in self.in_flight.values():
            self.deliver(item, failure(why, retryable=True, is_try=is_try))

    def _pending(self) -> list[InFlight]:
        """What waits for a worker, oldest first."""
        return [item for item in self.in_flight.values() if item.trial.status == Trial.PENDING]


def _why(trial: Trial) -> str:
    """Tune's text about a trial that ended without a word of its own; its pickled error is not to be read."""
    path = Path(trial.error_file) if trial.error_file else None
    if path is not None and path.exists():
        return path.read_text(encoding="utf-8")
    return f"the worker process was lost (Tune calls the trial {trial.status}) and left no error"

"""The source of a run: which job comes next, what waits for what, what is tried again, what is blocked.

Jobs are ready in the order given; a job that others unlocked goes first, so that an evaluation (seconds)
follows its trainings at once. A job whose try failed by the machine's fault is tried again after a pause that
doubles; a job that failed for good blocks whatever needs it.
"""

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from tune.engine import FailureKind, Message, Task


class Job(Protocol):
    """What a schedule must know of a job."""

    @property
    def key(self) -> str:
        """Unique name."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the jobs of this run that must be completed first."""


JobT = TypeVar("JobT", bound=Job)


@dataclass
class Schedule(Generic[JobT]):
    """A `tune.engine.Source` over jobs.

    Attributes:
        jobs: in the order in which they should run.
        make_task: turns a job that is about to start into its task; called once a try.
        max_attempts: tries of one job in this run, the first included; some failures count as none.
        pause_s: before the second try; doubles with each further one.
        is_spent: whether the budget lets nothing new start.
        clock: seconds, monotonic.
    """

    jobs: Iterable[JobT]
    make_task: Callable[[JobT], Task]
    max_attempts: int = 3
    pause_s: float = 5.0
    is_spent: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    completed: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    """Key -> traceback of the last try."""
    failures: dict[str, FailureKind] = field(default_factory=dict)
    """Key -> its kind."""
    blocked: dict[str, str] = field(default_factory=dict)
    """Key -> what it waits for in vain."""
    stopped: set[str] = field(default_factory=set)
    """Keys of jobs that were ended early."""

    def __post_init__(self) -> None:
        self._jobs = {job.key: job for job in self.jobs}
        self._waiting = {key: set(job.needs) for key, job in self._jobs.items() if job.needs}
        unknown = {need for needs in self._waiting.values() for need in needs} - set(self._jobs)
        if unknown:
            raise ValueError(f"jobs need {sorted(unknown)}, which are no jobs of this run")
        self._ready = deque(key for key in self._jobs if key not in self._waiting)
        self._pausing: list[tuple[float, str]] = []
        self._running: dict[str, Task] = {}
        self._lost: Counter[str] = Counter()  # tries that failed

    def add(self, job: JobT) -> None:
        """Append a job that needs no other.

        Raises:
            ValueError: the schedule has it already.
        """
        if job.key in self._jobs:
            raise ValueError(f"job {job.key} was added before")
        self._jobs[job.key] = job
        self._ready.append(job.key)

    def next_task(self) -> Task | None:
        """The next ready job's task; None while there is none."""
        if self.is_spent():
            return None
        while self._pausing and self._pausing[0][0] <= self.clock():
            self._ready.append(heapq.heappop(self._pausing)[1])
        if not self._ready:
            return None
        key = self._ready.popleft()
        self._running[key] = self.make_task(self._jobs[key])
        return self._running[key]

    def is_done(self) -> bool:
        """Whether nothing runs and nothing can become ready any more."""
        return not self._running and (not (self._ready or self._pausing) or self.is_spent())

    def goes_on(self, task: Task, message: Message) -> bool:  # noqa: ARG002 - see `tune.engine.Source`
        """A table's trials always go on to their full budget."""
        return True

    def ended(self, task: Task, message: Message) -> None:
        """Unlock, retry or block; a word about a try that is over already is ignored."""
        if self._running.get(task.key) != task:
            return
        del self._running[task.key]
        if message.event == "completed":
            self.completed.add(task.key)
            self._unlock(task.key)
        elif message.event == "stopped":
            self.stopped.add(task.key)
        else:
            self._lose(task.key, message.content)

    @property
    def remaining(self) -> list[str]:
        """Keys of jobs that neither completed nor failed nor were stopped nor are blocked."""
        over = self.completed | self.stopped | self.failed.keys() | self.blocked.keys()
        return [key for key in self._jobs if key not in over]

    def _lose(self, key: str, failure: Mapping[str, Any]) -> None:
        """After a pause again, unless a retry is in vain or no try is left."""
        self._lost[key] += failure["is_try"]
        if failure["retryable"] and self._lost[key] < self.max_attempts:
            pause_s = self.pause_s * 2 ** max(0, self._lost[key] - 1)
            heapq.heappush(self._pausing, (self.clock() + pause_s, key))
            return
        self.failed[key] = failure["error"]
        self.failures[key] = failure["kind"]
        self._block(key, f"needs {key}, which failed")

    def _unlock(self, done: str) -> None:
        for key, needs in list(self._waiting.items()):
            needs.discard(done)
            if not needs:
                del self._waiting[key]
                self._ready.appendleft(key)

    def _block(self, culprit: str, why: str) -> None:
        for key in [key for key, needs in self._waiting.items() if culprit in needs]:
            del self._waiting[key]
            self.blocked[key] = why
            self._block(key, why)

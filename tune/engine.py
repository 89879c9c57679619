"""The port between what is to run and what runs it; it knows neither Ray nor torch nor the ledger.

A source hands out tasks and hears how they ended; a sink makes what a worker says durable; an engine runs an
executor on each task, wherever it likes. The sink is always told first, so nothing that depends on a result
starts before the result is on disk. The source may end a task in flight at any of its messages.
"""

import dataclasses
import json
import math
import re
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from lai_net.errors import InputError
from tune.fault_points import reach

# The machine's faults by name where importing their owner is not for us: out of GPU memory, a CUDA error,
# a weights file that could not be written (disk full).
_MACHINE_FAULTS = {"OutOfMemoryError", "AcceleratorError", "SafetensorError"}
_ERROR = re.compile(r"^[\w.]+(?:Error|Exception)\b.*", re.MULTILINE)
"""The line of a traceback that names its error; of chained ones there are several."""
_OUT_OF_MEMORY = re.compile(
    r"(?!ray\.)[\w.]*(OutOfMemoryError\b"
    r"|Error: CUDA error: (out of memory|CUBLAS_STATUS_ALLOC|CUBLAS_STATUS_NOT_INITIALIZED))"
)
"""cuBLAS says either where it finds no room, at its first product."""


class MachineFaultError(InputError):
    """A node is not as planned: other code, other files, or GPUs but no CUDA; another may have the trial."""


FailureKind = Literal["config", "machine", "memory", "stall"]
"""Whose fault: the config's, the machine's, a device's memory, or nobody knows, since nothing was said."""

LOGICAL = "logical"
"""The device type of GPUs that are only counted."""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster: what it holds, and the type of its GPUs as Ray names it."""

    cpus: float
    gpus: int = 0
    device_type: str = LOGICAL

    def fits(self, cpus: float, gpus: float) -> int:
        """How often a trial's shape fits; shares of a GPU do not span devices."""
        by_cpu = _quotient(self.cpus, cpus)
        if gpus == 0:
            return by_cpu
        return min(by_cpu, self.gpus * _quotient(1, gpus) if gpus < 1 else _quotient(self.gpus, gpus))


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one try runs: the share of one device, which type of device, and how much of its memory.

    `cap` is the share of the device's memory that the allocator may hold.
    """

    share: float
    device_type: str = LOGICAL
    cap: float = 1.0


@dataclass(frozen=True, slots=True)
class Task:
    """One try at one job, as it travels to a worker.

    Attributes:
        key: the job's name, unique within a run.
        attempt: which try of the ledger this is, from 1.
        spec: all that the worker needs, as JSON text.
        placement: None takes what the engine gives to every task.
    """

    key: str
    attempt: int
    spec: str
    placement: Placement | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What a worker says. The first is `started`; exactly one, the last, is final.

    `failed` carries `error` (a traceback), `kind` (a `FailureKind`), `retryable`, and `is_try`, whether it is
    one of those that a job has. `stopped` is said by the engine in a worker's place, once the source has
    ended the task.
    """

    event: Literal["started", "epoch", "completed", "failed", "stopped"]
    content: dict[str, Any] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        """Whether the attempt is over."""
        return self.event in ("completed", "failed", "stopped")

    def to_json(self) -> str:
        """JSON text.

        Raises:
            ValueError: a number is not finite; JSON has no such numbers.
        """
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Message":
        """The inverse of `to_json`."""
        return cls(**json.loads(text))


Executor = Callable[[str], Iterator[Message]]
"""Runs one task's spec; yields messages, the last of which is `completed`, or raises. Can be pickled."""


class Source(Protocol):
    """Decides what runs next."""

    def next_task(self) -> Task | None:
        """A task that may start now, or None where there is none at the moment."""

    def is_done(self) -> bool:
        """Whether nothing runs and nothing will ever be ready: the run is over."""

    def goes_on(self, task: Task, message: Message) -> bool:
        """Hear a message that is not final, durable already; False stops the task."""

    def ended(self, task: Task, message: Message) -> None:
        """Hear the final message of a task; it is durable already."""


class Sink(Protocol):
    """Keeps what workers say."""

    def record(self, task: Task, message: Message) -> None:
        """Make the message durable; an error ends the whole run."""


class Engine(Protocol):
    """Runs a source dry."""

    def run(self, source: Source, sink: Sink, should_stop: Callable[[], bool]) -> None:
        """Return once the source is done, or soon after `should_stop` first says so."""

    def nodes(self) -> list[Node]:
        """What it runs on, now."""


def attempt_messages(executor: Executor, spec: str) -> Iterator[str]:
    """Run an executor in this process; its messages as JSON text, an error with traceback as the last.

    A number that is not finite (a training that diverged) is such an error.

    Raises:
        Exception: a CUDA error: it poisons the process, which must end with it.
    """
    try:
        for message in executor(spec):
            reach(f"worker.{message.event}")
            yield message.to_json()
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        if _is_of_cuda(error, text):
            raise
        yield failure(text, retryable=is_machines_fault(error) or is_out_of_memory(text)).to_json()


def failure(error: str, *, retryable: bool, kind: FailureKind | None = None, is_try: bool = True) -> Message:
    """The final message of an attempt that failed; its text says of what kind, unless that is given."""
    if kind is None:
        kind = "memory" if is_out_of_memory(error) else "machine" if retryable else "config"
    return Message("failed", {"error": error, "retryable": retryable, "kind": kind, "is_try": is_try})


def is_machines_fault(error: Exception) -> bool:
    """Whether another try may succeed: disk full, memory, network; not a wrong config or a missing file."""
    if isinstance(error, FileNotFoundError):
        return False
    own = OSError | MemoryError | MachineFaultError
    return isinstance(error, own) or _is_named(error, _MACHINE_FAULTS)


def is_out_of_memory(error: str) -> bool:
    """Whether a traceback ends in a device's being out of memory; Ray's error of that name is the host's."""
    *_, last = ("", *_ERROR.findall(error))
    return _OUT_OF_MEMORY.match(last) is not None


def deliver(source: Source, sink: Sink, task: Task, message: Message) -> bool:
    """Tell the sink, then the source; False: the task is over, and its worker is not to go on."""
    sink.record(task, message)
    if not message.is_final:
        if source.goes_on(task, message):
            return True
        message = Message("stopped")
        sink.record(task, message)
    source.ended(task, message)
    return False


@dataclass(frozen=True)
class SerialEngine:
    """Runs one task after another in this process: for `lai verify`, and as the tests' reference."""

    executor: Executor
    poll_s: float = 0.05

    def nodes(self) -> list[Node]:
        """One device for the one task at a time."""
        return [Node(cpus=math.inf, gpus=1)]

    def run(self, source: Source, sink: Sink, should_stop: Callable[[], bool] = lambda: False) -> None:
        """See `Engine.run`."""
        while not source.is_done() and not should_stop():
            task = source.next_task()
            if task is None:
                time.sleep(self.poll_s)
                continue
            for message in attempt_messages(self.executor, task.spec):
                goes_on = deliver(source, sink, task, Message.from_json(message))
                if should_stop():
                    return
                if not goes_on:
                    break


def _is_of_cuda(error: Exception, text: str) -> bool:
    """Whether this process is not to use the device any more; of cuBLAS torch says so in words alone."""
    in_words = str(error).startswith("CUDA error: ") and not is_out_of_memory(text)
    return in_words or _is_named(error, {"AcceleratorError"})


def _quotient(held: float, needed: float) -> int:
    return math.floor(held / needed + 1e-9)  # 0.3 / 0.1 is a little less than 3


def _is_named(error: Exception, names: set[str]) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)

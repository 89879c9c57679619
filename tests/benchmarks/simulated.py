"""A simulated device pool: an engine in simulated time, whose trials have a true peak and a duration.

No Ray and no GPU. What it shows is the scheduler: which trial starts when, at which share, and what follows
when one needs more than it was given.
"""

import heapq
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tune.engine import Message, Node, Placement, Sink, Source, Task, deliver, failure
from tune.ledger.rows import ProbeRow
from tune.packing.shares import UNITS

CAPACITY = 1_000_000


@dataclass(frozen=True)
class Trial:
    """One job: a `tune.schedule.Job` that needs no other.

    Attributes:
        shape: its config shape.
        peak: memory that it truly takes, as a share of a device.
        probed: what a probe of its shape finds.
        duration: in simulated time, if it does not run out of memory.
    """

    key: str
    shape: str
    peak: float
    probed: float
    duration: float = 1.0
    needs: tuple[str, ...] = ()


@dataclass
class Maker:
    """Makes tasks of simulated trials: a `tune.packing.source.Maker`."""

    trials: dict[str, Trial]
    tries: dict[str, int] = field(default_factory=dict)
    refused: dict[str, Message] = field(default_factory=dict)

    def make_task(self, trial: Trial) -> Task:
        """As a schedule asks for it; never handed out."""
        return Task(trial.key, self.tries.get(trial.key, 0) + 1, "{}")

    def shape_of(self, key: str) -> str:
        """See `Maker`."""
        return self.trials[key].shape

    def placed(self, key: str, placement: Placement) -> Task:
        """See `Maker`."""
        self.tries[key] = self.tries.get(key, 0) + 1
        return Task(key, self.tries[key], json.dumps({"trial": key}), placement)

    def probe(self, key: str, placement: Placement) -> Task:
        """See `Maker`."""
        name = f"probe of {self.trials[key].shape} on {placement.device_type}"
        return Task(name, 1, json.dumps({"probe": key}), placement)

    def refuse(self, key: str, message: Message) -> None:
        """See `Maker`."""
        self.refused[key] = message


@dataclass
class _Device:
    device_type: str
    free_units: int = UNITS
    in_use: dict[str, float] = field(default_factory=dict)


@dataclass
class SimulatedEngine:
    """Runs a source on simulated devices.

    Attributes:
        cluster: its nodes.
        trials: by key.
        capped: whether a trial that takes more than its share is stopped, as CUDA's allocator does; without,
            whatever shares a device that is over-full is lost.
        probe_s: duration of a probe.
        now: simulated time.
        lost: keys of trials that a neighbour's memory ended.
        out_of_memory: keys of trials that took more than their own share, once for each try.
        started: every task with its placement, in order.
    """

    cluster: Sequence[Node]
    trials: dict[str, Trial]
    capped: bool = True
    probe_s: float = 0.0
    now: float = 0.0
    lost: list[str] = field(default_factory=list)
    out_of_memory: list[str] = field(default_factory=list)
    started: list[Task] = field(default_factory=list)

    def nodes(self) -> list[Node]:
        """See `tune.engine.Engine`."""
        return list(self.cluster)

    def run(self, source: Source, sink: Sink, should_stop: Callable[[], bool] = lambda: False) -> None:
        """See `tune.engine.Engine`.

        Raises:
            RuntimeError: the source waits for what will never come.
        """
        devices = [_Device(node.device_type) for node in self.cluster for _ in range(node.gpus)]
        running: list[tuple[float, int, Task, _Device, Message]] = []
        while not source.is_done() and not should_stop():
            while (task := source.next_task()) is not None:
                device = self._place(task, devices)
                deliver(source, sink, task, Message("started"))
                end, message = self._outcome(task, device)
                heapq.heappush(running, (end, len(self.started), task, device, message))
            if not running:
                if source.is_done():
                    return
                raise RuntimeError("nothing runs and nothing starts")
            self.now, _, task, device, message = heapq.heappop(running)
            device.free_units += round(task.placement.share * UNITS)
            device.in_use.pop(task.key)
            if task.key in self.lost and message.event == "completed":
                message = failure("the process was lost to a neighbour's memory", retryable=False)
            deliver(source, sink, task, message)

    def _place(self, task: Task, devices: list[_Device]) -> _Device:
        """On the fullest device that has room, as Ray does; there must be one."""
        self.started.append(task)
        units = round(task.placement.share * UNITS)
        fitting = [
            device
            for device in devices
            if device.device_type == task.placement.device_type and device.free_units >= units
        ]
        device = min(fitting, key=lambda device: device.free_units)
        device.free_units -= units
        return device

    def _outcome(self, task: Task, device: _Device) -> tuple[float, Message]:
        spec = json.loads(task.spec)
        if "probe" in spec:
            device.in_use[task.key] = 0.0
            return self.now + self.probe_s, Message("completed", {"probe": self._measured(task)})
        trial = self.trials[spec["trial"]]
        device.in_use[task.key] = trial.peak
        if self.capped and trial.peak > task.placement.cap:
            self.out_of_memory.append(task.key)
            device.in_use[task.key] = task.placement.cap
            return self.now + trial.duration / 2, failure("torch.OutOfMemoryError: simulated", retryable=True)
        if sum(device.in_use.values()) > 1 + 1e-9:
            self.lost += [key for key in device.in_use if key not in self.lost]
        return self.now + trial.duration, Message("completed")

    def _measured(self, task: Task) -> dict[str, object]:
        trial = self.trials[json.loads(task.spec)["probe"]]
        return vars_of(trial, task.placement.device_type)


def vars_of(trial: Trial, device_type: str) -> dict[str, object]:
    """A probe's row, as a worker says it."""
    return {
        "shape_id": trial.shape,
        "device_type": device_type,
        "meter": "declared",
        "peak_bytes": round(trial.probed * CAPACITY),
        "context_bytes": 0,
        "capacity_bytes": CAPACITY,
        "step_s": 0.1,
        "largest_step_s": 0.2,
        "steps_per_epoch": 10,
    }


@dataclass
class Rows:
    """A sink in memory."""

    rows: list[tuple[Task, Message]] = field(default_factory=list)

    def record(self, task: Task, message: Message) -> None:
        """See `tune.engine.Sink`."""
        self.rows.append((task, message))


def probe_row(trial: Trial, device_type: str = "logical") -> ProbeRow:
    """What the ledger holds of a probe."""
    return ProbeRow(**vars_of(trial, device_type))

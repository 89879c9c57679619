"""A source whose tasks share devices: what is not known is measured, then what fits best starts.

It wraps the source that decides what is to run. Tasks are drawn ahead of time, so that there is a choice, and
handed out with a placement. One that runs out of memory is kept, and handed out again with a larger share;
the inner source hears only how it ended at last.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from tune.engine import Message, Placement, Source, Task, failure, is_out_of_memory
from tune.ledger.rows import ProbeRow
from tune.packing.needs import Needs, too_large
from tune.packing.pool import Pool
from tune.packing.shares import UNITS

WINDOW = 256
"""Tasks among which what fits is chosen."""


class Maker(Protocol):
    """Makes tasks with a placement."""

    def shape_of(self, key: str) -> str:
        """The shape of a job."""

    def placed(self, key: str, placement: Placement) -> Task:
        """The next try at a job."""

    def probe(self, key: str, placement: Placement) -> Task:
        """A measurement of a job's shape."""

    def refuse(self, key: str, message: Message) -> None:
        """Record that a job fails without a try."""


@dataclass
class PackedSource:
    """A `tune.engine.Source` over another one.

    Attributes:
        inner: decides what is to run; its own tasks never reach a worker.
        maker: makes those that do.
        pool: the devices.
        needs: of the shapes.
        is_spent: whether nothing new may start.
        window: tasks drawn ahead.
        max_attempts: tries of one measurement.
    """

    inner: Source
    maker: Maker
    pool: Pool
    needs: Needs
    is_spent: Callable[[], bool] = lambda: False
    window: int = WINDOW
    max_attempts: int = 3
    _held: dict[str, Task] = field(init=False, default_factory=dict)
    """The inner source's tasks that wait, by key, in order."""
    _shapes: dict[str, str] = field(init=False, default_factory=dict)
    """Of all tasks that were drawn, by key."""
    _out: dict[str, tuple[Task, Task]] = field(init=False, default_factory=dict)
    """Handed out, by key: what the worker has, and the inner source's own."""
    _probing: dict[str, tuple[str, str]] = field(init=False, default_factory=dict)
    """Shape and device type of measurements that are out, by key."""
    _lost: Counter[tuple[str, str]] = field(init=False, default_factory=Counter)
    """Measurements that failed, by shape and device type."""

    def next_task(self) -> Task | None:
        """A measurement that is missing, else what fits best; None where nothing does at the moment."""
        if self.is_spent():
            return None
        self.pool.refresh()
        while len(self._held) < self.window and (task := self.inner.next_task()) is not None:
            self._held[task.key] = task
            self._shapes[task.key] = self.maker.shape_of(task.key)
        return self._next_probe() or self._next_placed()

    def is_done(self) -> bool:
        """Whether nothing is out and nothing more will be."""
        if self._out or self._probing:
            return False
        return self.is_spent() or (not self._held and self.inner.is_done())

    def goes_on(self, task: Task, message: Message) -> bool:
        """As the inner source says; a measurement does."""
        pair = self._out.get(task.key)
        return pair is None or pair[0] != task or self.inner.goes_on(pair[1], message)

    def ended(self, task: Task, message: Message) -> None:
        """Give the room back; keep what ran out of memory for a larger share, and pass the rest on."""
        if task.key in self._probing:
            self.pool.give_back(task.key)
            place = self._probing.pop(task.key)
            if message.event == "completed":
                self.needs.learn(ProbeRow(**message.content["probe"]))
            elif not self._is_measured_again(place, message):
                self.needs.give_up(place)
            return
        pair = self._out.get(task.key)
        if pair is None or pair[0] != task:
            return  # a word about a try that is over already
        del self._out[task.key]
        self.pool.give_back(task.key)
        if message.event == "failed" and is_out_of_memory(message.content["error"]) and task.placement:
            shape = self._shapes[task.key]
            self.needs.ran_out(shape, task.placement)
            if self._sizes_of(shape) or not self._is_measured(shape):
                self._held = {task.key: pair[1]} | self._held
                return
            text = message.content["error"].rstrip()
            why = f"OutOfMemoryError: {too_large(task.placement.device_type)}"
            message = failure(f"{text}\n{why}", retryable=False)
        self.inner.ended(pair[1], message)

    def _is_measured_again(self, place: tuple[str, str], message: Message) -> bool:
        """After a failure that another try may not have: a whole device would be as small again."""
        self._lost[place] += message.content["is_try"]
        may_help = message.content["retryable"] and message.content["kind"] != "memory"
        return may_help and self._lost[place] < self.max_attempts

    def _next_probe(self) -> Task | None:
        for key, (shape, device_type) in self._unmeasured():
            if self.pool.has_empty(device_type):
                task = self.maker.probe(key, Placement(1.0, device_type))
                self.pool.take(task.key, device_type, UNITS)
                self._probing[task.key] = (shape, device_type)
                return task
        return None

    def _unmeasured(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """What nothing is known about and nobody measures: a job that needs it, shape and device type."""
        wanted = {self._shapes[key]: key for key in reversed(self._held)}  # by its first job
        for shape, key in reversed(wanted.items()):
            for device_type in self.pool.device_types:
                place = (shape, device_type)
                if not self.needs.knows(place) and place not in self._probing.values():
                    yield key, place

    def _next_placed(self) -> Task | None:
        sizes = {shape: self._sizes_of(shape) for shape in {self._shapes[key] for key in self._held}}
        waiting: dict[str, Counter[int]] = {name: Counter() for name in self.pool.device_types}
        for key in list(self._held):
            own = sizes[self._shapes[key]]
            if not own and self._is_measured(self._shapes[key]):
                self._refuse(key)
            for device_type, size in own.items():
                waiting[device_type][size] += 1
        # A device runs empty for each measurement that waits for one.
        drained = Counter(device_type for _, (_, device_type) in self._unmeasured())
        choice = self.pool.choose(waiting, drained)
        if choice is None:
            return None
        device_type, size = choice
        key = next(key for key in self._held if sizes[self._shapes[key]].get(device_type) == size)
        task = self.maker.placed(key, self.needs.placement(device_type, size))
        self.pool.take(key, device_type, size)
        self._out[key] = task, self._held.pop(key)
        return task

    def _is_measured(self, shape: str) -> bool:
        """Whether it was on every type of device; never while there is no device."""
        types = self.pool.device_types
        return bool(types) and all(self.needs.knows((shape, name)) for name in types)

    def _refuse(self, key: str) -> None:
        """A job that no device can hold, as another of its shape showed."""
        types = ", ".join(self.pool.device_types)
        message = failure(f"OutOfMemoryError: {too_large(types)}", retryable=False)
        self.maker.refuse(key, message)
        self.inner.ended(self._held.pop(key), message)

    def _sizes_of(self, shape: str) -> dict[str, int]:
        """By device type, where a shape was measured and fits."""
        return self.needs.sizes_of(shape, self.pool.device_types)

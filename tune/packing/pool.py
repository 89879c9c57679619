"""The devices of a cluster as the driver sees them: which size is to start next, and where.

The driver counts what it has started, by device type; on which device of a type a task lands is Ray's choice
(it takes the fullest that has room, as is done here).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lai_net.errors import InputError
from tune.engine import Node
from tune.packing.shares import UNITS

Sizes = Mapping[str, Mapping[int, int]]
"""What waits: by device type, how many tasks of each size, in thousandths."""


@dataclass
class _Device:
    node: int
    device_type: str
    room: int = UNITS


@dataclass
class Pool:
    """Devices with room.

    Attributes:
        nodes: tells those of the cluster.
        cpus: of one trial.
        device_types: those of the cluster when it was last looked at.

    Raises:
        InputError: no node has a GPU and the CPUs of a trial.
    """

    nodes: Callable[[], Sequence[Node]]
    cpus: float = 1.0
    device_types: tuple[str, ...] = field(init=False, default=())
    _seen: Sequence[Node] = field(init=False, default=())
    _held: dict[str, tuple[str, int]] = field(init=False, default_factory=dict)
    """Device type and size of what was started, by key."""
    _places: dict[str, _Device] = field(init=False, default_factory=dict)
    """Where that is counted; what was on a device that is gone may find none, until it is given back."""

    def __post_init__(self) -> None:
        self.refresh()
        if not self._devices:
            raise InputError(
                'gpus_per_trial = "measured" needs GPUs, but no node has one beside the CPUs of a trial; '
                "give a number, or, to try the packing without a GPU, counted ones by `gpus` in [resources]"
            )

    def refresh(self) -> None:
        """Look at the cluster: nodes may have joined or gone."""
        nodes = self.nodes()
        if not self._seen or Counter(nodes) != Counter(self._seen):
            self._seen = list(nodes)
            self._lay_out()

    def has_empty(self, device_type: str) -> bool:
        """Whether a device of that type has nothing on it."""
        return any(device.device_type == device_type and device.room == UNITS for device in self._with_room())

    def choose(self, sizes: Sizes, drained: Mapping[str, int]) -> tuple[str, int] | None:
        """The device type and size that should start next; None where nothing fits.

        The fullest device with room is filled first. An empty one begins with the largest that waits, and
        each gets next what leaves the least room when it is full, or its node has no free CPU more (minimum
        bin slack, Gupta and Ho 1999).

        Args:
            sizes: what waits.
            drained: by device type, how many of the emptiest devices are to become empty.
        """
        for device in sorted(self._kept(drained), key=lambda device: device.room):
            own = sizes.get(device.device_type, {})
            waiting = {size: count for size, count in own.items() if size <= device.room}
            if waiting:
                most = int(min(UNITS, self._free_cpus[device.node] / self.cpus + 1e-6))
                is_empty = device.room == UNITS
                first = max(waiting) if is_empty else best_next(device.room, waiting, most)
                return device.device_type, first
        return None

    def take(self, key: str, device_type: str, size: int) -> None:
        """Give a task its room on the fullest device of that type that has it.

        Raises:
            ValueError: none has.
        """
        self._held[key] = device_type, size
        if not self._put(key):
            del self._held[key]
            raise ValueError(f"no {device_type} has room for {size} thousandths")

    def give_back(self, key: str) -> None:
        """Take a task's room back."""
        _, size = self._held.pop(key)
        if (device := self._places.pop(key, None)) is not None:
            device.room += size
            self._free_cpus[device.node] += self.cpus
        if len(self._places) < len(self._held):
            self._lay_out()

    def _lay_out(self) -> None:
        """Count the devices anew, and on them what was started, the largest first."""
        self._free_cpus = [node.cpus for node in self._seen]
        self._devices = [
            _Device(number, node.device_type)
            for number, node in enumerate(self._seen)
            if node.cpus >= self.cpus
            for _ in range(node.gpus)
        ]
        self.device_types = tuple(dict.fromkeys(device.device_type for device in self._devices))
        self._places.clear()
        for key in sorted(self._held, key=lambda key: -self._held[key][1]):
            self._put(key)

    def _put(self, key: str) -> bool:
        """Count a task on the fullest device that has room for it; False where none has."""
        device_type, size = self._held[key]
        fitting = [
            device
            for device in self._with_room()
            if device.device_type == device_type and device.room >= size
        ]
        if not fitting:
            return False
        device = self._places[key] = min(fitting, key=lambda device: device.room)
        device.room -= size
        self._free_cpus[device.node] -= self.cpus
        return True

    def _kept(self, drained: Mapping[str, int]) -> list[_Device]:
        kept = []
        for device_type in self.device_types:
            own = [device for device in self._with_room() if device.device_type == device_type]
            own.sort(key=lambda device: device.room)
            kept += own[: max(0, len(own) - drained.get(device_type, 0))]
        return kept

    def _with_room(self) -> list[_Device]:
        return [
            device
            for device in self._devices
            if device.room > 0 and self._free_cpus[device.node] >= self.cpus - 1e-9
        ]


def best_next(room: int, waiting: Mapping[int, int], most: int) -> int:
    """The largest size of what leaves the least of `room`; of equal fills the one that begins larger.

    Args:
        room: in thousandths.
        waiting: how many of each size; one of them fits.
        most: tasks that fill it.
    """
    within = (1 << room + 1) - 1
    sums = [1] + [0] * min(most, room // min(waiting))  # by number of tasks; bit s: they can take s together
    best = (0, 0)
    for size in sorted(waiting):
        for _ in range(min(waiting[size], room // size)):
            for number in range(len(sums) - 1, 0, -1):
                with_it = sums[number - 1] << size & within
                sums[number] |= with_it
                best = max(best, (with_it.bit_length() - 1, size))
    return best[1]

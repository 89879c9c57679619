"""The devices of a cluster as the driver sees them: which size is to start next, and where.

The driver counts what it has started, by device type; on which device of a type a task lands is Ray's choice
(it takes the fullest that has room, as is done here).
"""

from collections.abc import Mapping, Sequence
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
        nodes: of the cluster.
        cpus: of one trial.
        device_types: those of the cluster.

    Raises:
        InputError: no node has a GPU and the CPUs of a trial.
    """

    nodes: Sequence[Node]
    cpus: float = 1.0
    device_types: tuple[str, ...] = field(init=False)
    _held: dict[str, tuple[_Device, int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._free_cpus = [node.cpus for node in self.nodes]
        self._devices = [
            _Device(number, node.device_type)
            for number, node in enumerate(self.nodes)
            if node.cpus >= self.cpus
            for _ in range(node.gpus)
        ]
        if not self._devices:
            raise InputError(
                'gpus_per_trial = "measured" needs GPUs, but no node has one beside the CPUs of a trial; '
                "give a number, or, to try the packing without a GPU, counted ones by `gpus` in [resources]"
            )
        self.device_types = tuple(dict.fromkeys(device.device_type for device in self._devices))

    def has_empty(self, device_type: str) -> bool:
        """Whether a device of that type has nothing on it."""
        return any(device.device_type == device_type and device.room == UNITS for device in self._with_room())

    def choose(self, sizes: Sizes, drained: Mapping[str, int]) -> tuple[str, int] | None:
        """The device type and size that should start next; None where nothing fits.

        The fullest device with room is filled first. An empty one begins with the largest that waits, and
        each gets next what leaves the least room when it is full (minimum bin slack, Gupta and Ho 1999).

        Args:
            sizes: what waits.
            drained: by device type, how many of the emptiest devices are to become empty.
        """
        for device in sorted(self._kept(drained), key=lambda device: device.room):
            waiting = sorted(
                (
                    (size, count)
                    for size, count in sizes.get(device.device_type, {}).items()
                    if size <= device.room
                ),
                reverse=True,
            )
            if waiting:
                first = waiting[0][0] if device.room == UNITS else best_fill(device.room, waiting)[0]
                return device.device_type, first
        return None

    def take(self, key: str, device_type: str, size: int) -> None:
        """Give a task its room on the fullest device of that type that has it.

        Raises:
            ValueError: none has.
        """
        fitting = [
            device
            for device in self._with_room()
            if device.device_type == device_type and device.room >= size
        ]
        if not fitting:
            raise ValueError(f"no {device_type} has room for {size} thousandths")
        device = min(fitting, key=lambda device: device.room)
        device.room -= size
        self._free_cpus[device.node] -= self.cpus
        self._held[key] = device, size

    def give_back(self, key: str) -> None:
        """Take a task's room back."""
        device, size = self._held.pop(key)
        device.room += size
        self._free_cpus[device.node] += self.cpus

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


def best_fill(room: int, waiting: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """The sizes that leave the least of `room`, largest first; of equal ones that with the larger first.

    Args:
        room: in thousandths.
        waiting: size and how many of it, in descending order of size.
    """
    if not waiting or room <= 0:
        return ()
    (size, count), *rest = waiting
    fills = (
        (size,) * number + best_fill(room - number * size, rest)
        for number in range(min(count, room // size), -1, -1)
    )
    return max(fills, key=sum)

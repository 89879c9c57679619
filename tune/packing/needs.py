"""What each config shape needs on each type of device: measured, and corrected by what ran out of memory."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tune.engine import Placement, is_out_of_memory
from tune.ledger.rows import AttemptRow, ProbeRow
from tune.packing.shares import UNITS, choose_sizes, needed_units, next_larger

ShapeOnDevice = tuple[str, str]
"""Shape id and device type."""


@dataclass
class Needs:
    """Shares by shape and device type, in thousandths.

    Attributes:
        probes: what the ledger holds.
        attempts: the ledger's; those that ran out of memory raise what their shape gets.
    """

    probes: Mapping[ShapeOnDevice, ProbeRow] = field(default_factory=dict)
    attempts: Iterable[AttemptRow] = ()

    def __post_init__(self) -> None:
        self._units: dict[ShapeOnDevice, int] = {}
        self._context: dict[str, float] = {}
        self._too_large: set[ShapeOnDevice] = set()
        self._shapes: set[str] = set()  # that were asked for: the sizes are theirs
        for row in self.probes.values():
            self.learn(row)
        for attempt in self.attempts:
            packing = attempt.provenance.get("packing")
            if packing is not None and attempt.error is not None and is_out_of_memory(attempt.error):
                place = (packing["shape_id"], packing["device_type"])
                units = round(packing["share"] * UNITS)
                # What was too large for a whole device is tried again by a new call, as any failed trial is.
                self._units[place] = max(self._units.get(place, 0), next_larger(units) or UNITS)

    def learn(self, row: ProbeRow) -> None:
        """Take a measurement."""
        place = (row.shape_id, row.device_type)
        self._units[place] = max(self._units.get(place, 0), needed_units(row))
        context = row.context_bytes / row.capacity_bytes
        self._context[row.device_type] = max(context, self._context.get(row.device_type, 0.0))

    def give_up(self, place: ShapeOnDevice) -> None:
        """A shape that could not be measured gets whole devices."""
        self._units[place] = UNITS

    def knows(self, place: ShapeOnDevice) -> bool:
        """Whether nothing is to be measured."""
        return place in self._units

    def sizes_of(self, shape: str, device_types: Iterable[str]) -> dict[str, int]:
        """What a trial of a shape gets, by type of device: its need rounded up to one of few sizes.

        Left out are types where it was not measured, and those that are too small for it.
        """
        self._shapes.add(shape)
        sizes = {}
        for device_type in device_types:
            need = self._units.get((shape, device_type))
            if need is not None and (shape, device_type) not in self._too_large:
                needs = [self._units.get((other, device_type), 0) for other in self._shapes]
                sizes[device_type] = min(size for size in _chosen(tuple(sorted(needs))) if size >= need)
        return sizes

    def placement(self, device_type: str, size: int) -> Placement:
        """A share with its cap: what the allocator may hold is the share less the process' own context."""
        share = size / UNITS
        return Placement(share, device_type, cap=max(share - self._context.get(device_type, 0.0), 1 / UNITS))

    def ran_out(self, shape: str, placement: Placement) -> None:
        """Raise what a shape gets after an attempt that ran out of memory."""
        place = (shape, placement.device_type)
        larger = next_larger(round(placement.share * UNITS))
        if larger is None:
            self._too_large.add(place)
        else:
            self._units[place] = max(self._units.get(place, 0), larger)


def too_large(device_type: str) -> str:
    """What is wrong, and what to do, with a trial that a whole device does not hold."""
    return (
        f"needs more than a whole device ({device_type}); lower training.batch_size, or set "
        "training.micro_batch_tokens or training.activation_checkpointing"
    )


@functools.lru_cache(maxsize=64)
def _chosen(needs: tuple[int, ...]) -> tuple[int, ...]:
    return choose_sizes(need for need in needs if need > 0)

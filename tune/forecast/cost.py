"""What one trial costs, by its likes or a probe of its shape, and how many run side by side."""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lai_net.errors import InputError
from tune.engine import Node
from tune.ledger.ledger import Ledger
from tune.ledger.rows import ProbeRow
from tune.packing.needs import Needs
from tune.packing.shape import shape_id
from tune.packing.shares import UNITS
from tune.planning.plan import PlannedTrial
from tune.spec.study import Resources


@dataclass(frozen=True)
class Cost:
    """Seconds of one trial, its share of a GPU, and how many of its kind run side by side."""

    least_s: float
    most_s: float
    share: float
    lanes: float


class CostModel:
    """What trials cost on a cluster's nodes, or on this machine with the GPUs of the study's `resources`.

    Raises:
        InputError: no node can hold a trial.
    """

    def __init__(self, ledger: Ledger, resources: Resources, nodes: Sequence[Node] | None) -> None:
        self._resources = resources
        self._types = None if nodes is None else {node.device_type for node in nodes if node.gpus}
        self._nodes = nodes or [Node(os.cpu_count() or 1, resources.gpus or 0)]
        if nodes is not None and not any(self._lanes_on(node, resources.fixed_share) for node in nodes):
            raise InputError(
                f"a trial needs {resources.cpus_per_trial:g} CPUs and {resources.fixed_share:g} GPUs, but no "
                f"node of the cluster holds that ({nodes_in_words(nodes)}); change the study's [resources]"
            )
        self._needs = Needs(ledger.probes())
        self._by_shape: dict[str, list[ProbeRow]] = defaultdict(list)
        for (shape, _), row in ledger.probes().items():
            if self._types is None or row.device_type in self._types:
                self._by_shape[shape].append(row)
        rows = ledger.trials() if self._by_shape else []
        self._encoder_ids = {row.config["encoder"]["name"]: row.encoder_id for row in rows}

    def cost(self, trial: PlannedTrial, wall_s: Sequence[float]) -> Cost | None:
        """Of a trial whose likes took so long; None where neither they nor a probe say."""
        encoder_id = self._encoder_ids.get(trial.config.encoder.name)
        shape = "" if encoder_id is None else shape_id(trial.config, trial.dataset, encoder_id)
        rows = self._by_shape.get(shape, [])
        shares = self._shares(shape, rows)
        share = max(shares.values(), default=self._resources.fixed_share)
        lanes = self._lanes(shares, share)
        if wall_s:
            return Cost(min(wall_s), max(wall_s), share, lanes)
        if not rows:
            return None
        epochs = trial.config.training.epochs
        least = min(row.step_s * row.steps_per_epoch for row in rows) * epochs
        most = max(row.largest_step_s * row.steps_per_epoch for row in rows) * epochs
        return Cost(least, most, share, lanes)

    def _shares(self, shape: str, rows: Sequence[ProbeRow]) -> dict[str, float]:
        """Of a device, by its type, as far as it was measured."""
        if not self._resources.is_measured:
            return {}
        sizes = self._needs.sizes_of(shape, [row.device_type for row in rows])
        return {device_type: size / UNITS for device_type, size in sizes.items()}

    def _lanes(self, share_of: Mapping[str, float], share: float) -> float:
        """How many trials of such shares run side by side."""
        lanes = sum(self._lanes_on(node, share_of.get(node.device_type, share)) for node in self._nodes)
        most = self._resources.max_concurrent
        return lanes if most is None else min(lanes, most)

    def _lanes_on(self, node: Node, share: float) -> float:
        if self._resources.is_measured:
            return min(node.fits(self._resources.cpus_per_trial, 0), node.gpus / share)
        return node.fits(self._resources.cpus_per_trial, share)


def nodes_in_words(nodes: Sequence[Node]) -> str:
    """What a cluster holds, for people."""
    gpus = Counter(name for node in nodes for name in [node.device_type] * node.gpus)
    held = [f"{sum(node.cpus for node in nodes):g} CPUs", *(f"{gpus[name]} {name}" for name in sorted(gpus))]
    return f"{sum(node.cpus > 0 for node in nodes)} nodes: {', '.join(held)}"

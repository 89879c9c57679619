"""States of frozen encoders in Ray's object store: each node gets them once, and its workers map them.

They are computed once, under the lock of the folder that all nodes share, and stay there for later runs. What
carries them to the nodes is an actor of the driver: it owns them, so that they outlive the trials that made
them. Ray keeps one copy a node, in memory that its processes share, and puts what does not fit on disk.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from tune import ray_environment  # noqa: F401 - ray reads it at its import

# isort: split
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lai_net.model.stored_features import Arrays


class _Owner:
    """Keeps the arrays of each key as one object of the store."""

    def __init__(self) -> None:
        self._kept: dict[str, ray.ObjectRef[dict[str, np.ndarray]]] = {}

    def keep(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        if key not in self._kept:
            self._kept[key] = ray.put(arrays)

    def find(self, key: str) -> "list[ray.ObjectRef[dict[str, np.ndarray]]]":
        """In a list, since Ray would send the arrays in place of a bare reference."""
        return [self._kept[key]] if key in self._kept else []


@dataclass(frozen=True)
class ObjectStoreCarrier:
    """A `lai_net.training.features.Carrier` for the workers of a cluster; make one with `start`.

    Attributes:
        owner: handle of an actor of `_Owner`, whose methods Ray makes at run time.
    """

    owner: Any

    @classmethod
    def start(cls) -> Self:
        """Start the owner beside the driver, with which it ends."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return cls(ray.remote(_Owner).options(num_cpus=0, scheduling_strategy=here).remote())

    def fetch(self, key: str) -> Arrays | None:
        """The arrays as this node has them, read-only; they come here with the first call on the node."""
        found: list[ray.ObjectRef[dict[str, np.ndarray]]] = ray.get(self.owner.find.remote(key))
        return ray.get(found[0]) if found else None

    def offer(self, key: str, arrays: Arrays) -> None:
        """Hand arrays to the owner."""
        ray.get(self.owner.keep.remote(key, dict(arrays)))

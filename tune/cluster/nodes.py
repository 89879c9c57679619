"""The nodes of the Ray cluster that this process has joined."""

import math
import time
from dataclasses import dataclass, field

from tune import ray_environment  # noqa: F401 - ray reads it at its import

# isort: split
import ray

from tune.engine import LOGICAL, Node

TYPE_PREFIX = "accelerator_type:"
"""Of Ray's resource that names the type of a node's GPUs: `accelerator_type:GeForce-RTX-3090`, one a node."""

_LOOK_S = 2.0  # between looks at the cluster's nodes


@dataclass
class Nodes:
    """The cluster's nodes; they may come and go."""

    found: list[Node] = field(default_factory=list)
    looked: float = -math.inf

    def __call__(self) -> list[Node]:
        """As of a few seconds ago at most: asked for at every step of Tune's."""
        if time.monotonic() - self.looked >= _LOOK_S:
            self.found, self.looked = alive_nodes(), time.monotonic()
        return self.found


def alive_nodes() -> list[Node]:
    """Those that are there now."""
    return [node_of(node["Resources"]) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def node_of(resources: dict[str, float]) -> Node:
    """A node as Ray describes it: the name of a resource is the type of its GPUs, or of the first of them."""
    types = [name.removeprefix(TYPE_PREFIX) for name in resources if name.startswith(TYPE_PREFIX)]
    return Node(resources.get("CPU", 0), int(resources.get("GPU", 0)), types[0] if types else LOGICAL)

"""The order in which `backward` goes through passes that share their layers.

Autograd runs, of the nodes that are ready, the one created last: first the whole of the last pass, then that
of the pass before. The gradients of all weights are then held beside the activations of the earlier passes.
Layer by layer the activations of a layer go before the gradients of the one below come.
"""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

_LAYER = "layer"


def end_layer(states: Tensor, number: int) -> None:
    """Note in the graph that these are the states after layer `number` in one of the passes.

    Not in compiled passes, of which the graph has no layers.
    """
    if torch.compiler.is_compiling() or states.grad_fn is None:
        return
    node: Any = states.grad_fn
    node.metadata[_LAYER] = number


def go_back_by_layer(loss: Tensor) -> None:
    """Let `backward` finish a layer in every pass before it begins the layer below in any.

    Within a layer the order stays, and so do all sums of gradients, to the last bit. What is outside the
    layers, such as heads, comes first whenever it is ready.
    """
    seen: set[Any] = set()
    nodes = _unseen([loss.grad_fn], seen)
    ends = defaultdict(list)
    for node in nodes:
        if _LAYER in node.metadata:
            ends[node.metadata[_LAYER]].append(node)
    seen.clear()
    ordered = [node for _, layer in sorted(ends.items()) for node in _unseen(layer, seen)]
    ordered += [node for node in nodes if node not in seen]
    for number, node in enumerate(ordered):
        node._set_sequence_nr(number)


def _unseen(nodes: list[Any], seen: set[Any]) -> list[Any]:
    """Nodes and all below them that were not seen before, in their order; without leaves, which have none."""
    found = []
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen and node.next_functions:
            seen.add(node)
            found.append(node)
            nodes += [below for below, _ in node.next_functions]
    return sorted(found, key=lambda node: node._sequence_nr())

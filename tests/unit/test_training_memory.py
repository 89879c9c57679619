"""A training step holds less and changes no bit; freed memory goes back to the system."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from lai_net.active_settings import active_settings
from lai_net.config import GraphConfig, TrialConfig
from lai_net.model.backward_order import go_back_by_layer
from lai_net.model.g4cn import G4CN
from lai_net.process_memory import hand_back, kernel_bytes
from lai_net.schema import Corpus
from lai_net.settings import with_settings
from lai_net.streams import Streams
from tests.unit.stepping import CPU, step, task_of


@pytest.mark.parametrize(
    ("phase", "settings"),
    [("NER", {"filter.stage": "text"}), ("NER", {"filter.stage": "marker"}), ("RE", {})],
    ids=["text filter", "marker filter", "RE"],
)
def test_backward_finishes_a_layer_of_all_passes_before_the_one_below_and_changes_no_bit(
    phase: str, settings: dict[str, Any], tiny_encoder: str, corpus: Corpus
) -> None:
    def run(by_layer: bool) -> tuple[list[int], dict[str, torch.Tensor]]:
        task = task_of(phase, tiny_encoder, corpus, settings)
        ((loss,),) = map(list, task.steps(1))
        if by_layer:
            go_back_by_layer(loss)
        order: list[int] = []
        for node in nodes_of(loss):
            if "layer" in node.metadata:
                node.register_hook(lambda *_, number=node.metadata["layer"]: order.append(number))
        loss.backward()  # type: ignore[no-untyped-call]
        return order, {name: p.grad for name, p in task.model.named_parameters() if p.grad is not None}

    order, gradients = run(by_layer=False)
    assert len(order) == 6, "text, annotations and markers have two layers each"
    assert order != sorted(order, reverse=True)
    order, same = run(by_layer=True)
    assert order == sorted(order, reverse=True)
    assert all(torch.equal(same[name], gradient) for name, gradient in gradients.items())


def nodes_of(loss: torch.Tensor) -> set[Any]:
    """The whole graph."""
    found: set[Any] = set()
    below: list[Any] = [loss.grad_fn]
    while below:
        node = below.pop()
        if node is not None and node not in found:
            found.add(node)
            below += [parent for parent, _ in node.next_functions]
    return found


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_checkpointing_holds_less_and_changes_no_bit(
    phase: str, precision: str, tiny_encoder: str, corpus: Corpus
) -> None:
    def run(checkpointing: bool) -> tuple[int, tuple[list[float], dict[str, torch.Tensor]]]:
        settings = {"training.activation_checkpointing": checkpointing, "training.precision": precision}
        task = task_of(phase, tiny_encoder, corpus, settings)
        with counting_saved() as held:
            result = step(task)
        return sum(held), result

    held, (losses, gradients) = run(False)
    held_less, (same_losses, same_gradients) = run(True)
    assert same_losses == losses
    assert all(torch.equal(same_gradients[name], gradient) for name, gradient in gradients.items())
    assert held_less < 0.6 * held


@contextmanager
def counting_saved() -> Iterator[list[int]]:
    """Bytes of each tensor that autograd keeps for the backward pass."""
    held: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        held.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield held


def test_checkpointing_is_no_other_trial() -> None:
    config = TrialConfig(phase="NER")
    assert active_settings(with_settings(config, {"training.activation_checkpointing": True})) == (
        active_settings(config)
    )
    split = replace(config, training=replace(config.training, micro_batch_tokens=9))
    assert active_settings(split)["training"]["micro_batch_tokens"] == 9


def test_the_graph_holds_its_adjacency_and_nothing_it_is_made_of() -> None:
    graph = G4CN(8, GraphConfig(layers=1, heads=2), Streams(1, CPU))
    nodes = torch.randn(1, 50, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with counting_saved() as held:
        graph(nodes, torch.ones(1, 50, dtype=torch.bool)).sum().backward()
    assert sum(size >= 2 * 50 * 50 * 4 for size in held) == 1


def test_freed_memory_is_handed_back() -> None:
    blocks = [bytearray(100_000) for _ in range(1_000)]  # below glibc's threshold for pages of their own
    last = bytearray(100_000)
    blocks.clear()
    before = kernel_bytes("VmRSS")
    hand_back()
    assert before - kernel_bytes("VmRSS") > 50_000_000
    assert last

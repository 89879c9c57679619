from typing import Any

import numpy as np
import pytest
import torch

from lai_net.config import FilterConfig, GraphConfig
from lai_net.errors import InputError
from lai_net.model.candidate_filter import cold_candidates, kept_first, select_candidates
from lai_net.model.g4cn import G4CN, gaussian_divergence, normalised
from lai_net.streams import Streams


def graph(layers: int = 2, heads: int = 3, width: int = 12, **reading: Any) -> G4CN:
    config = GraphConfig(layers=layers, heads=heads, **reading)
    module = G4CN(width, config, Streams(3, torch.device("cpu"))).eval()
    with torch.no_grad():  # as after some training
        module.norm.weight.copy_(torch.linspace(0.5, 1.5, width))
        module.norm.bias.copy_(torch.linspace(-0.2, 0.3, width))
    return module


def reference(module: G4CN, nodes: np.ndarray) -> np.ndarray:
    """Equation by equation, node by node, for one sentence without padding."""

    def numpy(tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().double().numpy()

    def mlp(network: torch.nn.Sequential, row: np.ndarray) -> np.ndarray:
        hidden = torch.nn.functional.gelu(
            torch.tensor(numpy(network[0].weight) @ row + numpy(network[0].bias))
        )
        return numpy(network[2].weight) @ hidden.numpy() + numpy(network[2].bias)

    centred = nodes - nodes.mean(1, keepdims=True)
    states = centred / np.sqrt(nodes.var(1, keepdims=True) + 1e-5)
    states = states * numpy(module.norm.weight) + numpy(module.norm.bias)
    mean = np.stack([mlp(module.mean, row) for row in states])
    raw = np.stack([mlp(module.spread, row) for row in states]) + module.sigma_offset
    sigma = np.log1p(np.exp(raw)) + module.sigma_min
    count, views = mean.shape
    for layer in module.layers:
        mixed = []
        linear = states @ numpy(layer.weight).T + numpy(layer.bias)
        width = linear.shape[1] // views
        for view in range(views):
            weights = np.zeros((count, count))
            for i in range(count):
                for j in range(count):
                    a, b = (i, j) if module.direction == "paper" else (j, i)
                    if i != j:
                        divergence = (
                            np.log(sigma[b, view] / sigma[a, view])
                            + (sigma[a, view] ** 2 + (mean[a, view] - mean[b, view]) ** 2)
                            / (2 * sigma[b, view] ** 2)
                            - 0.5
                        )
                        weights[i, j] = min(divergence, 1e4)
            looped = weights + np.eye(count)
            degrees = np.diag(looped.sum(1))
            if module.normalization == "row":
                shares = np.linalg.inv(degrees) @ looped
            else:
                shares = np.linalg.inv(np.sqrt(degrees)) @ looped @ np.linalg.inv(np.sqrt(degrees))
            mixed.append(np.maximum(shares @ linear[:, view * width : (view + 1) * width], 0))
        states = np.concatenate(mixed, axis=1)
    return states


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("heads", [1, 3])
def test_g4cn_equals_the_equations(layers: int, heads: int) -> None:
    module = graph(layers, heads)
    nodes = torch.randn(1, 5, 12, generator=torch.Generator().manual_seed(0))
    found = module(nodes, torch.ones(1, 5, dtype=torch.bool))[0].detach().numpy()
    np.testing.assert_allclose(found, reference(module, nodes[0].double().numpy()), atol=2e-5)


@pytest.mark.parametrize("direction", ["paper", "gdpnet"])
@pytest.mark.parametrize("normalization", ["row", "symmetric"])
def test_g4cn_equals_the_equations_in_every_reading(direction: str, normalization: str) -> None:
    module = graph(2, 3, direction=direction, normalization=normalization)
    nodes = torch.randn(1, 5, 12, generator=torch.Generator().manual_seed(0))
    found = module(nodes, torch.ones(1, 5, dtype=torch.bool))[0].detach().numpy()
    np.testing.assert_allclose(found, reference(module, nodes[0].double().numpy()), atol=2e-5)
    if (direction, normalization) != ("paper", "row"):
        base = graph(2, 3)(nodes, torch.ones(1, 5, dtype=torch.bool))[0].detach().numpy()
        assert np.abs(found - base).max() > 1e-3


@pytest.mark.parametrize("normalization", ["row", "symmetric"])
def test_padding_changes_no_node(normalization: str) -> None:
    module = graph(normalization=normalization)
    nodes = torch.randn(1, 4, 12, generator=torch.Generator().manual_seed(1))
    padded = torch.cat([nodes, torch.full((1, 3, 12), 9.0)], dim=1)
    valid = torch.tensor([[True] * 4 + [False] * 3])
    alone = module(nodes, torch.ones(1, 4, dtype=torch.bool))
    torch.testing.assert_close(module(padded, valid)[:, :4], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("direction", ["paper", "gdpnet"])
@pytest.mark.parametrize("normalization", ["row", "symmetric"])
@pytest.mark.parametrize("nature", ["any", "equal Gaussians", "equal nodes", "far apart"])
@pytest.mark.parametrize("valid", ["1", "0", "1111", "0000", "1011"])
def test_g4cn_equals_the_equations_at_the_edges(
    valid: str, nature: str, normalization: str, direction: str
) -> None:
    """One node, nothing but padding, equal Gaussians, some at the bound; padding is a graph of its own."""
    module = graph(2, 3, normalization=normalization, direction=direction)
    nodes = torch.randn(1, len(valid), 12, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        if nature == "equal Gaussians":
            for network in (module.mean, module.spread):
                network[2].weight.zero_()
        elif nature == "far apart":
            module.mean[2].weight.mul_(400)
    if nature == "equal nodes":
        nodes = nodes[:, :1].expand_as(nodes)
    is_node = np.array([mark == "1" for mark in valid])
    exact = nodes[0].double().numpy()
    expected = np.concatenate([reference(module, exact[at : at + 1]) for at in range(len(valid))])
    if is_node.any():
        expected[is_node] = reference(module, exact[is_node])
    found = module(nodes, torch.from_numpy(is_node)[None])[0].detach().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("normalization", ["row", "symmetric"])
def test_nodes_without_content_stay_finite(normalization: str) -> None:
    found = graph(normalization=normalization)(torch.zeros(1, 3, 12), torch.ones(1, 3, dtype=torch.bool))
    assert torch.isfinite(found).all()


def test_equal_gaussians_leave_each_node_to_itself() -> None:
    adjacency = gaussian_divergence(torch.zeros(1, 3, 2), torch.ones(1, 3, 2))
    assert adjacency.abs().max() == 0
    shares = normalised(adjacency, torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(shares, torch.eye(3).expand(1, 2, 3, 3))


def test_rows_sum_to_one_and_the_divergence_is_directed() -> None:
    mean = torch.tensor([[[0.0], [1.0], [3.0]]])
    sigma = torch.tensor([[[1.0], [0.5], [2.0]]])
    adjacency = gaussian_divergence(mean, sigma)
    assert adjacency[0, 0, 0, 1] == pytest.approx(float(np.log(0.5) + 2 / 0.5 - 0.5))
    assert adjacency[0, 0, 1, 0] == pytest.approx(float(np.log(2.0) + 1.25 / 2 - 0.5))
    shares = normalised(adjacency, torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(shares.sum(-1), torch.ones(1, 1, 3))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(InputError, match=r"graph\.heads must divide the encoder's hidden size 12, but got 5"):
        graph(heads=5)


@pytest.mark.parametrize(("layers", "heads"), [(3, 3), (1, 4)])
def test_more_layers_or_views_shift_no_other_parameter(layers: int, heads: int) -> None:
    base, other = graph(2, 3), graph(layers, heads)
    torch.testing.assert_close(base.mean[0].weight, other.mean[0].weight)
    torch.testing.assert_close(base.layers[0].weight, other.layers[0].weight)


FILTER = FilterConfig(ratio=0.5, min_kept=1, max_kept=3, threshold=0.5)


def chosen(logits: list[float], words: int, config: FilterConfig = FILTER) -> list[int]:
    tensor = torch.tensor([logits])
    valid = tensor > -100
    return select_candidates(tensor, valid, torch.tensor([words]), config)[0].nonzero().flatten().tolist()


@pytest.mark.parametrize(
    ("logits", "words", "expected"),
    [
        ([-5.0, -4.0, -6.0], 9, [1]),
        ([2.0, 1.0, 3.0, 0.5], 4, [0, 2]),
        ([2.0, 1.0, 3.0, 0.5], 99, [0, 1, 2]),
        ([2.0, -1.0, 3.0], 99, [0, 2]),
        ([1.0, 1.0, 1.0], 2, [0]),
        ([1.0, -1000.0, 1.0], 99, [0, 2]),
    ],
    ids=["min kept", "ratio", "max kept", "threshold", "ties go to the first", "padding"],
)
def test_select_candidates(logits: list[float], words: int, expected: list[int]) -> None:
    assert chosen(logits, words) == expected


def test_cold_candidates_are_gold_and_their_hardest_rivals() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0, 9.0]])
    valid = torch.tensor([[True, True, True, True, False]])
    gold = torch.tensor([[False, False, True, False, False]])
    assert cold_candidates(logits, valid, gold, 0)[0].tolist() == [False, False, True, False, False]
    assert cold_candidates(logits, valid, gold, 1)[0].tolist() == [True, False, True, False, False]
    assert cold_candidates(logits, valid, gold, 2)[0].tolist() == [True, True, True, False, False]


def test_kept_first_keeps_candidate_order() -> None:
    index, valid = kept_first(torch.tensor([[False, True, True, False], [True, False, False, False]]))
    assert index[0].tolist() == [1, 2]
    assert index[1, 0] == 0
    assert valid.tolist() == [[True, True], [True, False]]


def test_kept_first_of_nothing_is_one_invalid_column() -> None:
    index, valid = kept_first(torch.zeros(2, 3, dtype=torch.bool))
    assert index.shape == (2, 1)
    assert not valid.any()

"""G4CN, the second round of interaction: a GCN over latent Gaussian views (Eq. 6-8, 13, Appendix A).

B batch, K nodes (spans or pairs, then labels), d width, N views.

Settled where the paper is silent: nodes are layer-normalised and passed through GELU first; sigma has a
floor and starts near 1; the diagonal of KL is 0, so A + I is normalised by rows, (A + I) / (rowsum(A) + 1),
which stays finite for one node, equal Gaussians and padding. Two settings are other readings: `direction`
takes KL(N_j || N_i) as the weight from i to j, as GDPNet's code does, and `normalization` scales A + I on
both sides, as Appendix A writes it.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lai_net.config import GraphConfig
from lai_net.errors import InputError
from lai_net.streams import Streams

_MAX_DIVERGENCE = 1e4


class G4CN(nn.Module):
    """L layers over N views. Each view has its own weights of width d / N; views are concatenated.

    Args:
        width: d.
        config: how many layers and views (`heads`), and which readings.
        streams: for the initialisation.

    Raises:
        InputError: N does not divide d.
    """

    def __init__(self, width: int, config: GraphConfig, streams: Streams) -> None:
        super().__init__()
        if width % config.heads:
            raise InputError(
                f"graph.heads must divide the encoder's hidden size {width}, but got {config.heads}"
            )
        self.views = config.heads
        self.direction = config.direction
        self.normalization = config.normalization
        self.sigma_min = config.sigma_min
        self.sigma_offset = math.log(math.expm1(1 - config.sigma_min))
        self.norm = nn.LayerNorm(width)
        with streams.initialising("graph/mean"):
            self.mean = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, config.heads))
        with streams.initialising("graph/spread"):
            self.spread = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, config.heads))
        with streams.initialising("graph/layers"):
            self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, nodes: Tensor, valid: Tensor) -> Tensor:
        """GCN(A', H).

        Args:
            nodes: (B, K, d).
            valid: bool (B, K); padding neither gives nor takes.

        Returns:
            (B, K, d) in float32.
        """
        with torch.autocast(nodes.device.type, enabled=False):
            states: Tensor = self.norm(nodes.float())
            mean = self.mean(states)
            sigma = F.softplus(self.spread(states) + self.sigma_offset) + self.sigma_min
            views = checkpoint(
                self._adjacency, mean, sigma, valid, use_reentrant=False, preserve_rng_state=False
            )
            for layer in self.layers:
                mixed = views @ torch.unflatten(layer(states), 2, (self.views, -1)).transpose(1, 2)
                states = self.dropout(F.relu(mixed).transpose(1, 2).flatten(2))
        return states

    def _adjacency(self, mean: Tensor, sigma: Tensor, valid: Tensor) -> Tensor:
        """Adjacency (B, N, K, K). What it is made of is made again in `backward`: K may be large."""
        weights = gaussian_divergence(mean, sigma)
        if self.direction == "gdpnet":
            weights = weights.mT
        return normalised(weights, valid, self.normalization)


def gaussian_divergence(mean: Tensor, sigma: Tensor) -> Tensor:
    """KL(N_i || N_j) between all nodes in every view.

    Args:
        mean: (B, K, N).
        sigma: (B, K, N), positive.

    Returns:
        (B, N, K, K); entry i, j is the weight w_ij of Section 3.3, in [0, 1e4].
    """
    mean_i, mean_j = mean.mT.unsqueeze(3), mean.mT.unsqueeze(2)
    sigma_i, sigma_j = sigma.mT.unsqueeze(3), sigma.mT.unsqueeze(2)
    divergence = torch.log(sigma_j / sigma_i) + (sigma_i**2 + (mean_i - mean_j) ** 2) / (2 * sigma_j**2) - 0.5
    return torch.clamp(divergence, 0, _MAX_DIVERGENCE)


def normalised(adjacency: Tensor, valid: Tensor, by: Literal["row", "symmetric"] = "row") -> Tensor:
    """A + I over valid nodes, scaled by its row sums D.

    Args:
        adjacency: (B, N, K, K), not negative; its diagonal does not count.
        valid: bool (B, K).
        by: `row` gives D^-1 (A + I) = (A + I) / (rowsum(A) + 1), `symmetric` D^-1/2 (A + I) D^-1/2.

    Returns:
        (B, N, K, K); padding keeps only itself. By `row`, rows of valid nodes sum to 1.
    """
    both = valid.unsqueeze(1).unsqueeze(3) & valid.unsqueeze(1).unsqueeze(2)
    identity = torch.eye(valid.shape[1], dtype=adjacency.dtype, device=adjacency.device)
    weights = adjacency.masked_fill(~both, 0) * (1 - identity)
    degrees = weights.sum(-1, keepdim=True) + 1
    if by == "symmetric":
        return (weights + identity) * degrees.rsqrt() * degrees.rsqrt().mT
    return (weights + identity) / degrees

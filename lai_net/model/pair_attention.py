"""Attention of marker pairs: each sees a context, itself and its partner, and nothing else.

A heads, C tokens of a context, P pairs whose two markers stand side by side, D dimensions a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def mix_pairs(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    context: tuple[Tensor, Tensor],
    *,
    bias: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """What markers take from a context, themselves and their partners: (B, A, 2P, D), summed in float32.

    Args:
        query: of the markers, (B, A, 2P, D).
        key: likewise.
        value: likewise.
        context: its keys and values, each (B, A, C, D).
        bias: (B, C), added to the scores of the context; None where none of it is padding.
        dropout: of the weights.
    """
    keys, values = context
    query = query * query.shape[-1] ** -0.5
    partner_key, partner_value = _partner(key), _partner(value)
    scores = (query @ keys.transpose(2, 3)).float()
    scores = torch.cat(
        [
            scores if bias is None else scores + bias[:, None, None, :],
            (query * key).float().sum(-1, keepdim=True),
            (query * partner_key).float().sum(-1, keepdim=True),
        ],
        dim=-1,
    )
    weights = F.dropout(scores.softmax(dim=-1), dropout, training=dropout > 0)
    mixed = weights[..., :-2].to(values.dtype) @ values
    mixed = mixed + weights[..., -2:-1] * value
    return mixed + weights[..., -1:] * partner_value


def _partner(pairs: Tensor) -> Tensor:
    """Swap the two markers of every pair; (B, A, 2P, D)."""
    return torch.unflatten(pairs, 2, (-1, 2)).flip(3).flatten(2, 3)

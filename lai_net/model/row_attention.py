"""Attention among rows that hold no padding: all texts' tokens, then all their markers; for inference.

R rows, a text's side by side and a pair's two markers, too; A heads, D dimensions a head, H = A D. Of one
text: M markers, C tokens that they see, those beside it among them. It goes text by text, so that what is
written is still in the cache when it is read; and in place, so nothing has a gradient.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor


class RowAttention:
    """A token sees its text; a marker its text, what is beside it, itself and its partner.

    Args:
        tokens: how many rows each text has.
        markers: how many rows the markers of each text have.
        num_heads: A.
    """

    def __init__(self, tokens: Sequence[int], markers: Sequence[int], num_heads: int) -> None:
        self.num_heads = num_heads
        rows = [slice(*bounds) for bounds in pairwise(accumulate([*tokens, *markers], initial=0))]
        self._texts = list(zip(rows[: len(tokens)], rows[len(tokens) :], strict=True))

    def mix(self, query: Tensor, key: Tensor, value: Tensor, beside: tuple[Tensor, Tensor] | None) -> Tensor:
        """What each row takes from those it sees, (R, H).

        Args:
            query: (R, H).
            key: likewise.
            value: likewise.
            beside: keys and values, each (1, A, N, D), that every marker sees.
        """
        query, key, value = (self._by_head(rows) for rows in (query, key, value))
        mixed = torch.empty_like(value)
        for text, markers in self._texts:
            keys, values = key[:, text], value[:, text]
            mixed[:, text] = F.scaled_dot_product_attention(query[None, :, text], keys[None], values[None])[0]
            if beside is not None:
                keys = torch.cat([keys, beside[0][0]], dim=1)
                values = torch.cat([values, beside[1][0]], dim=1)
            own = query[:, markers], key[:, markers], value[:, markers]
            _mix_markers(*own, keys, values, out=mixed[:, markers])
        return mixed.transpose(0, 1).flatten(1)

    def _by_head(self, rows: Tensor) -> Tensor:
        """(R, H) -> (A, R, D)."""
        return torch.unflatten(rows, 1, (self.num_heads, -1)).transpose(0, 1)


def _mix_markers(
    query: Tensor, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, *, out: Tensor
) -> None:
    """What the markers of one text take.

    Args:
        query: (A, M, D).
        key: likewise.
        value: likewise.
        keys: of the tokens that they see, (A, C, D).
        values: likewise.
        out: where it is written, (A, M, D).
    """
    query = query * query.shape[-1] ** -0.5
    pairs = [(query * each).sum(-1, dtype=torch.float32) for each in (key, _partners(key))]
    scores = torch.cat([(query @ keys.mT).float(), torch.stack(pairs, dim=-1)], dim=-1)
    weights = scores.softmax(dim=-1)
    context = torch.bmm(weights[..., :-2].to(values.dtype), values)
    own = torch.addcmul(context, weights[..., -2:-1], value)
    torch.addcmul(own, weights[..., -1:], _partners(value), out=out)


def _partners(rows: Tensor) -> Tensor:
    """Swap the two of every pair; (A, M, D)."""
    return torch.unflatten(rows, 1, (-1, 2)).flip(2).flatten(1, 2)

"""Attention among rows that hold no padding: all texts' tokens, then all their markers; for inference.

R rows, a text's side by side and a pair's two markers, too; A heads, D dimensions a head, H = A D, N tokens
beside the texts. It goes text by text, so that what is written is still in the cache when it is read; and
into one tensor, so nothing has a gradient.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from lai_net.model.pair_attention import mix_pairs


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
            context = key[:, :, text], value[:, :, text]
            mixed[:, :, text] = F.scaled_dot_product_attention(query[:, :, text], *context)
            if beside is not None:
                context = torch.cat([context[0], beside[0]], dim=2), torch.cat([context[1], beside[1]], dim=2)
            own = query[:, :, markers], key[:, :, markers], value[:, :, markers]
            mixed[:, :, markers] = mix_pairs(*own, context)
        return mixed[0].transpose(0, 1).flatten(1)

    def _by_head(self, rows: Tensor) -> Tensor:
        """(R, H) -> (1, A, R, D)."""
        return torch.unflatten(rows, 1, (self.num_heads, -1)).transpose(0, 1)[None]

"""Partial attention as a rule over token kinds and pair ids (paper, Section 3.2 and Appendix B.11).

B batch, L tokens. The mask is never stored or made on the host: the rule is evaluated on the device.
"""

from enum import IntEnum

import torch
from torch import Tensor

from lai_net.config import AttentionMask


class Kind(IntEnum):
    """What a token of Eq. 5 is."""

    PADDING = 0
    TEXT = 1
    ANNOTATION = 2
    START = 3
    END = 4


def visible(kinds: Tensor, pairs: Tensor, mask: AttentionMask) -> Tensor:
    """Who may attend to whom.

    Args:
        kinds: int (B, L), values of `Kind`.
        pairs: int (B, L), the candidate that a marker belongs to; any value elsewhere.
        mask: `inv`: text sees text, annotations see annotations; `vis`: the two see each other;
            `full`: everything sees everything. Under `inv` and `vis` a marker sees text, annotations and
            its own pair, and nothing sees a marker of another pair.

    Returns:
        bool (B, L, L), rows are queries, columns keys. Padding is seen by nobody.
    """
    query, key = kinds.unsqueeze(2), kinds.unsqueeze(1)
    is_key = key != Kind.PADDING
    if mask == "full":
        return is_key.expand(-1, kinds.shape[1], -1)
    query_marks, key_marks = query >= Kind.START, key >= Kind.START
    own_pair = query_marks & key_marks & (pairs.unsqueeze(2) == pairs.unsqueeze(1))
    if mask == "inv":
        context = ~key_marks & (query_marks | (query == key))
    else:
        context = ~key_marks & torch.ones_like(query_marks)
    return is_key & (context | own_pair)

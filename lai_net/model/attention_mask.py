"""Partial attention as a rule over token kinds and pair ids (paper, Section 3.2 and Appendix B.11).

B batch, L tokens. The mask is never stored or made on the host: the rule is evaluated on the device.
"""

from enum import IntEnum

import torch
from torch import Tensor

from lai_net.config import InputConfig


class Kind(IntEnum):
    """What a token of Eq. 5 is."""

    PADDING = 0
    TEXT = 1
    ANNOTATION = 2
    START = 3
    END = 4


def visible(kinds: Tensor, pairs: Tensor, settings: InputConfig) -> Tensor:
    """Who may attend to whom.

    Args:
        kinds: int (B, L), values of `Kind`.
        pairs: int (B, L), the candidate that a marker belongs to; any value elsewhere.
        settings: `attention_mask` `inv`: text sees text, annotations see annotations; `vis`: the two see
            each other; `full`: everything sees everything. Under `inv` and `vis` a marker sees text and
            annotations, and `marker_marker`, `text_sees_markers` and `annotations_see_markers` say who sees
            which markers.

    Returns:
        bool (B, L, L), rows are queries, columns keys. Padding is seen by nobody.
    """
    query, key = kinds.unsqueeze(2), kinds.unsqueeze(1)
    is_key = key != Kind.PADDING
    if settings.attention_mask == "full":
        return is_key.expand(-1, kinds.shape[1], -1)
    query_marks, key_marks = query >= Kind.START, key >= Kind.START
    to_context = query_marks | (query == key) | (settings.attention_mask == "vis")
    if settings.marker_marker == "all":
        to_markers = query_marks
    else:
        to_markers = query_marks & (pairs.unsqueeze(2) == pairs.unsqueeze(1))
        if settings.marker_marker == "type":
            to_markers = to_markers | (query == key)
    if settings.text_sees_markers:
        to_markers = to_markers | (query == Kind.TEXT)
    if settings.annotations_see_markers:
        to_markers = to_markers | (query == Kind.ANNOTATION)
    return is_key & torch.where(key_marks, to_markers, to_context)

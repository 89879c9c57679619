"""The entity candidate filter (Section 3.4, Eq. 11): which spans of a sentence go on to be classified.

B batch, P candidates of a sentence, K kept.
"""

import torch
from torch import Tensor

from lai_net.config import FilterConfig


def select_candidates(logits: Tensor, valid: Tensor, num_words: Tensor, config: FilterConfig) -> Tensor:
    """S(p): per sentence the best `min_kept`, and those up to the quota that reach the threshold.

    Args:
        logits: (B, P), of being an entity.
        valid: bool (B, P).
        num_words: int (B,).
        config: ratio, min_kept, max_kept, threshold.

    Returns:
        bool (B, P). A sentence's choice depends on nothing outside the sentence; ties go to the first.
    """
    quota = (num_words * config.ratio).ceil().clamp(config.min_kept, config.max_kept)
    rank = _rank(logits, valid)
    likely = logits.float().sigmoid() >= config.threshold
    return valid & ((rank < config.min_kept) | ((rank < quota.unsqueeze(1)) & likely))


def cold_candidates(logits: Tensor, valid: Tensor, is_gold: Tensor, negatives: int) -> Tensor:
    """The cold start's choice: gold spans and, per gold span, the `negatives` likeliest other spans."""
    rank = _rank(logits, valid & ~is_gold)
    quota = is_gold.sum(1, keepdim=True) * negatives
    return is_gold | (valid & ~is_gold & (rank < quota))


def kept_first(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Turn a choice into an index, to gather what was chosen.

    Args:
        chosen: bool (B, P).

    Returns:
        Index int (B, K) in candidate order and its validity bool (B, K); K = most chosen in a row or 1.
    """
    kept = max(int(chosen.sum(1).max()), 1)
    index = chosen.int().argsort(dim=1, descending=True, stable=True)[:, :kept]
    return index, chosen.gather(1, index)


def _rank(logits: Tensor, valid: Tensor) -> Tensor:
    """0 for the highest valid logit of a row, and so on; int (B, P)."""
    masked = logits.float().masked_fill(~valid, -torch.inf)
    order = masked.argsort(dim=1, descending=True, stable=True)
    return torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )

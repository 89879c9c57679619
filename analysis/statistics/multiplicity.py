"""Correction for looking at several levels of a factor at once."""

import gc
from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm-adjusted p-values in the given order; None, a test to come, stays None and counts as p = 1.

    So no p-value rises when the others come.
    """
    from statsmodels.stats.multitest import multipletests  # heavy, so only here

    # It collects garbage at each call, 0.1 s a family; nothing is looked through that is set aside meanwhile.
    gc.freeze()
    try:
        adjusted = multipletests([1.0 if p is None else p for p in p_values], method="holm")[1]
    finally:
        gc.unfreeze()
    return [None if p is None else value for p, value in zip(p_values, adjusted.tolist(), strict=True)]

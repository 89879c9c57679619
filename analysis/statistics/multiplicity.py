"""Correction for looking at several levels of a factor at once."""

import gc
from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm-adjusted p-values in the given order; None (no test) stays None and is not counted."""
    from statsmodels.stats.multitest import multipletests  # heavy, so only here

    present = [p for p in p_values if p is not None]
    # It collects garbage at each call, 0.1 s a family; nothing is looked through that is set aside meanwhile.
    gc.freeze()
    try:
        adjusted = multipletests(present, method="holm")[1]
    finally:
        gc.unfreeze()
    values = iter(adjusted.tolist())
    return [None if p is None else next(values) for p in p_values]

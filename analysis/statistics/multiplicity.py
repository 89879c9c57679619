"""Correction for looking at several levels of a factor at once."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm-adjusted p-values in the given order; None (no test) stays None and is not counted.

    statsmodels' `multipletests` gives the same (tested) but collects garbage at each call: 0.1 s a family.
    """
    present = np.array([p for p in p_values if p is not None])
    order = np.argsort(present, kind="stable")
    adjusted = np.empty_like(present)
    steps = present[order] * np.arange(len(present), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    values = iter(adjusted.tolist())
    return [None if p is None else next(values) for p in p_values]

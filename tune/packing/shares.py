"""From measured memory to shares of a device: whole thousandths of it, in few sizes.

Few, because Ray keeps a warm worker for one size at a time. Fixed sizes such as eighths waste a sixth of the
devices (0.34 becomes 0.375, of which two fit and not three), so the sizes are chosen among what the trials at
hand need (docs/decisions/0015-packing.md).
"""

import math
from collections.abc import Iterable, Sequence

from tune.ledger.rows import ProbeRow

UNITS = 1000
"""Of one device."""

MARGIN = 0.05
"""What a trial gets beyond its probe's peak, as a share of that peak."""

MAX_SIZES = 6
_LADDER = 8
_LEAST_RISE = 1.05


def needed_units(probe: ProbeRow) -> int:
    """What a trial of the probed shape gets before sizes are rounded; at most a whole device."""
    needed = probe.peak_bytes * (1 + MARGIN) + probe.context_bytes
    return min(UNITS, math.ceil(needed / probe.capacity_bytes * UNITS))


def next_larger(units: int) -> int | None:
    """The share after one that was too small, in eighths; None beyond a whole device."""
    if units >= UNITS:
        return None
    eighths = math.ceil(units * _LEAST_RISE * _LADDER / UNITS)
    return min(UNITS, eighths * UNITS // _LADDER)


def choose_sizes(needs: Iterable[int], most: int = MAX_SIZES) -> tuple[int, ...]:
    """At most so many of the needs, such that rounding all of them up to the nearest wastes least.

    Args:
        needs: in thousandths; one for each trial or shape, so that what is frequent counts more.
        most: sizes.

    Returns:
        The sizes, ascending; the largest need is among them.
    """
    ordered = sorted(needs)
    cuts = sorted(set(ordered))
    counts = [ordered.count(need) for need in cuts]
    # best[j]: least waste, with its sizes, of the first j distinct needs; one more size in each round
    best: list[tuple[float, tuple[int, ...]]] = [(0, ()), *[(math.inf, ())] * len(cuts)]
    for _ in range(most):
        best = [best[0]] + [
            min(
                (best[start][0] + _waste(cuts, counts, start, end), (*best[start][1], cuts[end - 1]))
                for start in range(end)
            )
            for end in range(1, len(cuts) + 1)
        ]
    return best[-1][1]


def _waste(cuts: Sequence[int], counts: Sequence[int], start: int, end: int) -> int:
    """Of one size for the distinct needs from `start` to before `end`."""
    pairs = zip(cuts[start:end], counts[start:end], strict=True)
    return sum(count * (cuts[end - 1] - need) for need, count in pairs)

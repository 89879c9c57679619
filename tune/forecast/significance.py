"""What counts as significant, and what few seeds can reach; apart, so that statistics load no plan."""

from typing import Literal

SIGNIFICANCE = 0.05
State = Literal["different", "equivalent", "open", "exhausted"]
"""Of a comparison to which seeds are added until it is decided."""


def smallest_p(pairs: int, comparisons: int = 1) -> float:
    """The smallest p that so many pairs can reach after Holm's correction over so many comparisons."""
    return min(1.0, 2.0 ** (1 - pairs) * comparisons)

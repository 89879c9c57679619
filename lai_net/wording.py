"""Numbers in sentences."""

from collections.abc import Iterable


def counted(count: int, noun: str) -> str:
    """`1 row`, `2 rows`, `0 rows`; the noun is one that takes an s."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def spanned(numbers: Iterable[int]) -> str:
    """`3`, or where they differ `3 to 5`."""
    found = sorted(numbers)
    low, high = found[0], found[-1]
    return f"{low}" if low == high else f"{low} to {high}"

"""Numbers and values in sentences."""

from collections.abc import Iterable


def counted(count: int, noun: str) -> str:
    """`1 row`, `2 rows`, `0 rows`; the noun is one that takes an s."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def spanned(numbers: Iterable[int]) -> str:
    """`3`, or where they differ `3 to 5`."""
    found = sorted(numbers)
    low, high = found[0], found[-1]
    return f"{low}" if low == high else f"{low} to {high}"


def spelled(value: object) -> str:
    """A value as TOML has it where it is a boolean, else its text."""
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Numbers in sentences."""


def counted(count: int, noun: str) -> str:
    """`1 row`, `2 rows`, `0 rows`; the noun is one that takes an s."""
    return f"{count} {noun}{'' if count == 1 else 's'}"

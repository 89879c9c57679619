"""A figure that is drawn: what the report writes to files and shows on its page."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnFigure:
    """One figure.

    Attributes:
        name: of its files, without a suffix: letters, digits, `_`.
        title: its heading.
        caption: what it shows, in plain sentences.
        alt: for those who do not see it: what is on the axes, and where the numbers are.
        files: its bytes by format, as wide as two columns; the page shows `svg`.
        column: the same numbers as a PDF for one column.
    """

    name: str
    title: str
    caption: str
    alt: str
    files: Mapping[str, bytes]
    column: bytes

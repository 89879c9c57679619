"""How wide text is in LaTeX, and where it can be broken: so that a table is laid out to fit its page.

Widths are those of Computer Modern in points, rounded up; other text fonts are hardly wider at these sizes.
"""

import re
from collections.abc import Sequence
from string import ascii_lowercase, ascii_uppercase, digits

_WIDER = {8: 1.07, 7: 1.15, 6: 1.23, 5: 1.37}
"""By size: small letters are wider for their size than those of 10 points."""
_CAPITALS = (
    750, 709, 723, 764, 681, 653, 785, 750, 362, 514, 778, 625, 917, 750, 778, 681, 778, 737, 556, 723, 750,
    750, 1028, 750, 750, 612,
)  # fmt: skip
_LETTERS = (
    500, 556, 445, 556, 445, 306, 500, 556, 278, 306, 528, 278, 834, 556, 500, 556, 528, 392, 395, 389, 556,
    528, 723, 528, 528, 445,
)  # fmt: skip
_THOUSANDTHS = (
    dict(zip(ascii_uppercase, _CAPITALS, strict=True)) | dict(zip(ascii_lowercase, _LETTERS, strict=True))
    | dict.fromkeys(".,:;'|![]", 278) | dict.fromkeys("()", 389) | dict.fromkeys("- ", 334)
    | dict.fromkeys(f"{digits}/*–“”?", 501)
)  # fmt: skip
"""Of an em, at 10 points."""
_OTHER = 1000
_BREAK = re.compile(r"(?<=\S{4}[ /_-])")


def width(text: str, size: int) -> float:
    """Of one line, in points."""
    return size * _WIDER[size] * sum(_THOUSANDTHS.get(sign, _OTHER) for sign in text) / 1000


def narrowest(text: str, size: int) -> float:
    """The width of the longest piece that is not broken."""
    return max(width(piece.rstrip(), size) for piece in _BREAK.split(text))


def wrap(text: str, size: int, limit: float) -> list[str]:
    """Lines of at most `limit` points, or of one piece: text is broken at spaces, hyphens, slashes.

    What stands before must have four letters, so that `LAI-Net` and `w/o 2nd` stay whole.
    """
    lines = [""]
    for piece in _BREAK.split(text):
        if lines[-1] and width((lines[-1] + piece).rstrip(), size) > limit:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def shrink(columns: Sequence[Sequence[str]], size: int, room: float) -> list[float]:
    """Widths of columns of labels, of which as few are wrapped as it takes to fit into `room`, if it can."""
    widths = [max(width(label, size) for label in column) for column in columns]
    while sum(widths) > room:
        next_widths = [
            max(own if (own := width(label, size)) < limit else narrowest(label, size) for label in column)
            for column, limit in zip(columns, widths, strict=True)
        ]
        savings = [before - after for before, after in zip(widths, next_widths, strict=True)]
        most = savings.index(max(savings))
        if savings[most] <= 0:
            break
        widths[most] = next_widths[most]
    return widths

r"""A computed table as LaTeX: a `table*` to `\input`, for booktabs and siunitx.

It is laid out to fit the text of a one-column `article` at 10 points, the narrowest page that it is likely to
meet: entries in one to five lines, in one of two sizes, and where that is still too wide with the columns
in several blocks below each other.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from analysis.tables.layout import Entry, Grid, one_line
from analysis.tables.table import Table
from analysis.tables.typeset import narrowest, shrink, width, wrap

TEXT_POINTS = 345.0
_MARGIN = 2.0
_MOST_LABEL_LINES = 2
_BOLD, _ITALIC = 1.16, 1.05
"""How much wider than upright."""
_NUMBERS = r"\providecommand{\num}[1]{#1}\providecommand{\sisetup}[1]{}\sisetup{detect-all}"
"""Holds within the table; `detect-all` lets siunitx keep bold and italics."""
_NOTE = (
    r"\providecommand{\lainote}[2]{\ifcsname lai-note-#1\endcsname\else"
    r"\expandafter\gdef\csname lai-note-#1\endcsname{}#2\space\fi}"
)
r"""`\lainote{NAME}{TEXT}` prints a note once in a document, below the first table that needs it."""
_SMALL = r"\laismall "
_NUMBER = re.compile(r"\d+\.\d+")
_TEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "*": "{*}",
    "±": r"$\pm$", "−": "$-$", "≥": r"$\geq$", "–": "--", "“": "``", "”": "''",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Style:
    """How entries are set.

    Attributes:
        lines: 0 has value and deviation in a line and all else in the next, 1 a line for each remark, 2 the
            deviation and each end of an interval in lines of their own.
        size: of values, in points.
        small: of what stands below them.
        gap: between columns.
        spans: whether the labels of the first column stand above their lines.
    """

    lines: int
    size: int
    small: int
    gap: int = 5
    spans: bool = False


_STYLES = (
    _Style(0, 8, 6), _Style(1, 8, 6), _Style(0, 7, 5), _Style(1, 7, 5), _Style(2, 8, 6), _Style(2, 7, 5),
    _Style(2, 7, 5, gap=3, spans=True),
)  # fmt: skip
"""From the most to the least readable."""


@dataclass(frozen=True, slots=True)
class _Setting:
    """A style, the widths of label columns, and ranges of columns that fit beside these."""

    style: _Style
    stubs: list[float]
    blocks: list[range]
    fits: bool


@dataclass(frozen=True, slots=True)
class _Piece:
    """A line of an entry, or a part of one."""

    plain: str
    tex: str
    is_small: bool = False
    wider: float = 1.0

    def width(self, style: _Style) -> float:
        """In points."""
        return self.wider * width(self.plain, style.small if self.is_small else style.size)


def to_latex(table: Table) -> str:
    """The table, its caption above; notes stand below it, each once in a document (`_NOTE`).

    Without siunitx numbers are set as plain text.
    """
    setting = _choose(table.grid)
    style = setting.style
    caption = _tex(" ".join([f"{table.title}.", *table.caption]))
    tabulars = "\\par\\medskip\n".join(_tabular(table.grid, setting, block) for block in setting.blocks)
    return (
        "% \\usepackage{booktabs,siunitx}\n"
        f"\\begin{{table*}}\n{_NUMBERS}\n{_NOTE}\n\\centering\n"
        f"\\setlength{{\\tabcolsep}}{{{style.gap / 2}pt}}\n\\setlength{{\\belowcaptionskip}}{{4pt}}\n"
        "\\setlength{\\emergencystretch}{3em}\n"
        f"\\caption{{{caption}}}\n\\label{{tab:lai-{table.number}}}\n"
        f"\\def\\laismall{{\\fontsize{{{style.small}}}{{{style.small + 1}}}\\selectfont}}\n"
        f"\\fontsize{{{style.size}}}{{{style.size + 1.5}}}\\selectfont\n{tabulars}"
        "\\par\\smallskip\n\\begin{minipage}{\\linewidth}\n\\scriptsize\n"
        + "".join(map(_note, table.notes))
        + "\\end{minipage}\n\\end{table*}\n"
    )


def _note(text: str) -> str:
    name = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"\\lainote{{{name}}}{{{_tex(text)}}}%\n"


def _tex(text: str) -> str:
    return one_line(text).translate(_TEX)


def _choose(grid: Grid) -> _Setting:
    """The most readable setting of those with the fewest blocks."""
    settings = [_arrange(grid, style) for style in _STYLES]
    return min(settings, key=lambda item: (not item.fits, len(item.blocks), _has_long_labels(grid, item)))


def _has_long_labels(grid: Grid, setting: _Setting) -> bool:
    wrapped = (_wrapped(labels, setting) for labels in (grid.stubs, *(line.labels for line in grid.lines)))
    return any(len(lines) > _MOST_LABEL_LINES for labels in wrapped for lines in labels)


def _arrange(grid: Grid, style: _Style) -> _Setting:
    widths = [
        max(width(name, style.size), *(_entry_width(line.entries[number], style) for line in grid.lines), 0)
        for number, name in enumerate(map(one_line, grid.columns))
    ]
    labels = [
        [one_line(name), *(one_line(line.labels[number]) for line in grid.lines)]
        for number, name in enumerate(grid.stubs)
    ][style.spans :]
    room = TEXT_POINTS - _MARGIN - style.gap * len(labels)
    least = sum(max(narrowest(label, style.size) for label in column) for column in labels)
    blocks = list(_blocks(grid, widths, style, room - least))
    widest = max((_span(grid, widths, style, block) for block in blocks), default=0.0)
    stubs = shrink(labels, style.size, room - widest)
    return _Setting(style, stubs, blocks, sum(stubs) + widest <= room)


def _blocks(grid: Grid, widths: Sequence[float], style: _Style, room: float) -> Iterator[range]:
    """Ranges of columns of at most `room` points; a group is broken only where it is too wide by itself."""
    start = end = 0
    for size in [size for _, size in grid.groups] or [1] * len(widths):
        group = range(end, end + size)
        is_whole = _span(grid, widths, style, group) <= room
        for part in [group] if is_whole else [range(number, number + 1) for number in group]:
            if start < end and _span(grid, widths, style, range(start, part.stop)) > room:
                yield range(start, end)
                start = end
            end = part.stop
    yield range(start, end)


def _span(grid: Grid, widths: Sequence[float], style: _Style, block: range) -> float:
    """How wide the columns of a block are, with their upper header."""
    parts = [
        max(sum(widths[start:stop]) + style.gap * (stop - start - 1), width(name, style.size))
        for name, start, stop in _groups(grid, block)
    ]
    return sum(parts) + style.gap * (len(parts) - 1)


def _groups(grid: Grid, block: range) -> Iterator[tuple[str, int, int]]:
    """The groups of a block: name, first column and the one after the last."""
    start = block.start
    for name, columns in groupby(block, grid.group_names.__getitem__):
        stop = start + len(list(columns))
        yield one_line(name), start, stop
        start = stop


def _tabular(grid: Grid, setting: _Setting, block: range) -> str:
    body = "\n".join(_body(grid, setting, block))
    columns = "l" * len(setting.stubs) + "r" * len(block)
    return f"\\begin{{tabular}}{{@{{}}{columns}@{{}}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"


def _body(grid: Grid, setting: _Setting, block: range) -> Iterator[str]:
    style = setting.style
    if grid.groups:
        yield from _upper_header(grid, block, len(setting.stubs))
    yield _line([*_labels(grid.stubs, setting), *(_tex(grid.columns[number]) for number in block)])
    yield "\\midrule"
    for number, line in enumerate(grid.lines):
        if number and line.labels[0]:
            yield "\\addlinespace"
        if style.spans and line.labels[0]:
            num_columns = len(setting.stubs) + len(block)
            yield _line([f"\\multicolumn{{{num_columns}}}{{@{{}}l}}{{{_tex(line.labels[0])}}}"])
        entries = (_entry(line.entries[column], style) for column in block)
        yield _line([*_labels(line.labels, setting), *entries])


def _upper_header(grid: Grid, block: range, num_stubs: int) -> Iterator[str]:
    cells, rules = [""] * num_stubs, []
    shift = num_stubs + 1 - block.start
    for name, start, stop in _groups(grid, block):
        cells.append(f"\\multicolumn{{{stop - start}}}{{c}}{{{_tex(name)}}}")
        rules.append(f"\\cmidrule(lr){{{start + shift}-{stop - 1 + shift}}}")
    yield _line(cells)
    yield "".join(rules)


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _labels(texts: Sequence[str], setting: _Setting) -> Iterator[str]:
    for lines in _wrapped(texts, setting):
        yield _stacked(map(_tex, lines), "l")


def _wrapped(texts: Sequence[str], setting: _Setting) -> list[list[str]]:
    """Each label's lines."""
    own = map(one_line, texts[setting.style.spans :])
    return [wrap(text, setting.style.size, limit) for text, limit in zip(own, setting.stubs, strict=True)]


def _stacked(lines: Iterable[str], side: str) -> str:
    lines = list(lines)
    if len(lines) == 1:
        return lines[0]
    return f"\\begin{{tabular}}[t]{{@{{}}{side}@{{}}}}" + r" \\ ".join(lines) + r"\end{tabular}"


def _entry(entry: Entry, style: _Style) -> str:
    lines = (
        " ".join(f"{_SMALL if piece.is_small else ''}{piece.tex}" for piece in line)
        for line in _entry_lines(entry, style)
    )
    return _stacked(lines, "r")


def _entry_width(entry: Entry, style: _Style) -> float:
    space = width(" ", style.size)
    return max(
        sum(piece.width(style) for piece in line) + space * (len(line) - 1)
        for line in _entry_lines(entry, style)
    )


def _entry_lines(entry: Entry, style: _Style) -> list[list[_Piece]]:
    is_stacked = style.lines == 2
    value, is_number = one_line(entry.value), _NUMBER.fullmatch(entry.value) is not None
    remarks = [one_line(remark) for remark in entry.remarks]
    if not is_number:
        words = value.split(" ") if is_stacked else [value]
        first = [[_Piece(word, _tex(word), is_stacked and len(word) > 1)] for word in words]
    else:
        first = [[_number(entry, is_overlapping=is_stacked)]]
    if entry.spread:
        spread = _Piece(f"± {entry.spread}", f"$\\pm$ \\num{{{entry.spread}}}", is_stacked)
        first = [*first, [spread]] if is_stacked else [[*first[0], spread]]
    if style.lines == 0:
        remarks = [" ".join(remarks)] if remarks else []
    if is_stacked:
        remarks = [part for remark in remarks for part in remark.replace(" to ", " to\n").split("\n")]
    return [*first, *([_Piece(remark, _tex(remark), is_small=True)] for remark in remarks)]


def _number(entry: Entry, *, is_overlapping: bool) -> _Piece:
    """A value with its mark, which hangs over the next column where columns are narrow."""
    tex, wider = f"\\num{{{entry.value}}}", 1.0
    if entry.best:
        tex, wider = f"\\textbf{{{tex}}}", _BOLD
    elif entry.published:
        tex, wider = f"\\textit{{{tex}}}", _ITALIC
    if entry.mark and is_overlapping:
        return _Piece(entry.value, f"{tex}\\rlap{{{entry.mark}}}", wider=wider)
    return _Piece(entry.value + entry.mark, tex + entry.mark, wider=wider)

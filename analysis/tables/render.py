"""A computed table as CSV, Markdown and LaTeX. HTML is in the report's template."""

import hashlib
import re
from collections.abc import Iterable, Iterator

from analysis.tables.layout import Entry, Grid, one_line
from analysis.tables.rows import CSV_COLUMNS
from analysis.tables.table import Table
from tune.results.csv_files import csv_bytes

MOST_WIDE_COLUMNS = 8
"""More columns than this are set narrow in LaTeX: deviations below the means, too."""
_NUMBERS = r"\providecommand{\num}[1]{#1}\providecommand{\sisetup}[1]{}\sisetup{detect-all}"
"""Holds within the table; `detect-all` lets siunitx keep bold and italics."""
_NOTE = (
    r"\providecommand{\lainote}[2]{\ifcsname lai-note-#1\endcsname\else"
    r"\expandafter\gdef\csname lai-note-#1\endcsname{}#2\space\fi}"
)
r"""`\lainote{NAME}{TEXT}` prints a note once in a document, below the first table that needs it."""
_FITTED = (
    r"\providecommand{\resizebox}[3]{#3}"
    r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi" + "\n"
)
_NUMBER = re.compile(r"\d+\.\d+")
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]|])")
_TEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "*": "{*}",
    "±": r"$\pm$", "≥": r"$\geq$", "−": "$-$", "–": "--", "“": "``", "”": "''",
})  # fmt: skip


def to_csv(table: Table) -> str:
    """The contract's columns, one row per cell, task and metric; numbers in full precision."""
    rows = ([getattr(row, name) for name in CSV_COLUMNS] for row in table.rows)
    return csv_bytes(CSV_COLUMNS, rows).decode()


def to_markdown(table: Table) -> str:
    """Heading, pipe table, caption and notes; published values in italics."""
    grid = table.grid
    names = [f"{group} {name}".strip() for group, name in zip(grid.group_names, grid.columns, strict=True)]
    lines = [
        _pipes(map(_escape_markdown, [*grid.stubs, *names])),
        _pipes(["---"] * len(grid.stubs) + ["---:"] * len(grid.columns)),
    ]
    for line in grid.lines:
        lines.append(_pipes([*map(_escape_markdown, line.labels), *map(_markdown_entry, line.entries)]))
    below = [" ".join(table.caption), *([f"Notes: {' '.join(table.notes)}"] if table.notes else [])]
    return "\n\n".join([f"## {table.heading}", "\n".join(lines), *map(_escape_markdown, below)]) + "\n"


def to_latex(table: Table) -> str:
    r"""A `table*` to `\input`, for booktabs, graphicx and siunitx.

    Without siunitx numbers are set as plain text, without graphicx a wide table does not shrink to its page.
    Notes stand below the table. In a document with several tables each is printed once (`_NOTE`).
    """
    grid = table.grid
    columns = "l" * len(grid.stubs) + "r" * len(grid.columns)
    body = "\n".join(_latex_body(grid))
    caption = _tex(" ".join([f"{table.title}.", *table.caption]))
    return (
        "% \\usepackage{booktabs,graphicx,siunitx}\n"
        "\\begin{table*}\n" + _NUMBERS + "\n" + _NOTE + "\n\\centering\n\\scriptsize\n"
        "\\setlength{\\tabcolsep}{2.5pt}\n\\setlength{\\belowcaptionskip}{4pt}\n"
        f"\\caption{{{caption}}}\n\\label{{tab:lai-{table.number}}}\n"
        f"\\sbox0{{\\begin{{tabular}}{{@{{}}{columns}@{{}}}}\n\\toprule\n{body}\n\\bottomrule\n"
        "\\end{tabular}}%\n"
        + _FITTED
        + "\\par\\smallskip\n\\begin{minipage}{\\linewidth}\n"
        + "".join(map(_latex_note, table.notes))
        + "\\end{minipage}\n\\end{table*}\n"
    )


def _latex_note(text: str) -> str:
    name = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"\\lainote{{{name}}}{{{_tex(text)}}}%\n"


def _tex(text: str) -> str:
    return one_line(text).translate(_TEX)


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape_markdown(text: str) -> str:
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN_SPECIAL.sub(r"\\\1", plain)


def _markdown_entry(entry: Entry) -> str:
    spread = f" ± {entry.spread}" if entry.spread else ""
    frame = "**" if entry.best else "*" if entry.published else ""
    number = f"{frame}{_escape_markdown(entry.value + spread)}{frame}{_escape_markdown(entry.mark)}"
    return " ".join([number, *map(_escape_markdown, entry.remarks)])


def _latex_body(grid: Grid) -> Iterator[str]:
    if grid.groups:
        yield from _latex_groups(grid)
    yield _latex_line(_tex(name) for name in (*grid.stubs, *grid.columns))
    yield "\\midrule"
    is_narrow = len(grid.columns) > MOST_WIDE_COLUMNS
    for number, line in enumerate(grid.lines):
        if number and line.labels[0]:
            yield "\\addlinespace"
        entries = (_latex_entry(entry, is_narrow=is_narrow) for entry in line.entries)
        yield _latex_line([*map(_tex, line.labels), *entries])


def _latex_groups(grid: Grid) -> Iterator[str]:
    start = len(grid.stubs) + 1
    cells, rules = [""] * len(grid.stubs), []
    for name, width in grid.groups:
        cells.append(f"\\multicolumn{{{width}}}{{c}}{{{_tex(name)}}}")
        rules.append(f"\\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    yield _latex_line(cells)
    yield "".join(rules)


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_entry(entry: Entry, *, is_narrow: bool) -> str:
    """Value and deviation, what else there is in small type below; narrow columns have a piece a line."""
    value = _latex_number(entry.value)
    if entry.best or entry.published:
        value = f"\\{'textbf' if entry.best else 'textit'}{{{value}}}"
    if entry.mark:
        value += f"\\rlap{{{entry.mark}}}" if is_narrow else entry.mark
    spread = f"$\\pm$ {_latex_number(entry.spread)}" if entry.spread else ""
    remarks = list(map(_tex, entry.remarks))
    if is_narrow:
        parts = [part for remark in remarks for part in remark.replace(" to ", " to\n").split("\n")]
        lines, small = value.split(" "), [spread, *parts]
    else:
        lines, small = [" ".join(filter(None, [value, spread]))], [" ".join(remarks)]
    lines += [f"\\tiny {piece}" for piece in small if piece]
    if len(lines) == 1:
        return lines[0]
    return r"\begin{tabular}[t]{@{}r@{}}" + r" \\ ".join(lines) + r"\end{tabular}"


def _latex_number(text: str) -> str:
    return f"\\num{{{text}}}" if _NUMBER.fullmatch(text) else _tex(text)

"""A computed table as CSV and Markdown; LaTeX is in `analysis.tables.latex`, HTML in a template."""

import csv
import io
import re
from collections.abc import Iterable

from analysis.tables.layout import Entry, one_line
from analysis.tables.rows import CSV_COLUMNS
from analysis.tables.table import Table

_MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]|])")


def to_csv(table: Table) -> str:
    """The contract's columns, one row per cell, task and metric; numbers in full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows([getattr(row, name) for name in CSV_COLUMNS] for row in table.rows)
    return text.getvalue()


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


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape_markdown(text: str) -> str:
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN_SPECIAL.sub(r"\\\1", plain)


def _markdown_entry(entry: Entry) -> str:
    spread = f" ± {entry.spread}" if entry.spread else ""
    frame = "**" if entry.best else "*" if entry.published else ""
    rest = " ".join([entry.mark, *entry.remarks]).rstrip()
    return f"{frame}{_escape_markdown(entry.value + spread)}{frame}{_escape_markdown(rest)}"

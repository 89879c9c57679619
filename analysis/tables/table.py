"""A table of the paper, computed: its rows, its shape and its caption."""

from dataclasses import dataclass

import pandas as pd

from analysis.tables.caption import describe
from analysis.tables.layout import LAYOUTS, Grid, arrange
from analysis.tables.rows import Row, compute_rows


@dataclass(frozen=True, slots=True)
class Table:
    """Everything that a renderer needs; `caption` is plain sentences."""

    number: str
    title: str
    rows: tuple[Row, ...]
    grid: Grid
    caption: tuple[str, ...]


def compute_table(cells: pd.DataFrame, number: str) -> Table:
    """Table `2`, `4` or `5` of the cells' frame (see `analysis.frame`)."""
    layout = LAYOUTS[number]
    rows = compute_rows(cells, number)
    caption = describe(cells[cells["table"] == number], rows, layout)
    return Table(number, layout.title, rows, arrange(rows, layout), caption)

"""A table, computed: its rows, its shape and its caption."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.speed import Speed
from analysis.tables import efficiency, overall
from analysis.tables.caption import describe
from analysis.tables.layout import LAYOUTS, Grid, arrange
from analysis.tables.rows import Row, compute_rows


@dataclass(frozen=True, slots=True)
class Table:
    """Everything that a renderer needs; `caption` is plain sentences. `number` is `1` to `5`, or a name."""

    number: str
    title: str
    rows: tuple[Row, ...]
    grid: Grid
    caption: tuple[str, ...]

    @property
    def heading(self) -> str:
        """Number and title."""
        return f"Table {self.number}. {self.title}" if self.number.isdigit() else self.title

    @property
    def slug(self) -> str:
        """Names its files."""
        return f"table{self.number}" if self.number.isdigit() else f"table_{self.number}"


def compute_tables(cells: pd.DataFrame, speeds: Sequence[Speed] = ()) -> list[Table]:
    """All tables that a study has, in the paper's order, the representations last.

    Args:
        cells: the frame (see `analysis.frame`); a search has an empty one, and no table.
        speeds: the benchmark's rows; without them there is no Table 3.
    """
    numbers = set(cells["table"])
    if numbers:
        numbers.add(overall.NUMBER)
    if efficiency.shown_speeds(cells, speeds):
        numbers |= {efficiency.TABLE_3, efficiency.REPRESENTATION_TABLE}
    return [compute_table(cells, number, speeds) for number in LAYOUTS if number in numbers]


def compute_table(cells: pd.DataFrame, number: str, speeds: Sequence[Speed] = ()) -> Table:
    """One table of the cells' frame: a key of `LAYOUTS`."""
    layout = LAYOUTS[number]
    if number == overall.NUMBER:
        rows = overall.overall_rows(cells)
        caption = describe(overall.model_cells(cells), rows, layout, [overall.NOTE])
        return Table(number, layout.title, rows, overall.arrange_overall(rows), caption)
    if number in (efficiency.TABLE_3, efficiency.REPRESENTATION_TABLE):
        rows, part = efficiency.rows_and_cells(cells, speeds, number)
        caption = describe(part, rows, layout, efficiency.notes(cells, speeds, number))
    else:
        rows = compute_rows(cells, number)
        caption = describe(cells[cells["table"] == number], rows, layout)
    return Table(number, layout.title, rows, arrange(rows, layout), caption)

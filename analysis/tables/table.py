"""A table, computed: its rows, its shape and its caption."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.speed import Speed
from analysis.tables import efficiency, overall
from analysis.tables.caption import common_notes, describe
from analysis.tables.layout import LAYOUTS, Grid, arrange
from analysis.tables.rows import Row, compute_rows


@dataclass(frozen=True, slots=True)
class Table:
    """Everything that a renderer needs.

    Attributes:
        number: `1` to `5`, or a name.
        caption: plain sentences on what it shows.
        notes: further ones, that other tables of the study may have word for word.
    """

    number: str
    title: str
    rows: tuple[Row, ...]
    grid: Grid
    caption: tuple[str, ...]
    notes: tuple[str, ...]

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
        speeds: the benchmark's rows; without any of the study's settings there is no Table 3.
    """
    numbers = set(cells["table"])
    if numbers:
        numbers.add(overall.NUMBER)
    if numbers and speeds:
        numbers |= efficiency.shown_tables(cells, speeds)
    return [compute_table(cells, number, speeds) for number in LAYOUTS if number in numbers]


def compute_table(cells: pd.DataFrame, number: str, speeds: Sequence[Speed] = ()) -> Table:
    """One table of the cells' frame: a key of `LAYOUTS`."""
    layout = LAYOUTS[number]
    if number == overall.NUMBER:
        rows, part = overall.overall_rows(cells), overall.model_cells(cells)
        grid, own = overall.arrange_overall(rows), [overall.NOTE]
    elif number in (efficiency.TABLE_3, efficiency.REPRESENTATION_TABLE):
        rows, part = efficiency.rows_and_cells(cells, speeds, number)
        grid, own = arrange(rows, layout), efficiency.notes(cells, speeds, number)
    else:
        rows, part = compute_rows(cells, number), cells[cells["table"] == number]
        grid, own = arrange(rows, layout), []
    caption = (*describe(part, rows, layout), *filter(None, own))
    return Table(number, layout.title, rows, grid, caption, common_notes(part, rows, layout))

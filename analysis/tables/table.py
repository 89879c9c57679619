"""A table, computed: its rows, its shape and its caption."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

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
    if cells.empty:
        return []
    own = {*cells["table"], overall.NUMBER} - {*efficiency.NUMBERS}
    compared = [efficiency.beside_speeds(cells, speeds, number) for number in efficiency.NUMBERS]
    tables = {number: compute_table(cells, number) for number in own}
    tables |= {item.number: _beside_speed(item) for item in compared if item.is_shown}
    return [tables[number] for number in LAYOUTS if number in tables]


def compute_table(cells: pd.DataFrame, number: str, speeds: Sequence[Speed] = ()) -> Table:
    """One table of the cells' frame: a key of `LAYOUTS`."""
    if number in efficiency.NUMBERS:
        return _beside_speed(efficiency.beside_speeds(cells, speeds, number))
    if number == overall.NUMBER:
        rows = overall.overall_rows(cells)
        grid = overall.arrange_overall(rows)
        note = [overall.NOTE] * any(entry.published for line in grid.lines for entry in line.entries)
        table = _table(number, tuple(overall.printed_rows(rows)), overall.model_cells(cells), grid, note)
        return replace(table, rows=rows)
    rows = compute_rows(cells, number)
    return _table(number, rows, cells[cells["table"] == number], arrange(rows, LAYOUTS[number]))


def _beside_speed(compared: efficiency.SpeedComparison) -> Table:
    grid = arrange(compared.rows, LAYOUTS[compared.number])
    return _table(compared.number, compared.rows, compared.cells, grid, compared.notes())


def _table(
    number: str, rows: tuple[Row, ...], cells: pd.DataFrame, grid: Grid, own: Iterable[str] = ()
) -> Table:
    """Its caption says what the frame's cells are, then what is its own."""
    layout = LAYOUTS[number]
    caption = (*describe(cells, rows, layout), *filter(None, own))
    return Table(number, layout.title, rows, grid, caption, common_notes(cells, rows, layout))

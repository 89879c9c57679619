"""The few functions that a notebook needs; `analysis` offers them by these names."""

import dataclasses

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.stability import compute_figure_a1, draw_figure_a1
from analysis.frame import load
from analysis.tables.rows import CSV_COLUMNS, compute_rows

__all__ = ["figure_a1", "load", "table2", "table4", "table5"]


def table2(cells: pd.DataFrame) -> pd.DataFrame:
    """Table 2 of the frame that `load` gives, in the contract's columns; scores in percent."""
    return _table(cells, "2")


def table4(cells: pd.DataFrame) -> pd.DataFrame:
    """Table 4; see `table2`."""
    return _table(cells, "4")


def table5(cells: pd.DataFrame) -> pd.DataFrame:
    """Table 5; see `table2`."""
    return _table(cells, "5")


def figure_a1(cells: pd.DataFrame) -> Figure:
    """Figure A1 of the frame that `load` gives; the notebook shows it."""
    return draw_figure_a1(compute_figure_a1(cells))


def _table(cells: pd.DataFrame, number: str) -> pd.DataFrame:
    rows = [dataclasses.asdict(row) for row in compute_rows(cells, number)]
    return pd.DataFrame(rows, columns=list(CSV_COLUMNS))

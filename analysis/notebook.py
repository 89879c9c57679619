"""The few functions that a notebook needs; `analysis` offers them by these names."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.figures.stability import compute_figure_a1, draw_figure_a1
from analysis.frame import load
from analysis.speed import Speed, read_speeds
from analysis.tables.rows import CSV_COLUMNS
from analysis.tables.table import compute_table

__all__ = ["figure_a1", "load", "table1", "table2", "table3", "table4", "table5"]


def table1(cells: pd.DataFrame) -> pd.DataFrame:
    """Table 1, the paper's other models (in the column `paper` alone) among its rows; see `table2`."""
    return _table(cells, "1")


def table2(cells: pd.DataFrame) -> pd.DataFrame:
    """Table 2 of the frame that `load` gives, in the contract's columns; scores in percent."""
    return _table(cells, "2")


def table3(cells: pd.DataFrame, speed: str | Path) -> pd.DataFrame:
    """Table 3, with speeds from a CSV of `make bench`; see `table2`.

    Raises:
        InputError: the benchmark cannot be read.
    """
    return _table(cells, "3", read_speeds(Path(speed)))


def table4(cells: pd.DataFrame) -> pd.DataFrame:
    """Table 4; see `table2`."""
    return _table(cells, "4")


def table5(cells: pd.DataFrame) -> pd.DataFrame:
    """Table 5; see `table2`."""
    return _table(cells, "5")


def figure_a1(cells: pd.DataFrame) -> NDArray[np.object_]:
    """The axes of Figure A1 of the frame that `load` gives: (factors, tasks); each has the `figure`."""
    computed = compute_figure_a1(cells)
    shape = max(1, len(computed.factors)), max(1, len(computed.tasks))
    return np.array(draw_figure_a1(computed).axes, dtype=object).reshape(shape)


def _table(cells: pd.DataFrame, number: str, speeds: Sequence[Speed] = ()) -> pd.DataFrame:
    rows = [dataclasses.asdict(row) for row in compute_table(cells, number, speeds).rows]
    return pd.DataFrame(rows, columns=list(CSV_COLUMNS))

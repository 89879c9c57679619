"""The few functions that a notebook needs; `analysis` offers them by these names, those of its `__all__`."""

import dataclasses
import json
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.drawing import render
from analysis.figures.stability import compute_figure_a1, draw_figure_a1
from analysis.frame import CELL_COLUMNS, read_results
from analysis.speed import Speed, read_speeds
from analysis.tables.efficiency import REPRESENTATION_TABLE, TABLE_3, left_out
from analysis.tables.layout import LAYOUTS
from analysis.tables.rows import CSV_COLUMNS
from analysis.tables.table import compute_table
from lai_net.config import TrialConfig
from lai_net.errors import InputError
from lai_net.settings import config_from_dict
from tune.ledger.ledger import Ledger
from tune.results.curves import CURVE_COLUMNS, curve_rows, read_curves
from tune.results.table import LONG_COLUMNS, long_table

_NUMBERS = (
    "mean", "std", "ci_low", "ci_high", "delta", "delta_ci_low", "delta_ci_high", "p", "p_adjusted", "paper",
)  # fmt: skip


_TEXTS = ("table", "dataset", "level", "only_folds", "trial_ids")


def load(ledger: str | Path, study: str | Path | None = None) -> pd.DataFrame:
    """A ledger as a frame.

    With a study (a file, or the name of one that ships) its cells: one row per cell, task and seed, scores in
    0-1, which is what the tables and the figure below take. Without one the long results table: one row per
    evaluation and task of every trial that the ledger holds, in the contract's columns, scores in 0-1.
    A cell's `config` is JSON, all settings of it.

    Raises:
        InputError: the ledger or the study cannot be read, or two results claim one place.
    """
    if study is not None:
        cells = read_results(ledger, study).cells
        return cells.assign(config=[config and _spelled(config) for config in cells["config"]])
    with Ledger.open(Path(ledger), read_only=True) as opened:
        return pd.DataFrame(long_table(opened), columns=list(LONG_COLUMNS))


@lru_cache
def _spelled(config: TrialConfig) -> str:
    return json.dumps(dataclasses.asdict(config))


@lru_cache
def _config(text: str) -> TrialConfig:
    return config_from_dict(json.loads(text))


def curves(ledger: str | Path) -> pd.DataFrame:
    """Every epoch of the ledger's trials, as a report's `curves.csv` has them; scores in 0-1.

    Raises:
        InputError: the ledger cannot be read.
    """
    with Ledger.open(Path(ledger), read_only=True) as opened:
        rows = curve_rows(read_curves(opened), long_table(opened))
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS))


def table1(cells: pd.DataFrame) -> pd.DataFrame:
    """Table 1, the paper's other models (in the column `paper` alone) among its rows; see `table2`."""
    return _table(cells, "1")


def table2(cells: pd.DataFrame) -> pd.DataFrame:
    """Table 2 of the frame that `load` gives for a study, in the contract's columns; scores in percent.

    Where a cell does not exist its `n` is `<NA>`; another number that does not exist is NaN.

    Raises:
        InputError: the frame is a ledger's without a study, which says which cells there are.
    """
    return _table(cells, "2")


def table3(cells: pd.DataFrame, speed: str | Path) -> pd.DataFrame:
    """Table 3, with speeds from a CSV of `make bench`; see `table2`.

    Raises:
        InputError: the benchmark cannot be read, or has no speed of these settings.
    """
    speeds = read_speeds(Path(speed))
    table = _table(cells, TABLE_3, speeds)
    if table.empty:
        raise InputError(" ".join(left_out(_parsed(cells), speeds, LAYOUTS.keys() - {TABLE_3})))
    return table


def table4(cells: pd.DataFrame) -> pd.DataFrame:
    """Table 4; see `table2`."""
    return _table(cells, "4")


def table5(cells: pd.DataFrame) -> pd.DataFrame:
    """Table 5; see `table2`."""
    return _table(cells, "5")


def table_representations(cells: pd.DataFrame, speed: str | Path | None = None) -> pd.DataFrame:
    """The four representations; with a CSV of `make bench` their speed and memory, too. See `table2`.

    Raises:
        InputError: the benchmark cannot be read.
    """
    return _table(cells, REPRESENTATION_TABLE, () if speed is None else read_speeds(Path(speed)))


def figure_a1(cells: pd.DataFrame) -> Axes:
    """Figure A1 of the frame that `load` gives for a study: the axes of its first panel.

    The whole is `.figure`, with its panels in `.figure.axes`, row by row: factors, and in each row tasks.
    Jupyter shows the whole where a cell ends with either; `.figure.savefig("a1.pdf")` writes it.

    Raises:
        InputError: as for `table2`.
    """
    canvas = draw_figure_a1(compute_figure_a1(_parsed(cells)))
    _show_in_jupyter(canvas)
    return canvas.axes[0]


def _show_in_jupyter(canvas: Figure) -> None:
    """Answer what Jupyter asks; else it knows pictures of pyplot's figures alone, and ours is none."""
    for shown in (canvas, *canvas.axes):
        vars(shown)["_repr_png_"] = partial(_png, canvas)


def _png(canvas: Figure) -> tuple[bytes, dict[str, int]]:
    """The picture as it is by now, and how large it is to be shown, since its resolution is that of print."""
    size = {"width": round(canvas.bbox.width), "height": round(canvas.bbox.height)}
    return render(canvas, ("png",))["png"], size


def _table(cells: pd.DataFrame, number: str, speeds: Sequence[Speed] = ()) -> pd.DataFrame:
    rows = [dataclasses.asdict(row) for row in compute_table(_parsed(cells), number, speeds).rows]
    return pd.DataFrame(rows, columns=list(CSV_COLUMNS)).astype(
        {"n": "Int64"} | dict.fromkeys(_NUMBERS, float)
    )


def _parsed(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells as `analysis.frame` makes them, also where they went through a CSV file.

    From there numbers of tables and levels come as numbers, and what is empty as NaN.
    """
    if not set(CELL_COLUMNS) <= set(cells.columns):
        raise InputError("the frame has no cells; load(ledger, study) gives a study's")
    configs = [_config(text) if isinstance(text, str) else None for text in cells["config"]]
    texts = {name: cells[name].astype(object).where(cells[name].notna(), "").astype(str) for name in _TEXTS}
    return cells.assign(**texts, config=pd.Series(configs, cells.index, dtype=object))

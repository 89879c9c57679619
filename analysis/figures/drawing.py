"""What all figures share: widths of a page, looks that grey keeps apart, and bytes that repeat."""

import io
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from itertools import product
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ONE_COLUMN, TWO_COLUMNS = 3.35, 6.9
"""Widths in inches; the type of `lai.mplstyle` is meant to be printed at this size."""
_MOST_IN_A_ROW = 6
"""Names of a legend side by side."""
_MOST_NARROW = 2
"""Panels side by side in one column."""
FORMATS = ("png", "pdf", "svg")
_METADATA = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}


@contextmanager
def style() -> Iterator[None]:
    """Our settings of matplotlib, which are left as they were."""
    with as_file(files("analysis") / "lai.mplstyle") as path, mpl.rc_context(fname=path):
        yield


def look(number: int) -> dict[str, Any]:
    """Colour, marker and dashes of the n-th thing in a figure; for use within `style`."""
    cycle, palette = list(mpl.rcParams["axes.prop_cycle"]), sns.color_palette("colorblind")
    return {**cycle[number % len(cycle)], "color": palette[number % len(palette)]}


def panels(
    rows: Sequence[str],
    columns: Sequence[str],
    width: float,
    row_inches: float,
    shown: Container[tuple[str, str]] | None = None,
    *,
    labels: tuple[str, str],
) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """A figure with a panel for each row and column, turned on its side where that fits its width better.

    Args:
        rows: their names.
        columns: likewise.
        width: of the figure, in inches.
        row_inches: height of a line of panels.
        shown: the places, (row, column), that have something to show, None for all; the others stay empty.
        labels: of the outer panels that are shown, below and at the left.

    Returns:
        The figure; the axes of the places that are shown, row by row.
    """
    is_turned = len(columns) > _MOST_NARROW if width == ONE_COLUMN else len(columns) == 1
    lines, places = (len(columns), len(rows)) if is_turned else (len(rows), len(columns))
    canvas = Figure(figsize=(width, 0.3 + row_inches * lines))
    seen = canvas.subplots(lines, places, squeeze=False)
    axes = {}
    for place, ax in zip(product(rows, columns), (seen.T if is_turned else seen).flat, strict=True):
        if shown is None or place in shown:
            axes[place] = ax
        else:
            ax.set_visible(False)
    for column in seen[::-1].T:
        _first_shown(column).set_xlabel(labels[0])
    for line in seen:
        _first_shown(line).set_ylabel(labels[1])
    return canvas, axes


def _first_shown(axes: Iterable[Axes]) -> Axes:
    """The first of a row or column of panels; one has something to show."""
    return next(ax for ax in axes if ax.get_visible())


def draw_legend(canvas: Figure, axes: Iterable[Axes], names: Sequence[str]) -> None:
    """One legend for all panels, above them, in the order of the names, in as few rows as fit its width."""
    handles = {
        label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    shown = [name for name in names if name in handles]
    for columns in range(min(_MOST_IN_A_ROW, len(shown)), 0, -1):
        legend = canvas.legend(
            [handles[name] for name in shown], shown, loc="outside upper center", ncols=columns
        )
        if columns == 1 or legend.get_window_extent().width <= canvas.bbox.width:
            return
        legend.remove()


def render(canvas: Figure, formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """The figure's bytes by format; equal figures give equal bytes."""
    rendered = {}
    with style():
        for name in formats:
            buffer = io.BytesIO()
            canvas.savefig(buffer, format=name, metadata=_METADATA[name])
            rendered[name] = buffer.getvalue()
    return rendered

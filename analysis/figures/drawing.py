"""What all figures share: widths of a page, looks that grey keeps apart, and bytes that repeat."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ONE_COLUMN, TWO_COLUMNS = 3.35, 6.9
"""Inches; the type of `lai.mplstyle` is meant to be printed at this size."""
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


def draw_legend(canvas: Figure, axes: Iterable[Axes], names: Sequence[str], most: int = 6) -> None:
    """One legend for all panels, above them, in the order of the names; at most so many in a row."""
    handles = {
        label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    shown = [name for name in names if name in handles]
    if shown:
        columns = min(most, len(shown))
        canvas.legend([handles[name] for name in shown], shown, loc="outside upper center", ncols=columns)


def render(canvas: Figure) -> dict[str, bytes]:
    """The figure's bytes by format; equal figures give equal bytes."""
    rendered = {}
    with style():
        for name in FORMATS:
            buffer = io.BytesIO()
            canvas.savefig(buffer, format=name, metadata=_METADATA[name])
            rendered[name] = buffer.getvalue()
    return rendered

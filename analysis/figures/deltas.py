"""Forest plot: each cell's difference in F1 to its base, paired by seed, with its interval.

A panel is a task, a line a level, a look a dataset. Few seeds give intervals that dwarf every difference, and
one level (another model) may have a difference that dwarfs all others: the axis ends where most can be read;
what goes on beyond has an arrow there, and a mean that lies beyond its value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.drawing import ONE_COLUMN, TWO_COLUMNS, draw_legend, look, style
from analysis.tables.layout import NAMES, signed
from analysis.tables.rows import SIGNIFICANT, Row, f1_rows
from lai_net.metrics.scoring import TASKS

_REACH = 3.0
"""An axis that does not show all ends at so many times the largest difference that is no outlier."""
_OUTLIER = 4.0
"""So many times the median of what all levels have."""
_SLACK = 2.0
"""All is shown where that takes at most so many times that axis."""
_ROOM = 1.08
_LINE_INCHES = 0.175
_MOST_INCHES = 8.6  # of a page, where lines need no more
_LEAST_LINE_INCHES = 0.125  # below that labels overlap
_VALUE_POINTS = 30  # width of a value; those of several datasets stand side by side
_SPREAD = 0.5  # of a line's height, over the datasets
_CAP_POINTS = 7.5  # taller than a marker, so that an interval shows however narrow it is


@dataclass(frozen=True, slots=True)
class Delta:
    """One cell: difference in points of F1, 95 % interval (None below two shared seeds), Holm's verdict."""

    dataset: str
    task: str
    factor: str
    level: str
    delta: float
    low: float | None
    high: float | None
    is_significant: bool


@dataclass(frozen=True, slots=True)
class Deltas:
    """All differences; `lines` are (factor, level) from top to bottom, the axis goes from -reach to reach."""

    tasks: tuple[str, ...]
    datasets: tuple[str, ...]
    lines: tuple[tuple[str, str], ...]
    deltas: tuple[Delta, ...]
    reach: float


def compute_deltas(rows: Sequence[Row]) -> Deltas | None:
    """The forest plot's numbers from all tables' rows; None where nothing has a difference to its base."""
    deltas = tuple(
        Delta(
            row.dataset, row.task, row.factor, row.level, row.delta, row.delta_ci_low, row.delta_ci_high,
            row.mark == SIGNIFICANT,
        )
        for row in f1_rows(rows)
        if row.delta is not None
    )  # fmt: skip
    if not deltas:
        return None
    tasks = {delta.task for delta in deltas}
    return Deltas(
        tasks=tuple(task for task in TASKS if task in tasks),
        datasets=tuple(dict.fromkeys(delta.dataset for delta in deltas)),
        lines=_lines(rows, deltas),
        deltas=deltas,
        reach=_reach(deltas),
    )


def _reach(deltas: Sequence[Delta]) -> float:
    sizes = [abs(item.delta) for item in deltas]
    ends = [max(abs(end) for end in (item.delta, item.low, item.high) if end is not None) for item in deltas]
    largest = min(max(sizes), _OUTLIER * median(sizes) or max(sizes))
    whole = _ROOM * max(ends)
    cut = min(_REACH * largest, _OUTLIER * median(ends) or whole)
    return (whole if whole <= _SLACK * cut else cut) or 1.0


def _lines(rows: Sequence[Row], deltas: Sequence[Delta]) -> tuple[tuple[str, str], ...]:
    """The levels that have a difference somewhere, by factor, in the order of the tables."""
    shown = {(delta.factor, delta.level) for delta in deltas}
    levels = dict.fromkeys((row.factor, row.level) for row in rows)
    factors = dict.fromkeys(factor for factor, _ in levels)
    return tuple(level for factor in factors for level in levels if level[0] == factor and level in shown)


def draw_deltas(figure: Deltas, width: float = TWO_COLUMNS) -> Figure:
    """Draw it: tasks side by side on shared lines; in one column below each other, each on its own."""
    is_narrow = width == ONE_COLUMN
    shown = [_lines_of(figure, task) if is_narrow else figure.lines for task in figure.tasks]
    stacked = shown if is_narrow else shown[:1]
    inches = _LINE_INCHES * (1 + 0.35 * (len(figure.datasets) - 1)) * sum(map(len, stacked))
    with style():
        around = 0.5 + 0.45 * len(stacked)
        least = around + _LEAST_LINE_INCHES * sum(map(len, stacked))
        canvas = Figure(figsize=(width, max(least, min(_MOST_INCHES, around + inches))))
        shape = (
            {"nrows": len(shown), "height_ratios": list(map(len, shown))}
            if is_narrow
            else {"ncols": len(shown)}
        )
        axes = canvas.subplots(**shape, squeeze=False, sharex=True, sharey=not is_narrow).flat
        for ax, task, lines in zip(axes, figure.tasks, shown, strict=True):
            _draw_panel(ax, figure, task, lines)
            ax.set_title(task)
            ax.set_yticks(range(len(lines)), _labels(lines))
            ax.set_ylim(len(lines) - 0.5, -0.5)
        axes[0].set_xlim(-figure.reach, figure.reach)
        canvas.supxlabel("Difference in F1 to the base (points)", fontsize=8)
        if len(figure.datasets) > 1:
            draw_legend(canvas, axes, figure.datasets)
    return canvas


def _lines_of(figure: Deltas, task: str) -> tuple[tuple[str, str], ...]:
    own = {(delta.factor, delta.level) for delta in figure.deltas if delta.task == task}
    return tuple(line for line in figure.lines if line in own)


def _draw_panel(ax: Axes, figure: Deltas, task: str, lines: Sequence[tuple[str, str]]) -> None:
    ax.axvline(0, color="0.35", linewidth=0.8)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    for line, (before, after) in enumerate(pairwise(lines), start=1):
        if before[0] != after[0]:
            ax.axhline(line - 0.5, color="0.8", linewidth=0.6)
    for delta in figure.deltas:
        if delta.task == task:
            number = figure.datasets.index(delta.dataset)
            shift = (number - (len(figure.datasets) - 1) / 2) * _SPREAD / max(1, len(figure.datasets) - 1)
            y = lines.index((delta.factor, delta.level)) + shift
            _draw_interval(ax, delta, y, figure.reach, look(number)["color"])
            _draw_mean(ax, delta, y, figure.reach, number)


def _draw_interval(ax: Axes, delta: Delta, y: float, reach: float, color: Any) -> None:
    """An interval with end caps, or the mean without one, with an arrow where it goes on beyond the axis."""
    low, high = (delta.delta if end is None else end for end in (delta.low, delta.high))
    if high > -reach and low < reach:
        ax.hlines(y, max(low, -reach), min(high, reach), color=color, linewidth=1.1)
    caps = [end for end in (delta.low, delta.high) if end is not None and abs(end) <= reach]
    if caps:
        ax.plot(
            caps, [y] * len(caps), marker="|", markersize=_CAP_POINTS, markeredgewidth=1.1,
            markeredgecolor=color, linestyle="none", clip_on=False,
        )  # fmt: skip
    for side, is_beyond, marker in ((-1, low < -reach, "<"), (1, high > reach, ">")):
        if is_beyond:
            ax.plot(
                side * reach, y, marker=marker, color=color, markersize=3.5, clip_on=False, linestyle="none"
            )


def _draw_mean(ax: Axes, delta: Delta, y: float, reach: float, number: int) -> None:
    """A mean; of one beyond the axis, which only the legend sees, its value."""
    own = look(number)
    color = own["color"]
    face = color if delta.is_significant else "white"
    own |= {"linestyle": "none", "markerfacecolor": face, "markeredgecolor": color}
    is_beyond = abs(delta.delta) > reach
    x = [] if is_beyond else [delta.delta]
    # An empty line that is not clipped would take all room from the layout.
    ax.plot(x, [y] * len(x), label=delta.dataset, clip_on=is_beyond, **own)
    if is_beyond:
        side = 1 if delta.delta > 0 else -1
        text = f"{signed(delta.delta)}{SIGNIFICANT if delta.is_significant else ''}"
        ax.annotate(
            text, (side * reach, y), xytext=(-side * (5 + _VALUE_POINTS * number), 0),
            textcoords="offset points", va="center", ha="right" if side > 0 else "left", fontsize=6.5,
            color=color, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )  # fmt: skip


def _labels(lines: Sequence[tuple[str, str]]) -> list[str]:
    """`GCN layers 0`, `1`, …: a factor's name on its first line alone."""
    named: set[str] = set()
    labels = []
    for factor, level in lines:
        labels.append(level if factor in named else f"{NAMES[factor]}  {level}")
        named.add(factor)
    return labels

"""What F1 costs: speed against F1, of the models and of the representations, a panel a phase."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.drawing import ONE_COLUMN, TWO_COLUMNS, draw_legend, look, style
from analysis.tables.rows import Row

_PHASES = {"NER": "NER", "RE": "RE+"}
"""The task whose F1 stands for a phase."""
_SPEED = "sentences_per_second"
_ROW_INCHES = 1.75


@dataclass(frozen=True, slots=True)
class Point:
    """A model or representation: sentences per CPU second, F1 in percent, its interval (None below 2)."""

    dataset: str
    task: str
    level: str
    speed: float
    f1: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class SpeedAgainstF1:
    """All points; `levels` have a look each, in the order of the tables."""

    datasets: tuple[str, ...]
    tasks: tuple[str, ...]
    levels: tuple[str, ...]
    points: tuple[Point, ...]


def compute_speed(rows: Sequence[Row]) -> SpeedAgainstF1 | None:
    """Join speed and F1 of Table 3 and of the representations; None where nothing has both."""
    speeds = {
        (row.table, row.dataset, _PHASES[row.task], row.level): row.mean
        for row in rows
        if row.metric == _SPEED and row.mean is not None
    }
    points = tuple(
        Point(row.dataset, row.task, row.level, speed, row.mean, row.ci_low, row.ci_high)
        for row in rows
        if row.metric == "f1" and row.mean is not None
        for speed in [speeds.get((row.table, row.dataset, row.task, row.level))]
        if speed is not None
    )
    if not points:
        return None
    tasks = {point.task for point in points}
    return SpeedAgainstF1(
        datasets=tuple(dict.fromkeys(point.dataset for point in points)),
        tasks=tuple(task for task in _PHASES.values() if task in tasks),
        levels=tuple(dict.fromkeys(point.level for point in points)),
        points=points,
    )


def draw_speed(figure: SpeedAgainstF1) -> Figure:
    """Draw it, a row a dataset, a column a phase."""
    with style():
        rows, columns = len(figure.datasets), len(figure.tasks)
        width = TWO_COLUMNS if columns > 1 else ONE_COLUMN
        canvas = Figure(figsize=(width, 0.55 + _ROW_INCHES * rows))
        axes = canvas.subplots(rows, columns, squeeze=False)
        places = [(dataset, task) for dataset in figure.datasets for task in figure.tasks]
        for ax, place in zip(axes.flat, places, strict=True):
            points = [point for point in figure.points if (point.dataset, point.task) == place]
            ax.set_visible(bool(points))
            if points:
                _draw_panel(ax, points, figure.levels)
                ax.set_title(" ".join(place))
        for ax in axes[:, 0]:
            ax.set_ylabel("F1 (%)")
        canvas.supxlabel("Sentences per second of CPU time", fontsize=8)
        draw_legend(canvas, axes.flat, figure.levels)
    return canvas


def _draw_panel(ax: Axes, points: Sequence[Point], levels: Sequence[str]) -> None:
    for point in points:
        own = look(levels.index(point.level)) | {"linestyle": "none", "markersize": 6}
        ends = [[0.0], [0.0]]
        if point.low is not None and point.high is not None:
            ends = [[point.f1 - point.low], [point.high - point.f1]]
        ax.errorbar(point.speed, point.f1, yerr=ends, capsize=2.5, elinewidth=1.0, label=point.level, **own)
    ax.set_xlim(0, 1.15 * max(point.speed for point in points))
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.yaxis.set_major_locator(MaxNLocator(5))

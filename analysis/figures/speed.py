"""What F1 costs: speed against F1, of the models and of the representations, a panel a phase."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.drawing import TWO_COLUMNS, draw_legend, look, panels, style
from analysis.tables.efficiency import F1_TASK, SPEED
from analysis.tables.rows import Row

_ROW_INCHES = 1.9
_DISTINCT, _FEWEST = 1.1, 3
"""A panel needs so many speeds of which each is so many times the one before: else a table says it better."""
LEFT_OUT = "Speed against F1: fewer than three speeds that differ by a tenth have an F1 beside them."
"""What a report says that has speeds and not the figure."""


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
    """Join speed and F1 of Table 3 and of the representations.

    A dataset and task needs three speeds that can be told apart; None where none has them.
    """
    speeds = {
        (row.table, row.dataset, F1_TASK[row.task], row.level): row.mean
        for row in rows
        if row.metric == SPEED and row.mean is not None
    }
    points = tuple(
        Point(row.dataset, row.task, row.level, speed, row.mean, row.ci_low, row.ci_high)
        for row in rows
        if row.metric == "f1" and row.mean is not None
        for speed in [speeds.get((row.table, row.dataset, row.task, row.level))]
        if speed is not None
    )
    # The base has two names, as a model and as a representation: the latter stands for both.
    points = tuple({(item.dataset, item.task, item.speed, item.f1): item for item in points}.values())
    by_panel: dict[tuple[str, str], list[float]] = {}
    for point in points:
        by_panel.setdefault((point.dataset, point.task), []).append(point.speed)
    points = tuple(point for point in points if _num_distinct(by_panel[point.dataset, point.task]) >= _FEWEST)
    if not points:
        return None
    tasks = {point.task for point in points}
    return SpeedAgainstF1(
        datasets=tuple(dict.fromkeys(point.dataset for point in points)),
        tasks=tuple(task for task in F1_TASK.values() if task in tasks),
        levels=tuple(dict.fromkeys(point.level for point in points)),
        points=points,
    )


def _num_distinct(speeds: Sequence[float]) -> int:
    """How many speeds there are if those that are nearly the same count as one."""
    count, last = 0, 0.0
    for speed in sorted(speeds):
        if speed >= _DISTINCT * last:
            count, last = count + 1, speed
    return count


def draw_speed(figure: SpeedAgainstF1, width: float = TWO_COLUMNS) -> Figure:
    """Draw it, a row a dataset, a column a phase."""
    with style():
        shown = {(point.dataset, point.task) for point in figure.points}
        canvas, axes = panels(figure.datasets, figure.tasks, width, _ROW_INCHES, shown, labels=("", "F1 (%)"))
        for place, ax in axes.items():
            points = [point for point in figure.points if (point.dataset, point.task) == place]
            _draw_panel(ax, points, figure.levels)
            ax.set_title(" ".join(place))
        canvas.supxlabel("Sentences per second of CPU time", fontsize=8)
        draw_legend(canvas, axes.values(), figure.levels)
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

"""How a mean settles (`analysis.statistics.convergence`): the base's F1 and its interval after 2, 3, … seeds.

Seeds enter in ascending order, so a point is what the study would have said with fewer seeds. The interval at
two seeds is too wide to be of use (Student's t at one degree of freedom is 12.7): it may run out of the
panel.
"""

import math
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.drawing import TWO_COLUMNS, look, panels, style
from analysis.statistics.convergence import Step, converge
from lai_net.metrics.scoring import TASKS
from tune.spec.study import Interval

FEWEST_SEEDS = 5
"""With fewer the useful part of the picture is a point or two."""
_IN_VIEW = 3
"""From so many seeds on an interval is within the panel."""
_ROW_INCHES = 1.75


@dataclass(frozen=True, slots=True)
class Settling:
    """A base's F1 in percent over its first 1, 2, … seeds."""

    dataset: str
    task: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Convergence:
    """All bases that have enough seeds; `tasks` are those that any of them has, `interval` is its kind."""

    interval: Interval
    tasks: tuple[str, ...]
    datasets: tuple[str, ...]
    lines: tuple[Settling, ...]


def compute_convergence(cells: pd.DataFrame) -> Convergence | None:
    """From the cells' frame (see `analysis.frame`); None where no base has `FEWEST_SEEDS` seeds."""
    done = cells[cells["is_base"] & (cells["state"] == "completed")]
    interval: Interval = "bca" if (done["interval"] == "bca").any() else "t"
    lines = []
    for (dataset, task), part in done.groupby(["dataset", "task"], sort=False):
        scores = (100 * part.drop_duplicates("seed").sort_values("seed")["f1"]).tolist()
        if len(scores) >= FEWEST_SEEDS:
            lines.append(Settling(str(dataset), str(task), converge(scores, interval=interval)))
    if not lines:
        return None
    tasks = {line.task for line in lines}
    return Convergence(
        interval=interval,
        tasks=tuple(task for task in TASKS if task in tasks),
        datasets=tuple(dict.fromkeys(line.dataset for line in lines)),
        lines=tuple(lines),
    )


def draw_convergence(figure: Convergence, width: float = TWO_COLUMNS) -> Figure:
    """Draw it, a row a dataset, a column a task."""
    with style():
        lines = {(line.dataset, line.task): line for line in figure.lines}
        canvas, axes = panels(
            figure.datasets, figure.tasks, width, _ROW_INCHES, lines, labels=("Seeds", "Mean F1 (%)")
        )
        for place, ax in axes.items():
            _draw_panel(ax, lines[place])
    return canvas


def _draw_panel(ax: Axes, line: Settling) -> None:
    own = look(0)
    counts = [step.n for step in line.steps]
    low = [math.nan if step.ci_low is None else step.ci_low for step in line.steps]
    high = [math.nan if step.ci_high is None else step.ci_high for step in line.steps]
    ax.fill_between(counts, low, high, color=own["color"], alpha=0.18, linewidth=0)
    ax.plot(counts, [step.mean for step in line.steps], **own | {"markersize": 3.5})
    ax.set_ylim(_limits(line))
    ax.set_xlim(0.5, len(line.steps) + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_title(f"{line.dataset} {line.task}")


def _limits(line: Settling) -> tuple[float, float]:
    """Of the axis: all means, and the intervals from `_IN_VIEW` seeds on, with some room."""
    ends = [
        end
        for step in line.steps
        for end in (step.mean, *((step.ci_low, step.ci_high) if step.n >= _IN_VIEW else ()))
        if end is not None
    ]
    room = 0.06 * (max(ends) - min(ends)) or 0.5
    return min(ends) - room, max(ends) + room

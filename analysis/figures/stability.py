"""Figure A1: F1 against GCN layers and attention heads, with its spread over seeds.

Rows are factors, columns tasks, a line a dataset; the band is ± 1 standard deviation, each dot a seed. A
level without results is a gap: nothing is drawn across it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.drawing import TWO_COLUMNS, draw_legend, look, panels, style
from analysis.statistics.summary import summarise
from lai_net.metrics.scoring import TASKS

FACTORS = {"gcn_layers": "GCN layers", "gcn_heads": "Attention heads"}
_ROW_INCHES = 1.95


@dataclass(frozen=True, slots=True)
class Level:
    """A level's F1 in percent: by seed, mean (NaN without seeds) and std (NaN below two)."""

    level: int
    by_seed: tuple[tuple[int, float], ...]
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Line:
    """One dataset in one panel; levels ascending, those without results included."""

    dataset: str
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One factor and task."""

    factor: str
    task: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class FigureA1:
    """All panels, row by row; `factors` and `tasks` are those that the study has."""

    factors: tuple[str, ...]
    tasks: tuple[str, ...]
    datasets: tuple[str, ...]
    panels: tuple[Panel, ...]


def compute_figure_a1(cells: pd.DataFrame) -> FigureA1:
    """The numbers of Figure A1 from the cells' frame (see `analysis.frame`)."""
    part = cells[cells["factor"].isin(FACTORS)]
    factors = tuple(factor for factor in FACTORS if (part["factor"] == factor).any())
    tasks = tuple(task for task in TASKS if (part["task"] == task).any())
    panels = tuple(
        _panel(part[(part["factor"] == factor) & (part["task"] == task)], factor, task)
        for factor in factors
        for task in tasks
    )
    return FigureA1(factors, tasks, tuple(dict.fromkeys(part["dataset"])), panels)


def draw_figure_a1(figure: FigureA1, width: float = TWO_COLUMNS) -> Figure:
    """Draw it; needs no display and leaves matplotlib's settings as they were."""
    with style():
        rows, columns = max(1, len(figure.factors)), max(1, len(figure.tasks))
        canvas, axes, seen = panels(rows, columns, width, _ROW_INCHES)
        for panel, ax in zip(figure.panels, axes.flat, strict=False):
            _draw_panel(ax, panel, figure.datasets)
        for ax, task in zip(axes[0], figure.tasks, strict=False):
            ax.set_title(task)
        for ax in seen[:, 0]:
            ax.set_ylabel("F1 (%)")
        draw_legend(canvas, axes.flat, figure.datasets)
    return canvas


def _panel(part: pd.DataFrame, factor: str, task: str) -> Panel:
    lines = []
    for dataset, cells in part.groupby("dataset", sort=False):
        by_level = {int(str(level)): rows for level, rows in cells.groupby("level")}
        levels = tuple(_level(level, by_level[level]) for level in sorted(by_level))
        lines.append(Line(str(dataset), levels))
    return Panel(factor, task, tuple(lines))


def _level(level: int, rows: pd.DataFrame) -> Level:
    done = rows[rows["state"] == "completed"].sort_values("seed")
    scores = [100 * float(score) for score in done["f1"]]
    summary = summarise(scores)
    return Level(
        level=level,
        by_seed=tuple(zip((int(seed) for seed in done["seed"]), scores, strict=True)),
        mean=math.nan if summary.mean is None else summary.mean,
        std=math.nan if summary.std is None else summary.std,
    )


def _draw_panel(ax: Axes, panel: Panel, datasets: Sequence[str]) -> None:
    for line in panel.lines:
        own = look(datasets.index(line.dataset))
        levels = [level.level for level in line.levels]
        low = [level.mean - level.std for level in line.levels]
        high = [level.mean + level.std for level in line.levels]
        ax.fill_between(levels, low, high, color=own["color"], alpha=0.18, linewidth=0)
        dots = [(level.level, score) for level in line.levels for _, score in level.by_seed]
        x, y = [level for level, _ in dots], [score for _, score in dots]
        ax.scatter(x, y, s=7, color=own["color"], alpha=0.45, linewidths=0)
        label = line.dataset if dots else "_"  # a legend has what is to be seen
        ax.plot(levels, [level.mean for level in line.levels], label=label, **own)
    ticks = sorted({level.level for line in panel.lines for level in line.levels})
    ax.set_xticks(ticks)
    ax.set_xlim(min(ticks, default=0) - 0.3, max(ticks, default=1) + 0.3)
    ax.yaxis.set_major_locator(MaxNLocator(5))
    if not any(level.by_seed for line in panel.lines for level in line.levels):
        ax.text(0.5, 0.5, "no results yet", transform=ax.transAxes, ha="center", color="0.4")
        ax.set_yticks([])
    ax.set_xlabel(FACTORS[panel.factor])

"""Figure A1: F1 against GCN layers and attention heads, with its spread over seeds.

Rows are factors, columns tasks, a line a dataset; the band is ± 1 standard deviation, each dot a seed. A
level that has fewer seeds than planned has a hollow marker on a thin dotted line and no band, since it is
not to be read as the mean of all. One without results is a gap: nothing is drawn across it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.drawing import TWO_COLUMNS, draw_legend, look, panels, style
from analysis.statistics.summary import summarise
from lai_net.metrics.scoring import TASKS

FACTORS = {"gcn_layers": "GCN layers", "gcn_heads": "Attention heads"}
FEWER = "fewer seeds than planned"
_ROW_INCHES = 1.95
_LABEL_INCHES = 0.16  # of a level with two digits and its room
_ALONE = 0.12
"""Half the width of a level's band where neither neighbour has one."""


@dataclass(frozen=True, slots=True)
class Level:
    """A level's F1 in percent: by seed, mean (NaN without seeds) and std (NaN below two)."""

    level: int
    by_seed: tuple[tuple[int, float], ...]
    mean: float
    std: float
    is_complete: bool


@dataclass(frozen=True, slots=True)
class StabilityLine:
    """One dataset in one panel; levels ascending, those without results included."""

    dataset: str
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class StabilityPanel:
    """One factor and task."""

    factor: str
    task: str
    lines: tuple[StabilityLine, ...]


@dataclass(frozen=True, slots=True)
class FigureA1:
    """All panels, row by row; `factors` and `tasks` are those that the study has."""

    factors: tuple[str, ...]
    tasks: tuple[str, ...]
    datasets: tuple[str, ...]
    panels: tuple[StabilityPanel, ...]


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
        rows, columns = figure.factors or ("",), figure.tasks or ("",)
        canvas, axes = panels(rows, columns, width, _ROW_INCHES, labels=("", "F1 (%)"))
        for panel in figure.panels:
            _draw_panel(axes[panel.factor, panel.task], panel, figure.datasets)
        for task in columns:
            axes[rows[0], task].set_title(task)
        draw_legend(canvas, axes.values(), (*figure.datasets, FEWER))
    return canvas


def _panel(part: pd.DataFrame, factor: str, task: str) -> StabilityPanel:
    lines = []
    for dataset, cells in part.groupby("dataset", sort=False):
        by_level = {int(str(level)): rows for level, rows in cells.groupby("level")}
        levels = tuple(_level(level, by_level[level]) for level in sorted(by_level))
        lines.append(StabilityLine(str(dataset), levels))
    return StabilityPanel(factor, task, tuple(lines))


def _level(level: int, rows: pd.DataFrame) -> Level:
    done = rows[rows["state"] == "completed"].sort_values("seed")
    scores = [100 * float(score) for score in done["f1"]]
    summary = summarise(scores)
    num_known = int(rows["state"].isin(["completed", "failed", "blocked"]).sum())
    return Level(
        level=level,
        by_seed=tuple(zip((int(seed) for seed in done["seed"]), scores, strict=True)),
        mean=math.nan if summary.mean is None else summary.mean,
        std=math.nan if summary.std is None else summary.std,
        is_complete=len(scores) >= max(int(rows["planned_seeds"].iloc[0]), num_known),
    )


def _draw_panel(ax: Axes, panel: StabilityPanel, datasets: Sequence[str]) -> None:
    for line in panel.lines:
        _draw_line(ax, line, look(datasets.index(line.dataset)))
    ticks = sorted({level.level for line in panel.lines for level in line.levels})
    ax.set_xlim(min(ticks, default=0) - 0.3, max(ticks, default=1) + 0.3)
    named = _apart(ticks, _room(ax))
    ax.set_xticks(named)
    ax.set_xticks([tick for tick in ticks if tick not in named], minor=True)
    ax.yaxis.set_major_locator(MaxNLocator(5))
    if not any(level.by_seed for line in panel.lines for level in line.levels):
        ax.text(0.5, 0.5, "no results yet", transform=ax.transAxes, ha="center", color="0.4")
        ax.set_yticks([])
    ax.set_xlabel(FACTORS[panel.factor])


def _room(ax: Axes) -> float:
    """How far apart levels must be on the axis for their labels to stand side by side."""
    low, high = ax.get_xlim()
    inches = ax.get_position().width * ax.figure.get_figure(root=True).get_size_inches()[0]
    return float((high - low) * _LABEL_INCHES / inches)


def _apart(ticks: Sequence[int], room: float) -> list[int]:
    """Those of ascending levels, from the first on, that are so far apart."""
    named: list[int] = []
    for tick in ticks:
        if not named or tick - named[-1] >= room:
            named.append(tick)
    return named


def _draw_line(ax: Axes, line: StabilityLine, own: dict[str, Any]) -> None:
    color = own["color"]
    _draw_bands(ax, line, color)
    dots = [(level.level, score) for level in line.levels for _, score in level.by_seed]
    for before, after in pairwise(line.levels):
        if not (before.is_complete and after.is_complete):
            ax.plot(
                [before.level, after.level], [before.mean, after.mean], color=color, marker="", linewidth=0.8,
                linestyle=(0, (1, 2)),
            )  # fmt: skip
    ax.plot(
        [level.level for level in line.levels],
        [level.mean if level.is_complete else math.nan for level in line.levels],
        label=line.dataset if dots else "_",  # a legend has what is to be seen
        **own,
    )
    fewer = [level for level in line.levels if level.by_seed and not level.is_complete]
    hollow = own | {
        "linestyle": "none", "markerfacecolor": "white", "markeredgecolor": color, "markeredgewidth": 1.0,
    }  # fmt: skip
    ax.plot([level.level for level in fewer], [level.mean for level in fewer], **hollow)
    if fewer:
        ax.plot([], [], label=FEWER, **hollow | {"marker": "o", "markeredgecolor": "0.3"})
    x, y = [level for level, _ in dots], [score for _, score in dots]
    ax.scatter(x, y, s=7, color=color, alpha=0.45, linewidths=0, zorder=3)


def _draw_bands(ax: Axes, line: StabilityLine, color: Any) -> None:
    """Over each run of levels that are complete."""
    for is_complete, levels in groupby(line.levels, lambda level: level.is_complete):
        run = list(levels)
        if not is_complete:
            continue
        x: list[float] = [level.level for level in run]
        low, high = ([level.mean + sign * level.std for level in run] for sign in (-1, 1))
        if len(run) == 1:
            x, low, high = [x[0] - _ALONE, x[0] + _ALONE], low * 2, high * 2
        ax.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)

"""Learning curves of a study: F1 by epoch, the base with its spread, every other level faint."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.drawing import TWO_COLUMNS, draw_legend, look, panels, style
from analysis.levelling import ConfigCurves, Measure
from lai_net.wording import spanned

_ROW_INCHES = 2.0
_BASE, _OTHERS = "base: mean ± standard deviation over seeds", "other levels: mean"
_FEWER = "fewer seeds than the base: mean"
_FAINT: dict[str, Any] = {"color": "0.6", "linewidth": 0.7, "marker": ""}


@dataclass(frozen=True, slots=True)
class MeanCurve:
    """A config's F1 in percent after each epoch: mean, and std over its `n` seeds (NaN with one)."""

    is_base: bool
    n: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LearningPanel:
    """One dataset and phase; the base is the last line, on top. `measures` says which F1 it is."""

    dataset: str
    phase: str
    measures: tuple[Measure, ...]
    lines: tuple[MeanCurve, ...]

    @property
    def num_seeds(self) -> int:
        """Those of the base; where it has no curve, the most that a config has."""
        return max([line.n for line in self.lines if line.is_base] or [line.n for line in self.lines])


@dataclass(frozen=True, slots=True)
class LearningFigure:
    """A row a dataset, a column a phase; `panels` are those that have curves."""

    datasets: tuple[str, ...]
    phases: tuple[str, ...]
    panels: tuple[LearningPanel, ...]


def compute_learning_curves(configs: Sequence[ConfigCurves]) -> LearningFigure | None:
    """From the configs' curves; None where no training had a second epoch."""
    places = dict.fromkeys((item.dataset, item.phase) for item in configs)
    found = tuple(
        LearningPanel(
            dataset,
            phase,
            tuple(dict.fromkeys(item.measure for item in own)),
            tuple(sorted(map(_mean, own), key=lambda line: line.is_base)),
        )
        for dataset, phase in places
        if (own := [item for item in configs if (item.dataset, item.phase) == (dataset, phase)])
    )
    found = tuple(panel for panel in found if any(len(line.mean) > 1 for line in panel.lines))
    if not found:
        return None
    return LearningFigure(
        datasets=tuple(dict.fromkeys(panel.dataset for panel in found)),
        phases=tuple(dict.fromkeys(panel.phase for panel in found)),
        panels=found,
    )


def _mean(config: ConfigCurves) -> MeanCurve:
    by_epoch = list(zip(*config.by_seed.values(), strict=True))
    std = tuple(stdev(scores) if len(scores) > 1 else math.nan for scores in by_epoch)
    return MeanCurve(config.is_base, len(config.by_seed), tuple(map(fmean, by_epoch)), std)


def caption_of_learning_curves(figure: LearningFigure) -> str:
    """Which F1 it is, over how many seeds."""
    whole = [line.n for panel in figure.panels for line in panel.lines if line.n >= panel.num_seeds]
    fewer = [line.n for panel in figure.panels for line in panel.lines if line.n < panel.num_seeds]
    counts = f"n = {spanned(whole)}" + (f"; dotted: fewer seeds, n = {spanned(fewer)}" if fewer else "")
    gold = {item.is_between_gold for panel in figure.panels if panel.phase == "RE" for item in panel.measures}
    between = " Relations are between gold entities." if gold == {True} else ""
    return (
        "F1 by which a training chooses its best epoch, after each epoch: the base with mean and ± 1 "
        f"standard deviation over seeds (ddof = 1), every other level with its mean; {counts}.{between}"
    )


def draw_learning_curves(figure: LearningFigure, width: float = TWO_COLUMNS) -> Figure:
    """Draw it."""
    with style():
        curves = {(panel.dataset, panel.phase): panel for panel in figure.panels}
        canvas, axes = panels(
            figure.datasets, figure.phases, width, _ROW_INCHES, curves, labels=("Epoch", "F1 (%)")
        )
        for place, ax in axes.items():
            _draw_panel(ax, curves[place])
        draw_legend(canvas, axes.values(), (_BASE, _OTHERS, _FEWER))
    return canvas


def _draw_panel(ax: Axes, panel: LearningPanel) -> None:
    own = look(0)
    for line in panel.lines:
        epochs = range(1, 1 + len(line.mean))
        if not line.is_base:
            is_whole = line.n >= panel.num_seeds
            label, style_of_line = (_OTHERS, "-") if is_whole else (_FEWER, ":")
            ax.plot(epochs, line.mean, label=label, linestyle=style_of_line, **_FAINT)
            continue
        low, high = (
            [mean + sign * std for mean, std in zip(line.mean, line.std, strict=True)] for sign in (-1, 1)
        )
        ax.fill_between(epochs, low, high, color=own["color"], alpha=0.18, linewidth=0)
        ax.plot(epochs, line.mean, label=_BASE, markevery=max(1, len(epochs) // 8), **own)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    measures = " and ".join(item.name for item in panel.measures)
    ax.set_title(f"{panel.dataset} {panel.phase}, {measures}")

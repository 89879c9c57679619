"""Share of gold entities that pass the entity filter, by epoch: what it loses is lost to all that follows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.drawing import TWO_COLUMNS, draw_legend, look, style
from tune.results.curves import Curves, Epoch


@dataclass(frozen=True, slots=True)
class RecallLine:
    """The base NER trials of a dataset: each one's recalls in percent, and their mean where all have one.

    `split` is the one that epochs are chosen on; `completed` is how many trials there are, with recalls or
    without.
    """

    dataset: str
    split: str
    completed: int
    trials: tuple[tuple[tuple[int, float], ...], ...]
    mean: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class FilterRecall:
    """A line a dataset."""

    lines: tuple[RecallLine, ...]


def compute_filter_recall(cells: pd.DataFrame, curves: Curves) -> FilterRecall | None:
    """The recalls of each dataset's completed base NER trials; None where no such trial has any.

    Args:
        cells: the frame (see `analysis.frame`).
        curves: of all trials of the ledger.
    """
    done = cells[cells["is_base"] & (cells["task"] == "NER") & (cells["state"] == "completed")]
    lines = []
    for dataset, part in done.groupby("dataset", sort=False):
        names = sorted({name for names in part["trial_ids"] for name in names.split()})
        trials = tuple(filter(None, (_recalls(curves.get(name, ())) for name in names)))
        if trials:
            split = " and ".join(sorted(set(part["selection"].dropna()))) or "selection"
            lines.append(RecallLine(str(dataset), split, len(names), trials, _mean(trials)))
    return FilterRecall(tuple(lines)) if lines else None


def _recalls(curve: Iterable[Epoch]) -> tuple[tuple[int, float], ...]:
    return tuple((item.epoch, 100 * item.filter_recall) for item in curve if item.filter_recall is not None)


def _mean(trials: Sequence[Sequence[tuple[int, float]]]) -> tuple[tuple[int, float], ...]:
    by_trial = [dict(trial) for trial in trials]
    shared = sorted(set.intersection(*(set(trial) for trial in by_trial)))
    return tuple((epoch, fmean(trial[epoch] for trial in by_trial)) for epoch in shared)


def draw_filter_recall(figure: FilterRecall, width: float = TWO_COLUMNS) -> Figure:
    """Draw it: a thin line a seed, a thick one their mean."""
    with style():
        canvas = Figure(figsize=(width, 2.2))
        ax = canvas.subplots()
        for number, line in enumerate(figure.lines):
            own = look(number)
            for trial in line.trials:
                thin = own | {"marker": "", "alpha": 0.45, "linewidth": 0.7}
                ax.plot(*zip(*trial, strict=True), **thin)
            ax.plot(*zip(*line.mean, strict=True), label=line.dataset, **own)
        ax.set_xlabel("Epoch")
        ax.set_ylabel("Filter recall (%)")
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(5))
        draw_legend(canvas, [ax], [line.dataset for line in figure.lines])
    return canvas

"""Every figure that a study has data for, drawn."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.convergence import Convergence, compute_convergence, draw_convergence
from analysis.figures.deltas import compute_deltas, draw_deltas
from analysis.figures.drawing import ONE_COLUMN, TWO_COLUMNS, render
from analysis.figures.filter_recall import FilterRecall, compute_filter_recall, draw_filter_recall
from analysis.figures.learning_curves import (
    caption_of_learning_curves,
    compute_learning_curves,
    draw_learning_curves,
)
from analysis.figures.search import (
    compute_importance,
    compute_search_history,
    draw_importance,
    draw_search_history,
)
from analysis.figures.speed import compute_speed, draw_speed
from analysis.figures.stability import FACTORS, FigureA1, compute_figure_a1, draw_figure_a1
from analysis.levelling import RULE, ConfigCurves
from analysis.statistics.summary import INTERVALS
from analysis.tables.caption import by_value
from analysis.tables.rows import Row
from lai_net.wording import counted, spanned
from tune.results.curves import Curves
from tune.search.state import Search


@dataclass(frozen=True)
class Material:
    """What figures are made of.

    Attributes:
        cells: the frame (see `analysis.frame`).
        rows: of all tables.
        curves: of the ledger's trials.
        configs: the curves of the study's own, by config.
        search: as its log leaves it; None in a study of tables.
        importances: share by setting; empty where it is not known.
    """

    cells: pd.DataFrame
    rows: Sequence[Row]
    curves: Curves = field(default_factory=dict)
    configs: Sequence[ConfigCurves] = ()
    search: Search | None = None
    importances: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnFigure:
    """A figure that is drawn: what the report writes to files and shows on its page.

    Attributes:
        name: of its files, without a suffix: letters, digits, `_`.
        title: its heading.
        caption: what it shows, in plain sentences.
        alt: for those who do not see it: what is on the axes, and where the numbers are.
        files: its bytes by format, as wide as two columns; the page shows `svg`.
        column: the same numbers as a PDF for one column.
    """

    name: str
    title: str
    caption: str
    alt: str
    files: Mapping[str, bytes]
    column: bytes


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    title: str
    caption: str | Callable[[Any], str]
    """In words, or what makes them of the computed figure."""
    alt: str
    compute: Callable[[Material], Any]
    draw: Callable[[Any, float], Figure]
    """The computed figure and a width."""


def draw_all(material: Material) -> Iterator[DrawnFigure]:
    """The figures that have data, in the order of a report."""
    for kind in _KINDS:
        computed = kind.compute(material)
        if computed is not None:
            yield DrawnFigure(
                name=kind.name, title=kind.title, alt=kind.alt,
                caption=kind.caption if isinstance(kind.caption, str) else kind.caption(computed),
                files=render(kind.draw(computed, TWO_COLUMNS)),
                column=render(kind.draw(computed, ONE_COLUMN), ("pdf",))["pdf"],
            )  # fmt: skip


def _figure_a1(material: Material) -> FigureA1 | None:
    has_factors = bool(material.cells["factor"].isin(list(FACTORS)).any())
    return compute_figure_a1(material.cells) if has_factors else None


def _caption_of_a1(figure: FigureA1) -> str:
    factors = " and ".join(FACTORS[factor] for factor in figure.factors).replace("Attention", "attention")
    levels = [level for panel in figure.panels for line in panel.lines for level in line.levels]
    whole, fewer = (
        [len(level.by_seed) for level in levels if level.by_seed and level.is_complete == is_complete]
        for is_complete in (True, False)
    )
    counts = f"n = {spanned(whole)}" if whole else "no level has as many seeds as planned"
    if fewer:
        counts += "; hollow, on a dotted line without a band: fewer seeds than planned, "
        counts += f"n = {spanned(fewer)}"
    return (
        f"Mean F1 in percent against {factors}; the band is ± 1 standard deviation over seeds (ddof = 1), "
        f"each dot a seed; {counts}. A level without results is a gap. Same view as Table 2."
    )


def _caption_of_convergence(figure: Convergence) -> str:
    return (
        "F1 of the base alone over its first 1, 2, … seeds, in ascending order: mean and 95 % "
        f"{INTERVALS[figure.interval]} interval. The interval at two seeds may run out of the panel. "
        "Same view as the tables."
    )


def _caption_of_filter_recall(figure: FilterRecall) -> str:
    missing = "; ".join(
        f"{len(line.trials)} of {counted(line.completed, 'trial')} on {line.dataset} recorded it"
        for line in figure.lines
        if len(line.trials) < line.completed
    )
    splits = by_value({line.dataset: line.split for line in figure.lines})
    return (
        f"Share of the gold entities of the {splits} split that pass the filter, of those that are not too "
        "long for a candidate or cut off, by epoch, in the base NER trials: a thin line per trial, a thick "
        f"one for their mean.{missing and f' {missing}.'}"
    )


_KINDS = (
    _Kind(
        "figure_a1", "Figure A1. Stability over seeds",
        _caption_of_a1,
        "F1 against the levels of a factor, one panel per factor and task, one line per dataset; the numbers "
        "are in Table 2.",
        _figure_a1, draw_figure_a1,
    ),
    _Kind(
        "figure_deltas", "Differences to the base",
        "Mean difference in F1 to the base of the factor on shared seeds, with its 95 % interval between end "
        "caps, none for one shared seed; where one of them has more seeds, this is not the difference of "
        "their means in a table. An arrow marks what goes on beyond the axis, with its value where that is "
        "the mean. "
        "Filled, or *: p < 0.05, sign-flip permutation test, Holm-adjusted over the levels of the factor. A "
        "line without a mark is the task's base, or has no results. The numbers are the tables'.",
        "Forest plot: a line per level of each factor, a panel per task, differences in F1 to the base with "
        "intervals; the numbers are in the tables' CSV files.",
        lambda material: compute_deltas(material.rows), draw_deltas,
    ),
    _Kind(
        "figure_convergence", "How the mean settles with seeds",
        _caption_of_convergence,
        "Mean F1 of the base and its interval against the number of seeds, one panel per task.",
        lambda material: compute_convergence(material.cells), draw_convergence,
    ),
    _Kind(
        "figure_learning_curves", "Learning curves",
        lambda figure: f"{caption_of_learning_curves(figure)} {RULE}",
        "F1 against the epoch, one panel per dataset and phase; the numbers are in curves.csv.",
        lambda material: compute_learning_curves(material.configs), draw_learning_curves,
    ),
    _Kind(
        "figure_filter_recall", "Recall of the entity filter",
        _caption_of_filter_recall,
        "Filter recall against the epoch, one thin line per seed.",
        lambda material: compute_filter_recall(material.cells, material.curves), draw_filter_recall,
    ),
    _Kind(
        "figure_speed", "Speed against F1",
        "Mean F1 with its 95 % interval over seeds as in the tables, against sentences per second of CPU "
        "time at inference (benchmark, see Table 3).",
        "F1 against inference speed, one panel per task, one point per model or representation; the numbers "
        "are in Table 3 and in the table of representations.",
        lambda material: compute_speed(material.rows), draw_speed,
    ),
    _Kind(
        "figure_search", "History of the search",
        "Left: what each config came to, mean dev F1 over its seeds at full budget, or at the rung that "
        "stopped it, in percent (the plain words have it in 0–1). Right: the learning curves behind them and "
        "the rungs. What was stopped is censored: its score is that of fewer epochs.",
        "Dev F1 of every config of the search in the order of suggestion, and learning curves with rungs.",
        lambda material: None if material.search is None else compute_search_history(material.search),
        draw_search_history,
    ),
    _Kind(
        "figure_importance", "Which settings mattered",
        "PED-ANOVA over the complete configs: each setting's share in reaching the best tenth, or the best "
        "five where that is more.",
        "Bar chart of the importance of each setting of the search.",
        lambda material: compute_importance(material.importances), draw_importance,
    ),
)  # fmt: skip

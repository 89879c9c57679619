"""What figures draw is what was computed, and grey keeps it apart."""

import math
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from analysis.figures.convergence import Convergence, Settling, draw_convergence
from analysis.figures.deltas import Delta, Deltas, draw_deltas
from analysis.figures.drawing import look, style
from analysis.figures.filter_recall import FilterRecall, RecallLine, draw_filter_recall
from analysis.figures.search import (
    COMPLETE,
    PRUNED,
    Importance,
    SearchCurve,
    SearchHistory,
    draw_importance,
    draw_search_history,
)
from analysis.figures.speed import Point, SpeedAgainstF1, draw_speed
from analysis.figures.stability import FigureA1, Level, StabilityLine, StabilityPanel, draw_figure_a1
from analysis.statistics.convergence import converge


def points_of(line: Line2D) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]


def lines(ax: Axes) -> list[list[tuple[float, float]]]:
    """The points of each line that has any."""
    return [points for points in map(points_of, ax.lines) if points]


def band(ax: Axes) -> set[tuple[float, float]]:
    """The corners of the only band."""
    (found,) = [item for item in ax.collections if isinstance(item, PolyCollection)]
    return {(float(x), round(float(y), 6)) for x, y in np.asarray(found.get_paths()[0].vertices)}


def segments(ax: Axes) -> list[list[tuple[float, float]]]:
    """The ends of each interval."""
    found = [item for item in ax.collections if isinstance(item, LineCollection)]
    return [[(float(x), float(y)) for x, y in np.asarray(item.get_segments()[0])] for item in found]


def test_figure_a1_has_means_a_band_of_one_deviation_and_a_dot_a_seed() -> None:
    levels = (
        Level(1, ((0, 58.0), (1, 62.0)), 60.0, math.sqrt(8), is_complete=True),
        Level(2, ((0, 61.0), (1, 63.0)), 62.0, math.sqrt(2), is_complete=True),
    )
    panel = StabilityPanel("gcn_layers", "NER", (StabilityLine("D", levels),))
    (ax,) = draw_figure_a1(FigureA1(("gcn_layers",), ("NER",), ("D",), (panel,))).axes
    assert lines(ax) == [[(1, 60.0), (2, 62.0)]]
    assert band(ax) == {
        (level.level, round(level.mean + sign * level.std, 6)) for level in levels for sign in (-1, 1)
    }
    (dots,) = [item for item in ax.collections if isinstance(item, PathCollection)]
    assert [tuple(dot) for dot in np.asarray(dots.get_offsets())] == [
        (1, 58.0),
        (1, 62.0),
        (2, 61.0),
        (2, 63.0),
    ]


def test_forest_plot_has_differences_with_their_sign_interval_and_verdict() -> None:
    found = (
        Delta("D", "NER", "mask", "Vis.", -0.5, -1.0, 0.25, is_significant=False),
        Delta("D", "NER", "mask", "Full", -2.0, -2.5, -1.5, is_significant=True),
    )
    shown = (("mask", "Vis."), ("mask", "Full"))
    (ax,) = draw_deltas(Deltas(("NER",), ("D",), shown, found, reach=3.0)).axes
    marks = [line for line in ax.lines if line.get_marker() == "o"]
    assert list(map(points_of, marks)) == [[(-0.5, 0)], [(-2.0, 1)]]
    with style():
        colour = to_rgb(look(0)["color"])
    assert [to_rgb(line.get_markerfacecolor()) for line in marks] == [(1, 1, 1), colour]
    assert segments(ax) == [[(-1.0, 0), (0.25, 0)], [(-2.5, 1), (-1.5, 1)]]
    caps = [points_of(line) for line in ax.lines if line.get_marker() == "|"]
    assert caps == segments(ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Mask  Vis.", "Full"]


def test_convergence_has_the_mean_and_interval_of_each_step() -> None:
    steps = converge([60.0, 62.0, 64.0])
    (ax,) = draw_convergence(Convergence("t", ("NER",), ("D",), (Settling("D", "NER", steps),))).axes
    assert lines(ax) == [[(1, 60.0), (2, 61.0), (3, 62.0)]]
    ends = [(step.n, end) for step in steps[1:] for end in (step.ci_low, step.ci_high)]
    assert band(ax) == {(n, round(end, 6)) for n, end in ends if end is not None}


def test_speed_lies_across_and_f1_up() -> None:
    points = tuple(
        Point("D", "NER", level, speed, f1, f1 - 1, f1 + 2)
        for level, speed, f1 in (("a", 10.0, 60.0), ("b", 20.0, 61.0))
    )
    (ax,) = draw_speed(SpeedAgainstF1(("D",), ("NER",), ("a", "b"), points)).axes
    marks = [line for line in ax.lines if line.get_marker() not in ("_", "None")]
    assert list(map(points_of, marks)) == [[(10.0, 60.0)], [(20.0, 61.0)]]
    assert segments(ax) == [[(10.0, 59.0), (10.0, 62.0)], [(20.0, 60.0), (20.0, 63.0)]]


def test_filter_recall_has_a_line_a_trial_and_their_mean() -> None:
    trials = (((1, 90.0), (2, 95.0)), ((1, 80.0), (2, 91.0)))
    (ax,) = draw_filter_recall(
        FilterRecall((RecallLine("D", "dev", 2, trials, ((1, 85.0), (2, 93.0))),))
    ).axes
    assert lines(ax) == [[(1, 90.0), (2, 95.0)], [(1, 80.0), (2, 91.0)], [(1, 85.0), (2, 93.0)]]
    *thin, thick = (line.get_linewidth() for line in ax.lines)
    assert max(thin) < thick


def test_a_search_has_its_scores_best_and_rungs() -> None:
    curves = (
        SearchCurve(0, COMPLETE, ((1, 40.0), (2, 50.0)), 50.0),
        SearchCurve(1, PRUNED, ((1, 20.0),), 20.0),
        SearchCurve(2, COMPLETE, ((1, 45.0), (2, 55.0)), 55.0),
    )
    canvas = draw_search_history(SearchHistory(curves, ((0, 50.0), (2, 55.0)), rungs=(1,)))
    left, right = canvas.axes
    assert lines(left) == [[(0, 50.0), (2, 55.0)], [(1, 20.0)], [(0, 50.0), (2, 55.0), (2, 55.0)]]
    rung, *drawn = lines(right)
    assert [x for x, _ in rung] == [1, 1]
    ends = [[curve.points[-1]] for curve in curves]
    assert drawn == [
        points for curve, end in zip(curves, ends, strict=True) for points in (list(curve.points), end)
    ]


def test_importance_has_a_bar_for_each_name() -> None:
    canvas = draw_importance(Importance((("b", 0.7), ("a", 0.2))))
    (ax,) = canvas.axes
    named = dict(zip((label.get_text() for label in ax.get_yticklabels()), ax.patches, strict=True))
    widths = {name: bar.get_width() for name, bar in named.items() if isinstance(bar, Rectangle)}
    assert widths == {"b": 0.7, "a": 0.2}
    assert ax.yaxis_inverted(), "the largest on top"


def test_looks_differ_without_colour_and_their_colours_are_safe() -> None:
    with style():
        looks: list[dict[str, Any]] = [look(number) for number in range(6)]
    assert len({(own["marker"], str(own["linestyle"])) for own in looks}) == 6
    assert [own["color"] for own in looks] == sns.color_palette("colorblind")[:6]

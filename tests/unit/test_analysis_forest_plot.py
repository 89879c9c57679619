"""The forest plot of differences to the base: its numbers, its axis, its marks."""

from typing import Any

import pytest

from analysis.figures.deltas import compute_deltas, draw_deltas
from analysis.figures.drawing import ONE_COLUMN, TWO_COLUMNS, render
from analysis.tables.table import compute_tables
from tests.unit.drawing import row, two_levels


def test_forest_plot_has_the_deltas_of_the_tables(imported: Any, result_row: Any) -> None:
    cells = two_levels(imported, result_row)
    figure = compute_deltas([row for table in compute_tables(cells) for row in table.rows])
    assert figure is not None
    assert (figure.tasks, figure.datasets, figure.lines) == (("NER",), ("SciERC",), (("gcn_layers", "0"),))
    (delta,) = figure.deltas
    half = 4.302652729696142 * 1.5275252316519465 / 3**0.5  # Student's t; -2, -1, -4
    assert (delta.delta, delta.is_significant) == (pytest.approx(-7 / 3), False)
    assert (delta.low, delta.high) == (pytest.approx(-7 / 3 - half), pytest.approx(-7 / 3 + half))
    assert figure.reach == pytest.approx(1.08 * (7 / 3 + half))


def test_an_interval_that_dwarfs_the_differences_does_not_set_the_axis() -> None:
    wide = row("f1", "a", 1.0, table="2", task="NER", delta=0.5, delta_ci_low=-50.0, delta_ci_high=51.0)
    figure = compute_deltas([wide])
    assert figure is not None
    assert figure.reach == 1.5


def test_an_interval_that_costs_little_room_is_shown_whole() -> None:
    ends = {"a": 0.25, "b": 0.32, "c": 0.66}
    rows = [
        row("f1", level, 60.0, table="2", task="NER", delta=0.2, delta_ci_low=-0.1, delta_ci_high=end)
        for level, end in ends.items()
    ]
    figure = compute_deltas(rows)
    assert figure is not None
    assert figure.reach == pytest.approx(1.08 * 0.66), "not 3 times 0.2"


def test_another_model_does_not_set_the_axis_either() -> None:
    """One level 20 points below; it has an arrow and its value at the end of the axis."""
    rows = [
        row(
            "f1",
            level,
            60.0,
            table="2",
            task="NER",
            delta=delta,
            delta_ci_low=delta - 1,
            delta_ci_high=delta + 1,
        )
        for level, delta in (("a", 0.5), ("b", -0.8), ("c", 0.9), ("PL-Marker", -20.0))
    ]
    figure = compute_deltas(rows)
    assert figure is not None
    assert figure.reach == pytest.approx(4 * (1.8 + 1.9) / 2)
    for width in (ONE_COLUMN, TWO_COLUMNS):
        (ax,) = draw_deltas(figure, width).axes
        assert [text.get_text() for text in ax.texts] == ["−20.00"]
        assert ax.get_xlim() == (-figure.reach, figure.reach)


def test_a_value_beyond_the_axis_is_not_struck_through_and_no_mark_is_cut() -> None:
    changes = {"table": "2", "task": "NER"}
    rows = [
        row("f1", level, 60.0, delta=delta, delta_ci_low=-1.0, delta_ci_high=delta + 1, **changes)
        for level, delta in (("a", 0.5), ("b", 0.8), ("c", 0.9), ("far", 20.0))
    ]
    figure = compute_deltas(rows)
    assert figure is not None
    (ax,) = draw_deltas(figure).axes
    (text,) = ax.texts
    patch = text.get_bbox_patch()
    assert patch is not None
    assert patch.get_facecolor() == (1, 1, 1, 1), "over the interval's line"
    marks = [line for line in ax.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in marks] == [1, 1, 1, 0]
    assert [line.get_clip_on() for line in marks] == [False, False, False, True]


def test_panels_have_room_where_a_mean_lies_beyond_the_axis() -> None:
    rows = [
        row("f1", str(level), 60.0, table="2", task=task, delta=delta, delta_ci_low=-1.0, delta_ci_high=delta)
        for task in ("NER", "RE", "RE+")
        for level, delta in enumerate((0.5, 0.8, 0.9, 20.0))
    ]
    figure = compute_deltas(rows)
    assert figure is not None
    for width in (ONE_COLUMN, TWO_COLUMNS):
        canvas = draw_deltas(figure, width)
        render(canvas, ("png",))
        shares = [box.width * box.height for box in (ax.get_position() for ax in canvas.axes)]
        assert sum(shares) > 0.35


def test_many_lines_in_a_column_stay_apart() -> None:
    rows = [
        row("f1", str(level), 60.0, table="2", task=task, delta=0.5)
        for task in ("NER", "RE", "RE+")
        for level in range(40)
    ]
    figure = compute_deltas(rows)
    assert figure is not None
    inches = [draw_deltas(figure, width).get_size_inches()[1] for width in (ONE_COLUMN, TWO_COLUMNS)]
    assert inches[0] / 120 > 0.125
    assert inches[1] < 8.6


def test_a_narrow_interval_has_caps_that_its_mark_does_not_hide() -> None:
    changes = {"table": "2", "task": "NER", "delta": 0.5}
    narrow = row("f1", "a", 60.0, delta_ci_low=0.49, delta_ci_high=0.51, **changes)
    figure = compute_deltas([narrow, row("f1", "b", 60.0, **changes)])
    assert figure is not None
    (ax,) = draw_deltas(figure).axes
    caps = [line for line in ax.lines if line.get_marker() == "|"]
    assert [tuple(map(float, line.get_xdata())) for line in caps] == [(0.49, 0.51)]
    marks = [line for line in ax.lines if line.get_marker() == "o"]
    assert all(mark.get_markersize() < caps[0].get_markersize() for mark in marks)

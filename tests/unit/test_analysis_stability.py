"""Figure A1: the numbers behind it, gaps, and bytes that repeat."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PathCollection, PolyCollection

from analysis.figures.drawing import ONE_COLUMN, TWO_COLUMNS, render
from analysis.figures.gallery import Material, draw_all
from analysis.figures.stability import FEWER, compute_figure_a1, draw_figure_a1

STUDY = """
name = "s"
seeds = [1, 2]
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "demo-ner"
[[datasets]]
name = "ADE"
[datasets.ner]
preset = "demo-ner"
[factors]
gcn_layers = [2, 0, 1, 3]
gcn_heads = [4, 6]
"""


@pytest.fixture
def figure(imported: Any, result_row: Any) -> Any:
    """SciERC has 0, 1 (one seed) and 3 layers, not 2; ADE has nothing."""
    rows = [
        result_row(f1, seed=seed, gcn_layers=layers, gcn_heads=4 if layers else "")
        for seed, layers, f1 in ((2, 0, 0.60), (1, 0, 0.58), (1, 1, 0.70), (1, 3, 0.5), (2, 3, 0.5))
    ]
    return compute_figure_a1(imported(STUDY, rows).cells)


def test_the_numbers_are_computed_before_anything_is_drawn(figure: Any) -> None:
    assert (figure.factors, figure.tasks) == (("gcn_layers", "gcn_heads"), ("NER",))
    assert figure.datasets == ("SciERC", "ADE")
    line = figure.panels[0].lines[0]
    assert [level.level for level in line.levels] == [0, 1, 2, 3]
    assert [seed for seed, _ in line.levels[0].by_seed] == [1, 2]
    assert [f1 for _, f1 in line.levels[0].by_seed] == pytest.approx([58.0, 60.0])
    assert line.levels[0].mean == pytest.approx(59.0)
    assert line.levels[0].std == pytest.approx(math.sqrt(2))
    assert (line.levels[1].mean, math.isnan(line.levels[1].std)) == (70.0, True)
    assert line.levels[2].by_seed == ()
    assert [level.is_complete for level in line.levels] == [True, False, False, True]


def test_a_level_without_all_its_seeds_is_a_gap_in_the_line(figure: Any) -> None:
    ax = draw_figure_a1(figure).axes[0]
    scierc = next(line for line in ax.get_lines() if line.get_label() == "SciERC")
    assert list(scierc.get_xdata()) == [0, 1, 2, 3]
    assert [math.isnan(y) for y in scierc.get_ydata()] == [False, True, True, False]


def test_a_level_that_lacks_seeds_is_drawn_apart(figure: Any) -> None:
    """Hollow, on a dotted line, without a band, its seed in sight; one without results not at all."""
    canvas = draw_figure_a1(figure)
    ax = canvas.axes[0]
    lines = [line for line in ax.get_lines() if len(line.get_xdata())]
    (hollow,) = [line for line in lines if line.get_markerfacecolor() == "white"]
    assert (list(hollow.get_xdata()), list(hollow.get_ydata())) == ([1], [70.0])
    assert hollow.get_linestyle() == "None"
    dotted = [line for line in ax.get_lines() if line.get_linewidth() == 0.8]
    drawn = [list(line.get_xdata()) for line in dotted if not np.isnan(line.get_ydata()).any()]
    assert drawn == [[0, 1]]
    bands = [band for band in ax.collections if isinstance(band, PolyCollection)]
    ends = [band.get_paths()[0].vertices[:, 0] for band in bands]
    assert [(x.min(), x.max()) for x in ends] == [(-0.12, 0.12), (2.88, 3.12)]
    dots, _ = [item for item in ax.collections if isinstance(item, PathCollection)]
    assert dots.get_zorder() > hollow.get_zorder()
    assert [text.get_text() for text in canvas.legends[0].get_texts()] == ["SciERC", FEWER]


def test_the_caption_says_n(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.6, seed=seed) for seed in (1, 2, 3)]
    rows += [result_row(0.6, seed=seed, gcn_layers=2) for seed in (1, 2)]
    whole = caption(imported(STUDY, rows).cells)
    assert "each dot a seed; n = 2 to 3. A level without" in whole
    fewer = caption(imported(STUDY, [*rows, result_row(0.6, gcn_layers=0, gcn_heads="")]).cells)
    assert "; hollow, on a dotted line without a band: fewer seeds than planned, n = 1." in fewer


def caption(cells: Any) -> str:
    (drawn,) = [item for item in draw_all(Material(cells, ())) if item.name == "figure_a1"]
    return drawn.caption


def test_panels_are_arranged_as_in_the_paper(figure: Any) -> None:
    axes = draw_figure_a1(figure).axes
    assert [ax.get_title() for ax in axes] == ["NER", ""]
    assert [ax.get_xlabel() for ax in axes] == ["GCN layers", "Attention heads"]


def test_labels_of_many_or_uneven_levels_stay_apart(imported: Any, result_row: Any) -> None:
    heads = [1, 2, 3, 4, 6, 12, 24, 48]
    study = STUDY.replace("[2, 0, 1, 3]", str(list(range(30)))).replace("[4, 6]", str(heads))
    computed = compute_figure_a1(imported(study, [result_row(0.6)]).cells)
    for width in (ONE_COLUMN, TWO_COLUMNS):
        canvas = draw_figure_a1(computed, width)
        canvas.draw_without_rendering()
        for ax, levels in zip(canvas.axes, (list(range(30)), heads), strict=True):
            labels = [label for label in ax.get_xticklabels() if label.get_text()]
            ends = [label.get_window_extent() for label in labels]
            assert all(left.x1 < right.x0 for left, right in pairwise(ends))
            assert len(labels) > 3
            assert sorted([*ax.get_xticks(), *ax.get_xticks(minor=True)]) == levels


def test_a_legend_has_no_dataset_without_results(figure: Any) -> None:
    (legend,) = draw_figure_a1(figure).legends
    assert [text.get_text() for text in legend.get_texts()] == ["SciERC", FEWER]


def test_panels_are_turned_to_fit_one_column(imported: Any, result_row: Any) -> None:
    study = STUDY.replace(
        'preset = "demo-ner"\n[factors]', 'preset = "demo-ner"\n[datasets.re]\npreset = "demo-re"\n[factors]'
    )
    computed = compute_figure_a1(imported(study, [result_row(0.6)]).cells)
    for width, places in ((TWO_COLUMNS, ["0 0", "0 1", "0 2"]), (ONE_COLUMN, ["0 0", "1 0", "2 0"])):
        titled = [ax for ax in draw_figure_a1(computed, width).axes if ax.get_title()]
        spots = [ax.get_subplotspec() for ax in titled]
        assert [f"{spot.rowspan.start} {spot.colspan.start}" for spot in spots] == places
        assert [ax.get_title() for ax in titled] == ["NER", "RE", "RE+"]


def test_equal_numbers_give_equal_bytes_without_a_date(figure: Any) -> None:
    first, second = render(draw_figure_a1(figure)), render(draw_figure_a1(figure))
    assert first == second
    assert first["png"].startswith(b"\x89PNG")
    assert b"CreationDate" not in first["pdf"]
    assert b"<dc:date>" not in first["svg"]

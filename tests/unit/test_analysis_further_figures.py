"""The numbers of the other figures, computed before anything is drawn; all can be drawn."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.figures import gallery
from analysis.figures.convergence import compute_convergence
from analysis.figures.drawing import ONE_COLUMN, TWO_COLUMNS, panels, render
from analysis.figures.filter_recall import compute_filter_recall
from analysis.figures.search import (
    COMPLETE,
    PRUNED,
    compute_importance,
    compute_search_history,
    draw_importance,
    draw_search_history,
)
from analysis.figures.speed import compute_speed
from analysis.tables.table import compute_tables
from lai_net.errors import InputError
from tests.unit.drawing import STUDY, row, two_levels
from tune.ledger.ledger import Ledger
from tune.results.curves import Epoch
from tune.search.candidate import Rules
from tune.search.plan import SearchPlan
from tune.search.state import Search


@pytest.fixture
def cells(imported: Any, result_row: Any) -> Any:
    return two_levels(imported, result_row)


@pytest.fixture
def search() -> Search:
    """One rung after epoch 1; config 0 is complete with 0.5, config 1 stopped at 0.2, config 2 runs on."""
    machine = Search(Rules(seeds=(1,), factor=2.0, rungs=((1,),)))
    machine.begin(spread=[])
    for number, scores in enumerate(([0.4, 0.5], [0.2], [0.45])):
        machine.suggest(params={"x": number}, config_id=f"c{number}", trials=[(1, f"t{number}")], known=[])
        for epoch, score in enumerate(scores, start=1):
            machine.epoch(number=number, seed=1, epoch=epoch, score=score, wall_s=1.0)
        if number == 0:
            machine.done(number=0, seed=1, score=0.5)
    return machine


def test_the_outer_panels_that_are_shown_have_the_labels() -> None:
    shown = {("A", "NER"), ("A", "RE"), ("B", "RE")}
    _, axes = panels(("A", "B"), ("NER", "RE"), TWO_COLUMNS, 1.0, shown, labels=("x", "y"))
    assert {place: (ax.get_xlabel(), ax.get_ylabel()) for place, ax in axes.items()} == {
        ("A", "NER"): ("x", "y"), ("A", "RE"): ("", ""), ("B", "RE"): ("x", "y"),
    }  # fmt: skip


def test_convergence_is_the_summary_of_the_first_seeds(imported: Any, result_row: Any) -> None:
    rows = [result_row(f1, seed=seed) for seed, f1 in ((1, 0.60), (3, 0.64), (2, 0.62), (4, 0.62), (5, 0.62))]
    cells = imported(STUDY, rows).cells
    figure = compute_convergence(cells)
    assert figure is not None
    (line,) = figure.lines
    assert [step.n for step in line.steps] == [1, 2, 3, 4, 5]
    assert [step.mean for step in line.steps] == pytest.approx([60.0, 61.0, 62.0, 62.0, 62.0])
    assert line.steps[0].ci_low is None
    assert line.steps[1].ci_high == pytest.approx(61 + 12.706204736174694)  # t of 1 degree, std / sqrt(2) = 1
    bca = compute_convergence(cells.assign(interval="bca"))
    assert bca is not None
    assert bca.lines[0].steps[-1].ci_low != line.steps[-1].ci_low
    assert compute_convergence(cells[cells["seed"] != 2]) is None, "four seeds"


def test_every_figure_has_a_size_for_one_column(imported: Any, result_row: Any) -> None:
    rows = [
        result_row(0.6 + seed / 100 + layers / 50, seed=seed, gcn_layers=layers, trial_id=f"t{layers}{seed}")
        for layers in (1, 2)
        for seed in range(1, 6)
    ]
    cells = imported(STUDY, rows).cells
    found = [row for table in compute_tables(cells) for row in table.rows]
    for figure in gallery.draw_all(gallery.Material(cells, found, {"t11": recalls(0.9, 0.95)})):
        widths = [
            float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", file)[1])
            for file in (figure.column, figure.files["pdf"])
        ]
        assert widths == pytest.approx([72 * ONE_COLUMN, 72 * TWO_COLUMNS]), figure.name


def recalls(*by_epoch: float) -> list[Epoch]:
    """A curve that has nothing but filter recalls."""
    return [
        Epoch(number, None, None, None, None, recall, None) for number, recall in enumerate(by_epoch, start=1)
    ]


def test_filter_recall_is_that_of_the_base_trials(cells: Any) -> None:
    curves = {"b1": recalls(0.9, 0.95), "b2": recalls(0.8), "other": recalls(0.1)}
    figure = compute_filter_recall(cells, curves)
    assert figure is not None
    (line,) = figure.lines
    assert line.trials == (((1, 90.0), (2, 95.0)), ((1, 80.0),))
    assert line.mean == ((1, pytest.approx(85.0)),)
    (drawn,) = (
        figure for figure in gallery.draw_all(gallery.Material(cells, [], curves))
        if figure.name == "figure_filter_recall"
    )  # fmt: skip
    assert drawn.caption.endswith("a thick one for their mean. 2 of 3 trials on SciERC recorded it.")
    assert compute_filter_recall(cells, {"other": recalls(0.1)}) is None


def test_speed_joins_a_phase_with_its_f1() -> None:
    speeds = {"vanilla": 30.0, "marker": 5.0, "enumerate": None, "annotate": 15.0}
    rows = [row("sentences_per_second", level, speed) for level, speed in speeds.items()]
    rows += [row("f1", level, 60.0, task="RE+", ci_low=58.0, ci_high=62.0) for level in speeds]
    figure = compute_speed(rows)
    assert figure is not None
    assert [(point.level, point.speed) for point in figure.points] == [
        ("vanilla", 30.0), ("marker", 5.0), ("annotate", 15.0),
    ]  # fmt: skip
    assert {(point.task, point.f1, point.low) for point in figure.points} == {("RE+", 60.0, 58.0)}


def test_what_has_two_names_is_one_point_of_the_speeds() -> None:
    speeds = {"LAI-Net": 15.0, "vanilla": 30.0, "marker": 5.0, "annotate": 15.0}
    rows = [row("sentences_per_second", level, speed) for level, speed in speeds.items()]
    rows += [row("f1", level, 60.0, task="RE+") for level in speeds]
    figure = compute_speed(rows)
    assert figure is not None
    assert sorted(point.level for point in figure.points) == ["annotate", "marker", "vanilla"]
    assert sorted(figure.levels) == ["annotate", "marker", "vanilla"]


def test_speeds_that_cannot_be_told_apart_are_not_drawn() -> None:
    scores = [row("f1", level, 60.0, task="NER") for level in ("a", "b", "c")]

    def with_speeds(*speeds: float) -> object:
        return compute_speed(
            scores + [row("sentences_per_second", level, speed, task="NER")
                      for level, speed in zip("abc", speeds, strict=False)]
        )  # fmt: skip

    assert with_speeds(21.3, 21.4, 30.0) is None
    assert with_speeds(20.0, 30.0) is None
    assert with_speeds(20.0, 25.0, 30.0) is not None


def test_search_history_has_what_ended_and_the_rungs(search: Search) -> None:
    figure = compute_search_history(search)
    assert figure is not None
    assert [(curve.number, curve.state, curve.score) for curve in figure.curves] == [
        (0, COMPLETE, 50.0), (1, PRUNED, 20.0),
    ]  # fmt: skip
    assert figure.curves[0].points == ((1, 40.0), (2, 50.0))
    assert (figure.best, figure.rungs) == (((0, 50.0),), (1,))
    assert compute_search_history(Search(Rules(seeds=(1,)))) is None


def test_a_stopped_config_stands_at_the_rung_that_stopped_it() -> None:
    """One of its seeds had gone further before the mean of both was below the cut."""
    machine = Search(Rules(seeds=(1, 2), factor=2.0, rungs=((1,),)))
    machine.begin(spread=[])
    for number, second in enumerate((0.3, 0.1)):
        trials = [(seed, f"t{number}{seed}") for seed in (1, 2)]
        machine.suggest(params={"x": number}, config_id=f"c{number}", trials=trials, known=[])
        for seed, scores in ((1, (0.5, 0.6, 0.7)), (2, (second,))):
            for epoch, score in enumerate(scores, start=1):
                machine.epoch(number=number, seed=seed, epoch=epoch, score=score, wall_s=1.0)
    figure = compute_search_history(machine)
    assert figure is not None
    (stopped,) = figure.curves
    assert (stopped.number, stopped.state, stopped.score) == (1, PRUNED, pytest.approx(30.0))
    assert [epoch for epoch, _ in stopped.points] == [1]
    machine.suggest(params={"x": 9}, config_id="c1", trials=[(1, "t11"), (2, "t12")], known=[])
    assert machine.candidates[2].stopped_at == 1, "a repetition takes over the result"


def test_importance_is_in_order() -> None:
    figure = compute_importance({"a": 0.2, "b": 0.7, "c": 0.1})
    assert figure is not None
    assert figure.shares == (("b", 0.7), ("a", 0.2), ("c", 0.1))
    assert compute_importance({}) is None


def test_a_figure_appears_only_with_its_data(cells: Any) -> None:
    rows = [row for table in compute_tables(cells) for row in table.rows]
    drawn = list(gallery.draw_all(gallery.Material(cells, rows, {"b1": recalls(0.9, 0.95)})))
    assert [figure.name for figure in drawn] == [
        "figure_a1", "figure_deltas", "figure_filter_recall",
    ]  # fmt: skip
    for figure in drawn:
        assert set(figure.files) == {"png", "pdf", "svg"}
        assert b"/Type3" not in figure.files["pdf"]
        assert b"CreationDate" not in figure.files["pdf"]
        assert figure.alt
        assert figure.caption
    again = gallery.draw_all(gallery.Material(cells, rows, {"b1": recalls(0.9, 0.95)}))
    assert [figure.files for figure in again] == [figure.files for figure in drawn]


def test_a_searchs_figures_fit_a_page(search: Search) -> None:
    history, importance = compute_search_history(search), compute_importance({"a": 0.2, "b": 0.7})
    assert draw_search_history(history).get_size_inches()[0] == TWO_COLUMNS
    canvas = draw_importance(importance, ONE_COLUMN)
    assert canvas.get_size_inches()[0] == ONE_COLUMN
    assert b"/FontFile2" in render(canvas)["pdf"]  # TrueType, embedded


@pytest.mark.parametrize("width", [ONE_COLUMN, TWO_COLUMNS])
def test_a_legend_is_no_wider_than_its_figure(search: Search, width: float) -> None:
    canvas = draw_search_history(compute_search_history(search), width)
    (legend,) = canvas.legends
    assert [text.get_text() for text in legend.get_texts()] == [COMPLETE, PRUNED, "best so far"]
    assert legend.get_window_extent().width <= canvas.bbox.width


@pytest.mark.parametrize("is_large", [True, False])
def test_the_report_of_a_search_has_its_figures(
    search: Search, is_large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Importance comes from the composition root, which has Optuna; a small search has none."""

    def importances(plan: SearchPlan, found: Search) -> dict[str, float]:
        assert (plan.study.name, found) == ("search-demo", search)
        if is_large:
            return {"x": 1.0}
        raise InputError("9 configs of the search are complete; importance needs 10 or more")

    monkeypatch.setattr("analysis.report.read_search", lambda plan, ledger: search)
    monkeypatch.setattr("tune.search.optuna_view.importances", importances)
    Ledger.open(tmp_path / "ledger.sqlite").close()
    arguments = ["search-demo", "--ledger", str(tmp_path / "ledger.sqlite"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["report", *arguments])
    assert result.exit_code == 0, result.output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "figure_search.pdf" in names
    assert ("figure_importance.pdf" in names) == is_large
    assert not any(name.startswith("table") for name in names)

"""The benchmark of searches: its table, and that a replay counts epochs as a search would use them."""

import pytest

from tests.benchmarks.search.page import Taken, page
from tests.benchmarks.search.replay import METHODS, epochs_to_target, make_table, plan_of
from tests.benchmarks.search.truth import Truth, read_table, studies, write_table
from tune.search.plan import plan_search

EPOCHS = 12
NAMES = tuple(dimension.name for dimension in plan_search(studies()[0]).space.dimensions)
FULL, RANDOM_ASHA = METHODS[0], METHODS[2]


def truth_of(score) -> Truth:
    """Every config of the space; `score` gives the settings' F1 at full budget, reached from the start."""
    space = plan_search(studies()[0]).space
    truth, drawn = Truth(NAMES, {}), {}

    def draw(chosen: dict, rest: list) -> None:
        params = space.draw(lambda dimension: chosen.get(dimension.name, dimension.values[0]))
        f1 = round(score(params), 4)
        drawn[truth.key(params)] = {1: (f1,) * EPOCHS, 2: (round(f1 + 0.01, 4),) * EPOCHS}
        if rest:
            for value in rest[0].values:
                draw({**chosen, rest[0].name: value}, rest[1:])

    draw({}, list(space.dimensions))
    return Truth(NAMES, drawn)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return truth_of(lambda params: 0.5 + 0.1 * params["graph.layers"] + 10 * params["training.head_lr"])


def test_table_holds_every_config_and_comes_back_from_its_file(truth, tmp_path):
    assert len(truth.curves) == plan_search(studies()[0]).space.size == 210
    write_table(truth, tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv") == truth


def test_target_is_one_standard_error_below_the_best(truth):
    table = make_table(truth, studies()[0])
    assert table.standard_error == pytest.approx((0.01**2 / 2) ** 0.5)
    assert table.target == pytest.approx(0.8 - table.standard_error)
    assert table.spread[3] == (4, pytest.approx(210 * 0.01**2 / 2), 210)


def test_full_budget_takes_whole_trainings_and_stops_take_fewer_epochs(truth):
    study = studies()[0]
    table = make_table(truth, study)
    full, stopping = (epochs_to_target(plan_of(study, method, 1), table) for method in (FULL, RANDOM_ASHA))
    assert 0 < stopping < full
    assert full == epochs_to_target(plan_of(study, FULL, 1), table), "a seed gives one replay"


def test_page_says_whether_the_bar_is_met(truth):
    taken = Taken({method.name: [300, 200, 100] for method in METHODS} | {METHODS[4].name: [60, 50, None]})
    assert taken.quartiles(METHODS[4].name) == (50, 60, float("inf"))
    table = make_table(truth, studies()[0])
    text = page(taken, table, date="2026-11-22", commit="c", truth="t.csv", rungs=(2, 6))
    assert "| TPE + ASHA against random at full budget | ≤ 0.33 | 0.30 | met |" in text
    assert "noise margin against random at full budget | ≤ 0.33 | 1.00 | **missed** |" in text
    assert "| TPE + ASHA | 60 | 50 to inf | 5.0 | 0.30 | 1 of 3 |" in text

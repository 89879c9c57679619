"""What a search makes of facts: repeats, known trials, failures, budgets, confirmation."""

import pytest
from scipy import stats

from tune.search.candidate import Rules
from tune.search.report import result_lines
from tune.search.state import Search
from tune.spec.identity import trial_id

BUDGET = {"trials": None, "epochs": None, "hours": None, "failures": 2}


def search_of(seeds: tuple[int, ...] = (1,), **rules) -> Search:
    search = Search(Rules(seeds, **rules))
    search.begin(spread=[])
    return search


def suggest(search: Search, name: str, known=()) -> dict:
    trials = [(seed, f"{name}-{seed}") for seed in search.rules.seeds]
    return search.suggest(params={"x": name}, config_id=name, trials=trials, known=known)


def complete(search: Search, number: int, *scores: float) -> dict:
    decided = {}
    for seed, score in zip(search.rules.seeds, scores, strict=True):
        search.epoch(number=number, seed=seed, epoch=1, score=score, wall_s=1800)
        decided = search.done(number=number, seed=seed, score=score)
    return decided


def test_config_is_told_as_one_mean_with_its_n_once_all_seeds_are_there():
    search = search_of((1, 2))
    suggest(search, "a")
    assert search.done(number=0, seed=1, score=0.5) == {"state": "running"}
    assert search.candidates[0].told().value is None
    decided = search.done(number=0, seed=2, score=0.7)
    assert decided == {
        "state": "complete",
        "mean": pytest.approx(0.6),
        "n": 2,
        "std": pytest.approx(0.02**0.5),
    }
    told = search.candidates[0].told()
    assert (told.value, told.n) == (pytest.approx(0.6), 2)


def test_known_trial_is_answered_at_once_and_costs_nothing():
    search = search_of((1, 2))
    decided = suggest(search, "a", known=[(1, 0.5, [(1, 0.4), (2, 0.5)]), (2, 0.7, [(1, 0.6), (2, 0.7)])])
    assert (decided["state"], decided["mean"], decided["n"]) == ("complete", pytest.approx(0.6), 2)
    assert search.used["trials"] == 0
    assert search.candidates[0].told().curve == {1: 0.5, 2: 0.6}


def test_known_seed_counts_and_the_other_is_awaited():
    search = search_of((1, 2))
    assert suggest(search, "a", known=[(1, 0.5, [(1, 0.5)])])["state"] == "running"
    assert search.done(number=0, seed=2, score=0.7)["n"] == 2


def test_repeat_takes_over_the_result_and_that_of_a_running_config_is_none():
    search = search_of()
    suggest(search, "a")
    running = suggest(search, "a")
    assert (running["state"], running["same_as"]) == ("repeat", 0)
    complete(search, 0, 0.5)
    again = suggest(search, "a")
    assert (again["state"], again["same_as"], again["mean"]) == ("complete", 0, 0.5)
    assert [told.number for told in search.ranking()] == [0]


def test_repeat_of_a_stopped_config_is_a_stopped_config():
    search = search_of(factor=2, rungs=((1,),))
    for name in "ab":
        suggest(search, name)
    search.epoch(number=0, seed=1, epoch=1, score=0.9, wall_s=0)
    search.epoch(number=1, seed=1, epoch=1, score=0.1, wall_s=0)
    assert suggest(search, "b")["state"] == "pruned"
    told = search.candidates[2].told()
    assert (told.value, told.curve) == (None, {1: 0.1})


def test_config_with_a_failed_seed_has_no_mean():
    search = search_of((1, 2))
    suggest(search, "a")
    search.done(number=0, seed=1, score=0.9)
    assert search.failed(number=0, seed=2, error="ValueError: x") == {"state": "failed"}
    assert search.candidates[0].told().value is None
    assert search.ranking() == []


def test_late_score_of_a_stopped_config_changes_nothing():
    search = search_of(factor=2, rungs=((1,),))
    for name in "ab":
        suggest(search, name)
        search.epoch(number="ab".index(name), seed=1, epoch=1, score=0.9 - 0.5 * (name == "b"), wall_s=0)
    before = search.candidates[1].told()
    search.epoch(number=1, seed=1, epoch=2, score=1.0, wall_s=0)
    assert search.done(number=1, seed=1, score=1.0)["state"] == "pruned"
    assert search.candidates[1].told() == before


@pytest.mark.parametrize(
    ("bound", "spent_after"),
    [({"trials": 5}, 2), ({"epochs": 4}, 2), ({"hours": 1.5}, 2), ({"trials": 4}, 2)],
)
def test_each_budget_ends_the_suggestions(bound, spent_after):
    search = search_of((1, 2))
    for number in range(spent_after):
        assert search.spent(BUDGET | bound, None) is None
        suggest(search, f"c{number}")
        complete(search, number, 0.5, 0.6)
    assert search.spent(BUDGET | bound, None) == next(iter(bound))


def test_trials_in_flight_are_reserved_and_those_never_started_are_given_back():
    search = search_of((1, 2), factor=2, rungs=((1,),))
    suggest(search, "a")
    suggest(search, "b")
    assert search.spent(BUDGET | {"trials": 5}, None) == "trials"
    complete(search, 0, 0.9, 0.9)
    search.epoch(number=1, seed=1, epoch=1, score=0.1, wall_s=0)
    assert search.candidates[1].state == "pruned"
    assert search.used["trials"] == 3
    assert search.spent(BUDGET | {"trials": 5}, None) is None


def test_failures_end_the_search_and_nothing_is_confirmed():
    search = search_of()
    for number, name in enumerate("abc"):
        suggest(search, name)
        if name == "a":
            complete(search, 0, 0.9)
        else:
            search.failed(number=number, seed=1, error="x")
    decided = search.choose(budget=BUDGET, size=None, best=1, seeds=[5, 6])
    assert (decided["reason"], decided["chosen"]) == ("failures", [])


def test_finite_space_and_endless_repeats_end_the_search():
    search = search_of()
    suggest(search, "a")
    assert search.spent(BUDGET, 2) is None
    suggest(search, "b")
    assert search.spent(BUDGET, 2) == "space"
    for _ in range(100):
        suggest(search, "a")
    assert search.spent(BUDGET, None) == "space"


def test_settings_that_do_not_go_together_are_no_result():
    search = search_of()
    decided = search.suggest(params={"x": 1}, config_id=None, trials=(), known=())
    assert decided["state"] == "invalid"
    assert search.used["trials"] == 0


def test_best_are_chosen_by_mean_and_confirmed_with_a_t_interval():
    search = search_of()
    for number, score in enumerate([0.5, 0.9, 0.7]):
        suggest(search, f"c{number}")
        complete(search, number, score)
    decided = search.choose(budget=BUDGET | {"trials": 3}, size=None, best=2, seeds=[7, 8, 9])
    assert decided["chosen"] == [[1, 0.9, 1], [2, 0.7, 1]]
    assert decided["reason"] == "trials"
    scores = [0.6, 0.7, 0.65]
    found = search.confirm(number=1, scores=list(zip([7, 8, 9], scores, strict=True)), failed=0)
    low, high = stats.t.interval(0.95, 2, loc=0.65, scale=stats.sem(scores))
    assert (found["ci_low"], found["ci_high"]) == (pytest.approx(low), pytest.approx(high))
    assert (found["n"], found["mean"]) == (3, pytest.approx(0.65))


def test_confirmation_of_one_score_has_no_interval():
    search = search_of()
    suggest(search, "a")
    assert search.confirm(number=0, scores=[(7, 0.5)], failed=2) == {
        "failed": 2, "n": 1, "mean": 0.5, "std": None, "ci_low": None, "ci_high": None,
    }  # fmt: skip


def test_equal_scores_on_fresh_seeds_are_shown_without_an_interval():
    search = search_of()
    suggest(search, "a")
    search.confirm(number=0, scores=[(7, 0.5), (8, 0.5)], failed=0)
    assert "config 0 confirmed: dev F1 0.5000 ± 0.0000 on n = 2 fresh seeds" in result_lines(search)


def test_interval_of_an_f1_ends_where_f1_does():
    search = search_of()
    suggest(search, "a")
    found = search.confirm(number=0, scores=[(7, 0.1), (8, 0.95)], failed=0)
    assert (found["ci_low"], found["ci_high"]) == (0.0, 1.0)


def test_config_to_take_is_the_best_confirmed_not_the_best_of_the_search():
    search = search_of()
    for number, score in enumerate([0.9, 0.8, 0.1]):
        suggest(search, f"c{number}")
        complete(search, number, score)
    search.choose(budget=BUDGET | {"trials": 3}, size=None, best=2, seeds=[7, 8])
    search.confirm(number=0, scores=[(7, 0.5), (8, 0.6)], failed=0)
    assert not any("config to take" in line for line in result_lines(search)), "the other is on its way"
    search.confirm(number=1, scores=[(7, 0.7), (8, 0.71)], failed=0)
    said = "config to take: 1 (dev F1 0.7050 on fresh seeds, the highest mean of 2 confirmed)"
    assert said in result_lines(search)
    best, other = trial_id("c1", 8), trial_id("c1", 7)
    saved = (
        f"to save: a trial of config 1, best first (dev F1): c1-1 (0.8000), {best} (0.7100), {other} (0.7000)"
    )
    assert saved in result_lines(search)
    kept = f"to save: a trial of config 1, best first (dev F1): {other} (0.7000)"
    assert kept in result_lines(search, gone={"c1-1", best}), "what its study deleted cannot be saved"
    assert not any("to save" in line for line in result_lines(search, gone={"c1-1", best, other}))


def test_a_config_without_a_score_on_fresh_seeds_is_not_taken():
    search = search_of()
    for number, score in enumerate([0.9, 0.8]):
        suggest(search, f"c{number}")
        complete(search, number, score)
    search.choose(budget=BUDGET | {"trials": 2}, size=None, best=2, seeds=[7, 8])
    search.confirm(number=0, scores=[], failed=2)
    search.confirm(number=1, scores=[(7, 0.5), (8, 0.6)], failed=0)
    assert "config to take: 1" in result_lines(search)[-2]


def test_a_smaller_confirmation_later_on_hides_nothing():
    search = search_of()
    for number, score in enumerate([0.9, 0.8]):
        suggest(search, f"c{number}")
        complete(search, number, score)
    asked = {"budget": BUDGET | {"trials": 2}, "size": None}
    search.choose(**asked, best=2, seeds=[7, 8, 9])
    search.confirm(number=0, scores=[(7, 0.7), (8, 0.7), (9, 0.4)], failed=0)
    search.confirm(number=1, scores=[(7, 0.6), (8, 0.7), (9, 0.65)], failed=0)
    search.choose(**asked, best=1, seeds=[7, 8])
    found = search.confirm(number=0, scores=[(7, 0.7), (8, 0.7)], failed=0)
    assert found["n"] == 2, "the log's word"
    assert search.confirmed[0]["n"] == 3
    assert any("config to take: 1 (dev F1 0.6500" in line for line in result_lines(search))


def test_the_best_trial_may_be_one_of_a_confirmation():
    search = search_of()
    suggest(search, "a")
    complete(search, 0, 0.5)
    search.choose(budget=BUDGET | {"trials": 1}, size=None, best=1, seeds=[7])
    search.confirm(number=0, scores=[(7, 0.6)], failed=0)
    said = f"best trial: {trial_id('a', 7)} (dev F1 0.6000, config 0, seed 7: one seed's score)"
    assert said in result_lines(search)


def test_result_names_the_best_trial_of_the_complete_configs():
    search = search_of((1, 2))
    for name in "abc":
        suggest(search, name)
    complete(search, 0, 0.5, 0.6)
    complete(search, 1, 0.7, 0.2)
    search.done(number=2, seed=1, score=0.9)
    said = "best trial: b-1 (dev F1 0.7000, config 1, seed 1: one seed's score)"
    assert said in result_lines(search)
    assert f"{said}; its model was not kept" in result_lines(search, gone={"b-1"})
    assert not any("best trial" in line for line in result_lines(search_of()))

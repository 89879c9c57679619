"""ASHA's rule: Ray's decisions at margin 0, and what the margin and the spread are."""

import random
from types import SimpleNamespace

import pytest

from tune.search.candidate import Rules
from tune.search.rungs import Spread, bracket_weights, pooled, rung_epochs
from tune.search.state import Search


def test_rungs_grow_by_the_factor_and_never_lie_at_the_last_epoch():
    assert rung_epochs(1, 3, 27) == (1, 3, 9)
    assert rung_epochs(2, 2, 20, bracket=1) == (4, 8, 16)
    assert rung_epochs(2, 1.5, 10) == (2, 3, 5, 7)
    assert rung_epochs(5, 3, 5) == ()


def test_brackets_weigh_as_rays_do():
    weights = bracket_weights(1, 3, 27, 3)
    assert sum(weights) == pytest.approx(1)
    assert weights[0] / weights[1] == pytest.approx(2.718281828)
    drawn = [Rules((1,), rungs=((), (), ()), weights=weights).bracket(number) for number in range(3000)]
    for bracket, weight in enumerate(weights):
        assert drawn.count(bracket) / 3000 == pytest.approx(weight, abs=0.03)


def suggest(search: Search, number: int, **given) -> None:
    seeds = search.rules.seeds
    facts = {"params": {"x": number}, "config_id": f"c{number}", "known": ()}
    search.suggest(**facts | {"trials": [(seed, f"t{number}-{seed}") for seed in seeds]} | given)


def rules(margin: float = 0.0, seeds: tuple[int, ...] = (1,), rungs: tuple[int, ...] = (1, 2, 4)) -> Rules:
    return Rules(seeds, factor=2, rungs=(rungs,), weights=(1.0,), noise_margin=margin)


@pytest.mark.ray
@pytest.mark.parametrize("factor", [2, 3, 1.5])
def test_margin_0_decides_as_rays_asha_does_on_recorded_events(factor):
    from ray.tune.schedulers import ASHAScheduler

    max_epochs, draw = 20, random.Random(int(factor * 10))
    ray_asha = ASHAScheduler(
        time_attr="epoch", metric="f1", mode="max", max_t=max_epochs, grace_period=2, reduction_factor=factor
    )
    shape = (2, factor, max_epochs)
    search = Search(Rules((1,), factor=factor, rungs=(rung_epochs(*shape),)))
    trials = [SimpleNamespace(trial_id=str(number)) for number in range(60)]
    for number, trial in enumerate(trials):
        suggest(search, number)
        ray_asha.on_trial_add(None, trial)
    reached = dict.fromkeys(range(60), 0)
    verdicts = []
    while reached:  # trials advance in a random order, as they do side by side
        number = draw.choice(list(reached))
        reached[number] += 1
        score = draw.random() * 0.3 + number / 100
        result = {"epoch": reached[number], "f1": score}
        facts = {"number": number, "seed": 1, "epoch": reached[number], "score": score, "wall_s": 1.0}
        theirs = ray_asha.on_trial_result(None, trials[number], result) if reached[number] < 20 else "STOP"
        ours = search.epoch(**facts)["verdict"]
        if reached[number] < max_epochs:
            verdicts.append((theirs, ours.upper()))
        if theirs == "STOP":
            del reached[number]
    assert all(theirs == ours for theirs, ours in verdicts)
    assert 5 < sum(ours == "STOP" for _, ours in verdicts) < 60


def test_spread_pools_groups_and_the_prior():
    assert pooled([[1.0, 3.0], [5.0]]) == (2.0, 1)
    assert Spread({2: (1.0, 3)}).variance(2, [[1.0, 3.0]]) == pytest.approx(3 / 4)
    assert Spread().variance(2, [[1.0], []]) is None


def verdict(search: Search, number: int, score: float, seed: int = 1, epoch: int = 2) -> dict:
    return search.epoch(number=number, seed=seed, epoch=epoch, score=score, wall_s=3600)


def search_with_two_good(margin: float, spread: list) -> Search:
    search = Search(rules(margin))
    search.begin(spread=spread)
    for number in range(3):
        suggest(search, number)
    verdict(search, 0, 0.8)
    verdict(search, 1, 0.8)
    return search


@pytest.mark.parametrize(
    ("margin", "score", "says"),
    [
        (0, 0.79, "stop"),
        (0, 0.8, "continue"),
        (1, 0.71, "continue"),
        (1, 0.69, "stop"),
        (2, 0.61, "continue"),
    ],
)
def test_config_is_stopped_only_below_the_cut_by_more_than_the_margin(margin, score, says):
    search = search_with_two_good(margin, [(2, 0.05, 5)])  # a standard deviation of 0.1
    decided = verdict(search, 2, score)
    assert decided["verdict"] == says
    assert decided["cut"] == 0.8
    assert decided["margin"] == pytest.approx(margin * 0.1)


def test_unknown_noise_stops_nothing_unless_the_margin_is_0():
    assert verdict(search_with_two_good(1, []), 2, 0.0) == {
        "verdict": "continue", "mean": 0.0, "n": 1, "cut": 0.8, "margin": None,
    }  # fmt: skip
    assert verdict(search_with_two_good(0, []), 2, 0.0)["verdict"] == "stop"


def test_second_seed_narrows_the_margin_and_moves_the_mean():
    search = Search(rules(1, seeds=(1, 2)))
    search.begin(spread=[(2, 5.0, 500)])
    for number in range(2):
        suggest(search, number)
    verdict(search, 0, 0.8)
    first = verdict(search, 1, 0.71)
    second = verdict(search, 1, 0.71, seed=2)
    assert (first["verdict"], second["verdict"]) == ("continue", "stop")
    assert (first["n"], second["n"]) == (1, 2)
    assert second["margin"] == pytest.approx(0.1 / 2**0.5, rel=0.01)
    assert search.candidates[1].state == "pruned"
    assert verdict(search, 1, 0.99, epoch=3)["verdict"] == "stop", "a stop ends all seeds of a config"


def test_config_that_the_ledgers_spread_counts_is_not_counted_again():
    """The first was in the prior with both seeds; the second was not, and is."""
    search = Search(rules(1, seeds=(1, 2), rungs=(2,)))
    search.begin(spread=[(2, 0.02, 1)], counted=[(2, "c0")])
    for number, (low, high) in enumerate([(0.4, 0.6), (0.5, 0.7)]):
        suggest(search, number, known=[(1, low, [(2, low)]), (2, high, [(2, high)])] if number == 0 else ())
    verdict(search, 1, 0.5)
    margin = verdict(search, 1, 0.7, seed=2)["margin"]
    assert margin == pytest.approx(((0.02 + 0.02) / (1 + 1) / 2) ** 0.5)
    verdict(search, 1, 0.9, seed=2)
    assert verdict(search, 1, 0.5)["margin"] == pytest.approx(((0.02 + 0.08) / (1 + 1) / 2) ** 0.5)


def test_epoch_that_is_no_rung_decides_nothing():
    search = search_with_two_good(0, [])
    assert verdict(search, 2, 0.0, epoch=3) == {"verdict": "continue"}

"""Suggestions are a pure function of seed and history: 20 of 20, with some in flight, by any sampler."""

import json
import math
import random
import statistics
from collections.abc import Mapping

import optuna
import pytest

from lai_net.config import TrialConfig
from tune.search.candidate import Told, combination
from tune.search.sampler import SAMPLERS, Sampler
from tune.search.space import make_space
from tune.spec.search import Domain

FINITE = {
    "graph.layers": {"int": (0, 3)},
    "graph.heads": {"choice": (1, 2, 4)},
    "filter.enabled": {"choice": (True, False)},
    "filter.min_kept": {"int": (0, 8)},
}
SMALL = {
    "graph.layers": {"int": (0, 2)},
    "graph.heads": {"choice": (1, 2, 4)},
    "filter.enabled": {"choice": (True, False)},
}
SPACE = {**FINITE, "training.head_lr": {"log": (1e-4, 1e-2)}, "filter.ratio": {"uniform": (0.3, 1.0)}}
STATES = ("complete", "complete", "complete", "pruned", "running", "failed", "repeat", "invalid")


def sampler_of(name: str, seed: int = 0, domains: dict | None = None) -> Sampler:
    domains = domains or (FINITE if name == "grid" else SPACE)
    parsed = {key: Domain.model_validate(domain) for key, domain in domains.items()}
    return Sampler(make_space(TrialConfig(phase="NER"), parsed), name, seed)


def told(number: int, params: dict, state: str, score: float) -> Told:
    curve = {} if state in ("failed", "invalid", "repeat") else {1: score / 2, 2: score}
    value = score if state == "complete" else None
    return Told(number, params, f"c{number}", state, value, 2, curve)


def history(sampler: Sampler, length: int, seed: int = 1) -> list[Told]:
    """As a search with several in flight makes it: what is suggested, its state, its score."""
    stream, rows = random.Random(seed), []
    for number in range(length):
        params = sampler.suggest(rows).params
        state = stream.choice(STATES)
        rows.append(told(number, params, state, stream.random()))
    return rows


@pytest.mark.parametrize("name", SAMPLERS)
def test_rebuilt_from_the_ledgers_text_it_suggests_the_same_20_of_20(name):
    rows = history(sampler_of(name), 35)
    rebuilt = sampler_of(name)
    for length in range(15, 35):
        stored = [
            Told(row.number, json.loads(json.dumps(dict(row.params), sort_keys=True)), *row_rest(row))
            for row in rows[:length]
        ]
        assert rebuilt.suggest(stored).params == rows[length].params


def row_rest(row: Told) -> tuple:
    return (row.config_id, row.state, row.value, row.n, row.curve)


def test_other_seed_and_other_history_give_other_suggestions():
    rows = history(sampler_of("tpe"), 20)
    assert sampler_of("tpe", seed=1).suggest(rows) != sampler_of("tpe").suggest(rows)
    better = [told(row.number, dict(row.params), row.state, 1 - (row.value or 0)) for row in rows]
    assert sampler_of("tpe").suggest(better) != sampler_of("tpe").suggest(rows)


def test_running_configs_do_not_freeze_in_what_they_were():
    """A trial that was in flight at one suggestion must not stay so at the next."""
    sampler = sampler_of("tpe")
    rows = history(sampler, 20)
    in_flight = [*rows, told(20, {**rows[0].params}, "running", 0.5)]
    sampler.suggest(in_flight)
    done = [*rows, told(20, {**rows[0].params}, "complete", 0.99)]
    assert sampler.suggest(done) == sampler_of("tpe").suggest(done)
    assert sampler.study(done).trials[20].state is optuna.trial.TrialState.COMPLETE


def test_stopped_configs_are_told_as_pruned_and_the_rest_as_they_are():
    rows = [
        told(number, {"graph.layers": 0, "filter.enabled": False}, state, 0.5)
        for number, state in enumerate(STATES)
    ]
    trials = sampler_of("tpe").study(rows).trials
    assert [trial.state.name for trial in trials] == [
        "COMPLETE", "COMPLETE", "COMPLETE", "PRUNED", "RUNNING", "FAIL", "FAIL", "FAIL",
    ]  # fmt: skip
    assert trials[3].intermediate_values == {1: 0.25, 2: 0.5}
    assert trials[0].user_attrs["n"] == 2


@pytest.mark.parametrize("name", SAMPLERS)
def test_finite_space_is_tried_to_its_last_combination_without_a_repeat(name):
    """The optimum is known early, and TPE would suggest it again and again."""
    sampler, rebuilt = sampler_of(name, domains=SMALL), sampler_of(name, domains=SMALL)
    rows, origins = [], []
    for number in range(sampler.space.size):
        suggestion = sampler.suggest(rows)
        assert rebuilt.suggest(rows) == suggestion
        origins.append(suggestion.origin)
        rows.append(told(number, suggestion.params, "complete", 1 - 0.1 * suggestion.params["graph.layers"]))
    tried = {combination(row.params) for row in rows}
    assert len(tried) == len(rows) == 2 * (1 + 2 * 3)
    assert tried == {combination(params) for params in sampler.space.combinations()}
    if name.startswith("tpe"):
        assert "untried" in origins


def test_endless_space_with_a_finite_corner_is_left_by_random_draws():
    """Without a filter there is one config alone, and the history says that it is the best."""
    domains = {"filter.enabled": {"choice": (True, False)}, "filter.ratio": {"uniform": (0.3, 1.0)}}
    sampler, rows = sampler_of("tpe", domains=domains), []
    for number in range(40):
        suggestion = sampler.suggest(rows)
        params = suggestion.params
        rows.append(told(number, params, "complete", 0.1 if params["filter.enabled"] else 0.9))
    assert len({combination(row.params) for row in rows}) == 40


def test_tpe_comes_to_prefer_what_scored_well():
    sampler, rows = sampler_of("tpe"), []
    for number in range(60):
        params = sampler.suggest(rows).params
        rows.append(told(number, params, "complete", 1 - distance(params)))
    distances = [distance(row.params) for row in rows]
    assert statistics.median(distances[40:]) < statistics.median(distances[:10]) / 2


def distance(params: Mapping) -> float:
    return abs(math.log10(params["training.head_lr"]) + 3)

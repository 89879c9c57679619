"""A search whose trainings are looked up in a table: our sampler, rungs and decisions, no training.

Four configs are in flight, an epoch each in turn, as on four equal slots.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.search.truth import Key, Truth
from tune.search.plan import SearchPlan, plan_search
from tune.search.rungs import pooled
from tune.search.sampler import Sampler
from tune.search.state import Search
from tune.spec.identity import spec_id
from tune.spec.study import Study

SLOTS = 4


@dataclass(frozen=True)
class Method:
    """A way to search; `margin` None stops nothing."""

    name: str
    sampler: str
    margin: float | None


METHODS = (
    Method("random, full budget", "random", None),
    Method("TPE, full budget", "tpe", None),
    Method("random + ASHA", "random", 0.0),
    Method("random + ASHA, noise margin", "random", 1.0),
    Method("TPE + ASHA", "tpe", 0.0),
    Method("TPE + ASHA, noise margin", "tpe", 1.0),
)


@dataclass(frozen=True)
class Table:
    """A truth as searches see it.

    Attributes:
        curves: by config, of the first seed.
        scores: at full budget: of the epoch that a training selects.
        spread: what a ledger would know of the noise: (epoch, sum of squares, degrees of freedom).
        standard_error: of a score at full budget, pooled over the configs with several seeds.
    """

    truth: Truth
    curves: Mapping[Key, Sequence[float]]
    scores: Mapping[Key, float]
    spread: Sequence[tuple[int, float, int]]
    standard_error: float

    @property
    def target(self) -> float:
        """One standard error below the best."""
        return max(self.scores.values()) - self.standard_error


def make_table(truth: Truth, study: Study) -> Table:
    """Scores and noise of a truth; its study says which epochs may be selected."""
    plan = plan_search(study)
    cold = (
        plan.space.cold_epochs
    )  # the same in all configs with a filter; those without have learnt as little
    seed = study.seeds[0]
    curves = {key: by_seed[seed] for key, by_seed in truth.curves.items() if seed in by_seed}
    groups = [list(by_seed.values()) for by_seed in truth.curves.values() if len(by_seed) > 1]
    epochs = range(1, plan.space.base.training.epochs + 1)
    spread = [(epoch, *pooled([curve[epoch - 1] for curve in group] for group in groups)) for epoch in epochs]
    squares, freedom = pooled([max(curve[cold:]) for curve in group] for group in groups)
    return Table(
        truth,
        curves,
        {key: max(curve[cold:]) for key, curve in curves.items()},
        spread,
        math.sqrt(squares / freedom),
    )


def plan_of(study: Study, method: Method, seed: int) -> SearchPlan:
    """The plan of a study's search by a method."""
    assert study.search is not None
    scheduler: dict[str, Any] = {"name": "none"}
    if method.margin is not None:
        scheduler = {"name": "asha", "noise_margin": method.margin}
    update = {
        "sampler": method.sampler,
        "seed": seed,
        "scheduler": study.search.scheduler.model_copy(update=scheduler),
    }
    return plan_search(study.model_copy(update={"search": study.search.model_copy(update=update)}))


def epochs_to_target(plan: SearchPlan, table: Table) -> int | None:
    """Epochs until a config is complete whose score reaches the target; None where none ever does."""
    search = Search(plan.rules)
    search.begin(spread=table.spread)
    sampler = Sampler(plan.space, plan.spec.sampler, plan.spec.seed)
    (seed,), last = plan.rules.seeds, plan.space.base.training.epochs
    reached: dict[int, int] = {}
    while _fill(search, sampler, plan, reached) or reached:
        for number in list(reached):
            reached[number] += 1
            key = table.truth.key(search.candidates[number].params)
            score = table.curves[key][reached[number] - 1]
            said = search.epoch(number=number, seed=seed, epoch=reached[number], score=score, wall_s=0.0)
            if said["verdict"] == "continue" and reached[number] < last:
                continue
            if said["verdict"] == "continue":
                search.done(number=number, seed=seed, score=table.scores[key])
                if table.scores[key] >= table.target:
                    return int(search.used["epochs"])
            del reached[number]
    return None


def _fill(search: Search, sampler: Sampler, plan: SearchPlan, reached: dict[int, int]) -> bool:
    """Suggest until all slots are taken; whether any is."""
    while len(reached) < SLOTS and search.spent(plan.budget, plan.space.size) is None:
        params = sampler.suggest([candidate.told() for candidate in search.candidates]).params
        config = spec_id(plan.space.config(params))
        trials = [(seed, f"{config}-{seed}") for seed in plan.rules.seeds]
        decided = search.suggest(params=params, config_id=config, trials=trials, known=())
        if decided["state"] == "running":
            reached[decided["number"]] = 0
    return bool(reached)

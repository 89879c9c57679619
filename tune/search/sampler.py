"""Suggestions by Optuna: a pure function of the search's seed, a config's number, and the history before it.

No Optuna object lives on between two suggestions, so there is nothing to store, pickle or restore: a
rebuilt search suggests what the unbroken one would have.

A sampler that has found its optimum suggests it again and again. So what was suggested before is drawn
anew, a bounded number of times, and then uniformly from what is still untried.
"""

import hashlib
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, BruteForceSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from tune.search.candidate import Suggestion, Told, combination
from tune.search.space import Dimension, Params, Space
from tune.spec.search import Value

SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True, group=True),
    "tpe-univariate": lambda seed: TPESampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
    "grid": lambda seed: BruteForceSampler(seed=seed),
}

_MAX_DRAWS = 10
"""By the sampler, for one suggestion."""
_MAX_LISTED = 100_000
"""Combinations of the largest space that is listed; of a larger one so many random draws are looked at:"""
_MAX_RANDOM = 1000
_STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
}  # anything else is no result: FAIL


class _Delegate(BaseSampler):
    """One suggestion by an inner sampler, whose `after_trial` is left out: it belongs to `optimize`."""

    def __init__(self, inner: BaseSampler) -> None:
        self._inner = inner

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)


@dataclass
class Sampler:
    """Suggests configs of a space.

    Attributes:
        space: where.
        name: of `SAMPLERS`.
        seed: of the search.
    """

    space: Space
    name: str
    seed: int
    _ended: dict[int, FrozenTrial] = field(default_factory=dict)

    def suggest(self, history: Sequence[Told]) -> Suggestion:
        """The next config's settings, given all earlier ones in order; untried as long as any are."""
        study, tried = self.study(history), {combination(told.params) for told in history}
        for _ in range(_MAX_DRAWS):
            trial = study.ask()
            drawn = self.space.draw(partial(_pick, trial))
            if combination(drawn) not in tried:
                return Suggestion(drawn)
        rest = (params for params in self._uniform(len(history)) if combination(params) not in tried)
        return Suggestion(next(rest, drawn), "untried")

    def _uniform(self, number: int) -> Iterator[Params]:
        """Combinations in random order, by the seed of a suggestion; all, where they can be listed."""
        if self.space.size is not None and self.space.size <= _MAX_LISTED:
            listed = list(self.space.combinations())
            yield from random.Random(self._seed(number)).sample(listed, len(listed))
            return
        study = optuna.create_study(sampler=RandomSampler(seed=self._seed(number)))
        for _ in range(_MAX_RANDOM):
            yield self.space.draw(partial(_pick, study.ask()))

    def _seed(self, number: int) -> int:
        """Of the generator of one suggestion."""
        digest = hashlib.sha256(f"{self.seed} {number}".encode()).hexdigest()
        return int(digest[:8], 16)

    def study(self, history: Sequence[Told]) -> optuna.Study:
        """An Optuna study in memory that holds the history."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = _Delegate(SAMPLERS[self.name](self._seed(len(history))))
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for told in history:
            study.add_trial(self._frozen(told))
        return study

    def _frozen(self, told: Told) -> FrozenTrial:
        if told.number not in self._ended:
            trial = frozen_trial(self.space, told)
            if trial.state is TrialState.RUNNING:
                return trial
            self._ended[told.number] = trial
        return self._ended[told.number]


def frozen_trial(space: Space, told: Told) -> FrozenTrial:
    """A suggestion as Optuna keeps it; the number of seeds and the config's id are its attributes."""
    state = _STATES.get(told.state, TrialState.FAIL)
    return create_trial(
        state=state,
        value=told.value if state is TrialState.COMPLETE else None,
        params=dict(told.params),
        distributions={
            item.name: distribution(item) for item in space.dimensions if item.name in told.params
        },
        intermediate_values=dict(told.curve),
        user_attrs={"config_id": told.config_id, "n": told.n, "state": told.state},
    )


def _pick(trial: optuna.Trial, dimension: Dimension) -> Value:
    if dimension.kind == "choice":
        return cast("Value", trial.suggest_categorical(dimension.name, dimension.choices))
    low, high = dimension.ends
    if dimension.kind == "int":
        return trial.suggest_int(dimension.name, int(low), int(high), log=dimension.is_log)
    return trial.suggest_float(dimension.name, low, high, log=dimension.is_log)


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension's domain in Optuna's words."""
    if dimension.kind == "choice":
        return CategoricalDistribution(dimension.choices)
    low, high = dimension.ends
    if dimension.kind == "int":
        return IntDistribution(int(low), int(high), log=dimension.is_log)
    return FloatDistribution(low, high, log=dimension.is_log)

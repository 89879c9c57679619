"""What a study's `[search]` comes to before anything runs: space, rules, budget, identity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lai_net.active_settings import active_settings
from lai_net.config import SEED_END, TrialConfig
from lai_net.errors import InputError
from lai_net.settings import with_settings
from tune.planning.plan import PlannedTrial
from tune.search.candidate import Rules
from tune.search.rungs import bracket_weights, rung_epochs
from tune.search.space import SELECTION_ENTITIES, Space, make_space
from tune.spec.cells import base_config
from tune.spec.identity import IDENTITY_VERSION, SEMANTICS, digest, spec_id
from tune.spec.search import SearchSpec
from tune.spec.study import DatasetSpec, Study

DECISIONS = 3
"""Raised by hand when a change of code decides or suggests otherwise, so that old logs are left alone."""


@dataclass(frozen=True)
class SearchPlan:
    """A search, ready to be joined with content.

    Attributes:
        search_id: names the decision log: a hash of all that decides, so not of budgets and confirmation,
            which may grow.
        fresh_seeds: for confirmation: beyond all seeds of the study.
        upstream: the NER trial whose predicted entities RE goes by; None in NER, and on gold entities.
    """

    study: Study
    spec: SearchSpec
    dataset: DatasetSpec
    fold: int | None
    space: Space
    rules: Rules
    search_id: str
    fresh_seeds: tuple[int, ...]
    upstream: PlannedTrial | None = None

    @property
    def budget(self) -> dict[str, Any]:
        """Bounds by name; None is no bound."""
        return self.spec.budget.model_dump()

    @property
    def encoder_names(self) -> tuple[str, ...]:
        """Every encoder whose content the trials' ids need."""
        upstream = () if self.upstream is None else (self.upstream.config.encoder.name,)
        return tuple(dict.fromkeys([*self.space.encoder_names, *upstream]))

    def config(self, params: Mapping[str, Any], upstream: str | None) -> TrialConfig:
        """What is trained for a suggestion; `upstream` is the id of the trial of that name.

        Raises:
            InputError: the values do not go together.
        """
        config = self.space.config(params)
        return config if upstream is None else with_settings(config, {SELECTION_ENTITIES: upstream})

    def trial(self, config: TrialConfig, seed: int) -> PlannedTrial:
        """One training of the search."""
        return _trial(self.dataset, self.fold, config, seed)


def plan_search(study: Study) -> SearchPlan:
    """Resolve a study's search.

    Raises:
        InputError: the section contradicts itself or the rest of the study.
    """
    if study.search is None:
        raise InputError(f"{study.file}: study {study.name!r} has no [search] section")
    try:
        return _plan(study, study.search)
    except InputError as error:
        raise InputError(f"{study.file}: search: {error}") from error


def _plan(study: Study, spec: SearchSpec) -> SearchPlan:
    dataset = _dataset(study, spec)
    base = base_config(dataset, spec.phase)
    if base is None:
        raise InputError(f"dataset {dataset.name!r} has no {spec.phase.lower()} base")
    if base.training.selection != "dev":
        raise InputError("the base selects on test; a search must not: set training.selection = 'dev'")
    space = make_space(base, spec.space)
    _check_bounds(study, spec, space)
    fold = _fold(dataset, spec)
    rules = _rules(study, spec, space)
    upstream = _upstream(study, spec, dataset, fold)
    first_fresh = max(study.seeds) + 1
    identity = {
        "decisions": [DECISIONS, IDENTITY_VERSION, SEMANTICS[base.phase]],
        "place": [dataset.name, fold],
        "base": active_settings(base),
        "space": {name: domain.model_dump() for name, domain in spec.space.items()},
        "sampler": [spec.sampler, spec.seed],
        "rules": [rules.seeds, rules.factor, rules.rungs, rules.weights, rules.noise_margin],
    }
    if upstream is not None:
        identity["upstream"] = [active_settings(upstream.config), upstream.seed]
    return SearchPlan(
        study=study,
        spec=spec,
        dataset=dataset,
        fold=fold,
        space=space,
        rules=rules,
        search_id=digest(identity),
        fresh_seeds=tuple(range(first_fresh, first_fresh + spec.confirm.seeds)),
        upstream=upstream,
    )


def _check_bounds(study: Study, spec: SearchSpec, space: Space) -> None:
    budget = spec.budget
    if spec.seeds_per_config > len(study.seeds):
        raise InputError(f"seeds_per_config is {spec.seeds_per_config}, but seeds has {len(study.seeds)}")
    if (last := max(study.seeds) + spec.confirm.seeds) >= SEED_END:
        raise InputError(f"confirm takes fresh seeds up to {last}; they must be below 2**32")
    if budget.trials is not None and budget.trials < spec.seeds_per_config:
        raise InputError(
            f"budget.trials is {budget.trials}, less than the seeds_per_config ({spec.seeds_per_config}) "
            "that every config starts with; raise the first"
        )
    if all(bound is None for bound in (budget.trials, budget.epochs, budget.hours, space.size)):
        raise InputError("budget needs trials, epochs or hours: the space has no end")
    if spec.sampler == "grid" and space.size is None:
        raise InputError("sampler 'grid' needs a finite space: int and choice alone")


def _upstream(study: Study, spec: SearchSpec, dataset: DatasetSpec, fold: int | None) -> PlannedTrial | None:
    if spec.phase == "NER" and spec.entities == "gold":
        raise InputError("entities says what RE goes by; leave it out of a search over NER")
    if spec.phase == "NER" or spec.entities == "gold":
        return None
    base = base_config(dataset, "NER")
    if base is None:
        raise InputError(
            f"RE goes by RE+ on the entities that the NER base predicts, but dataset {dataset.name!r} has "
            "none; give it one, or set entities = 'gold'"
        )
    return _trial(dataset, fold, base, study.seeds[0])


def _trial(dataset: DatasetSpec, fold: int | None, config: TrialConfig, seed: int) -> PlannedTrial:
    return PlannedTrial(
        dataset=dataset.name,
        fold=fold,
        seed=seed,
        spec_id=spec_id(config),
        config=config,
    )


def _dataset(study: Study, spec: SearchSpec) -> DatasetSpec:
    names = [dataset.name for dataset in study.datasets]
    if spec.dataset is None and len(names) > 1:
        raise InputError(f"dataset must be named, one of {', '.join(names)}")
    name = spec.dataset or names[0]
    if name not in names:
        raise InputError(f"dataset {name!r} is not in the study; it has {', '.join(names)}")
    return study.datasets[names.index(name)]


def _fold(dataset: DatasetSpec, spec: SearchSpec) -> int | None:
    if dataset.folds == 1:
        if spec.fold is not None:
            raise InputError(f"dataset {dataset.name!r} has no folds; leave fold out")
        return None
    if spec.fold is None:
        return dataset.fold_numbers[0]
    fold = spec.fold
    if fold >= dataset.folds:
        raise InputError(f"fold is {fold}, but dataset {dataset.name!r} has folds 0 to {dataset.folds - 1}")
    if fold not in dataset.fold_numbers:
        raise InputError(f"fold is {fold}, which is not among only_folds of dataset {dataset.name!r}")
    return fold


def _rules(study: Study, spec: SearchSpec, space: Space) -> Rules:
    seeds = study.seeds[: spec.seeds_per_config]
    asha = spec.scheduler
    if asha.name == "none":
        return Rules(seeds, spec.seed)
    cold, epochs = space.cold_epochs, space.base.training.epochs
    grace = cold + 1 if asha.grace_period is None else asha.grace_period
    if grace <= cold:
        raise InputError(
            f"scheduler.grace_period is {grace}, but a cold start lasts up to {cold} epochs; "
            f"set {cold + 1} or more"
        )
    shape = (grace, asha.reduction_factor, epochs)
    rungs = tuple(rung_epochs(*shape, bracket) for bracket in range(asha.brackets))
    if not rungs[0]:
        raise InputError(
            f"no rung fits between scheduler.grace_period ({grace}) and training.epochs ({epochs}); lower "
            "the first, or set scheduler.name = 'none'"
        )
    weights = bracket_weights(*shape, asha.brackets)
    return Rules(seeds, spec.seed, asha.reduction_factor, rungs, weights, asha.noise_margin)

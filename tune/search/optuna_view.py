"""A finished or running search as Optuna sees it: importances, and a journal for optuna-dashboard."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from lai_net.errors import InputError
from tune.search.candidate import Told
from tune.search.plan import SearchPlan
from tune.search.sampler import frozen_trial
from tune.search.space import Space
from tune.search.state import Search

_FEWEST = 10
_BEST_SHARE, _FEWEST_BEST = 0.1, 5


def importances(plan: SearchPlan, search: Search) -> dict[str, float]:
    """PED-ANOVA: each setting's share in reaching the best tenth, or the best five where that is more.

    Complete configs count, each once: what was stopped early has no score at full budget.

    A setting that exists in some configs only is judged where it exists.

    Raises:
        InputError: too few complete configs, or all of one score.
    """
    complete = [told for told in search.ranking() if told.value is not None]
    if len(complete) < _FEWEST:
        raise InputError(
            f"{len(complete)} configs of the search are complete; importance needs {_FEWEST} or more"
        )
    if len({told.value for told in complete}) == 1:
        raise InputError(
            f"all {len(complete)} complete configs score {complete[0].value}: no setting matters"
        )
    study = _filled_study(plan.space, sorted(complete, key=lambda told: told.number))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = PedAnovaImportanceEvaluator(
            target_quantile=max(_BEST_SHARE, _FEWEST_BEST / len(complete))
        )
        found = get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


def export_journal(plan: SearchPlan, search: Search, path: Path) -> int:
    """Write all suggestions as an Optuna journal; returns how many.

    Raises:
        InputError: the file is there already, or cannot be written.
    """
    if path.exists():
        raise InputError(f"{path}: is there already; name another file")
    try:
        path.touch()
        storage = JournalStorage(JournalFileBackend(str(path)))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); name another file") from error
    told = [candidate.told() for candidate in search.candidates]
    _filled_study(plan.space, told, study_name=plan.study.name, storage=storage)
    return len(told)


def _filled_study(space: Space, told: Iterable[Told], **options: Any) -> optuna.Study:
    """A study of Optuna's with what was told of each suggestion, in that order."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", **options)
    for item in told:
        study.add_trial(frozen_trial(space, item))
    return study

"""What imported results spare a study: the trials that it need not train.

A run knows its trials by id, and so what was imported of them. A plan has no ids: there a row is known by
what it says, unless the ledger has met its config. An import brings no model, so a trial that an evaluation
still needs is trained all the same.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

from lai_net.active_settings import active_settings
from tune.ledger.ledger import Ledger
from tune.ledger.rows import TrialKey
from tune.planning.imported import ImportedEvaluation, imported_evaluations, imported_ids
from tune.planning.plan import IdentifiedPlan, Plan, PlannedEvaluation, PlannedTrial
from tune.results.table import config_values, factors_of

_OPEN = ("encoder", "selection", "epochs")
"""What an imported row may leave open of its trial."""
UNLIKE = "since the study's tables would not show their scores (dataset, protocol, averaging or code differ)"
"""Why imported results do not count for a study."""


class Imported(NamedTuple):
    """What imported results spare a plan.

    Attributes:
        trials: count as done.
        evaluations: count as made.
        unlike: have results that do not count (see `tune.planning.imported`).
    """

    trials: Set[TrialKey]
    evaluations: Set[PlannedEvaluation]
    unlike: Set[TrialKey]


def imported_results(plan: Plan, ledger: Ledger) -> Imported:
    """Of a plan's trials and evaluations those that were imported."""
    imported = imported_evaluations(ledger, plan.study)
    if not imported:
        return Imported(set(), set(), set())
    known = dict(_planned(imported, plan, ledger))
    made = {item for item, counts in known.items() if counts}
    needed = {key for item in plan.evaluations if item not in made for key in (item.trial, item.upstream)}
    unlike = {item.trial for item in known.keys() - made}
    return Imported({item.trial for item in known} - needed, made, unlike)


def _planned(
    imported: Sequence[ImportedEvaluation], plan: Plan, ledger: Ledger
) -> Iterator[tuple[PlannedEvaluation, bool]]:
    """What of a plan's evaluations was imported, and whether it counts."""
    planned = frozenset(plan.evaluations)
    keys = _keys_of([item.row for item in imported], plan, ledger)
    for row, counts in imported:
        trial, upstream = row["trial_id"], row["upstream_trial_id"]
        if trial in keys and (upstream is None or upstream in keys):
            joined = None if upstream is None else keys[upstream]
            item = PlannedEvaluation(keys[trial], joined, row["split"], row["entities"])
            if item in planned:
                yield item, counts


def _keys_of(rows: Sequence[Mapping[str, Any]], plan: Plan, ledger: Ledger) -> dict[str, TrialKey]:
    """By trial_id the trial: as the ledger knows it, else the planned one of which the row may speak."""
    known = ledger.trials()
    keys = {row.trial_id: row.key for row in known}
    taken = {row.key for row in known}
    configs = {(row.dataset, row.fold, row.spec_id): row.config_id for row in known}
    planned = {_said(values): (trial, values) for trial, values in _values_of(plan)}
    for row in rows:
        trial, values = planned.get(_said(row), (None, {}))
        if trial is None or row["trial_id"] in keys or trial.key in taken:
            continue
        config = configs.get((trial.dataset, trial.fold, trial.spec_id))
        is_it = config is None or row["config_id"] in (None, config)
        if is_it and all(row[name] in (None, values[name]) for name in _OPEN):
            keys[row["trial_id"]] = trial.key
    return keys


def _values_of(plan: Plan) -> Iterator[tuple[PlannedTrial, dict[str, Any]]]:
    by_config: dict[str, dict[str, Any]] = {}
    for trial in plan.trials:
        if trial.spec_id not in by_config:
            epochs = {"epochs": trial.config.training.epochs}
            by_config[trial.spec_id] = config_values(active_settings(trial.config)) | epochs
        place = {"dataset": trial.dataset, "fold": trial.fold, "seed": trial.seed, "phase": trial.phase}
        yield trial, by_config[trial.spec_id] | place


def _said(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """What every imported row says of its trial."""
    return (values["model"], values["fold"], values["seed"], *factors_of(values))


def lines_on_imported(
    plan: IdentifiedPlan, training: Set[str], found: Imported, ledger: Ledger
) -> Iterator[str]:
    """What a run says of imported trials.

    Args:
        plan: of the study.
        training: ids of the trials that will be trained.
        found: by the plan, before the ledger knew its ids.
        ledger: with the imported rows.
    """
    imported = imported_ids(ledger).trials
    ran = {name for name, attempt in ledger.newest_attempts().items() if attempt.status == "completed"}
    rows = [trial.row for trial in plan.trials]
    done = sum(row.trial_id in imported - training - ran for row in rows)
    unlike = sum(row.key in found.unlike and row.trial_id in training for row in rows)
    again = sum(row.key not in found.unlike and row.trial_id in imported & training for row in rows)
    others = sum(row.key in found.trials and row.trial_id in training - imported for row in rows)
    if done:
        yield f"imported trials that count as done: {done}"
    if unlike:
        yield f"imported trials that are trained, {UNLIKE}: {unlike}"
    if again:
        why = "since evaluations need their models and an import brings none"
        yield f"imported trials that are trained, {why}: {again}"
    if others:
        why = "corpus, encoder, a setting or what the code computes has changed"
        yield f"trials that look like imported ones but have other ids ({why}), so they are trained: {others}"

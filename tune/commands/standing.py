"""How far a study is: its trials and end-to-end evaluations by state, and its best trials."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lai_net.metrics.scoring import Averaging
from tune.failures import failure_lines, headline
from tune.ledger.ledger import Ledger
from tune.ledger.rows import AttemptRow, EvaluationRow, TrialKey
from tune.planning.plan import (
    CellNames,
    Plan,
    PlannedTrial,
    cell_names,
    is_current,
    make_plan,
    trial_name,
)
from tune.results.spared import Imported, imported_results
from tune.spec.identity import evaluation_id
from tune.spec.study import Study, with_all_seeds

_JOINT = ("failed", "to make", "imported", "made")
"""States of an evaluation; it is in the first that one of its splits is in."""
STATES = ("planned", "running", "completed", "imported", "failed", "pruned")


def state_word(state: str, *, is_running: bool) -> str:
    """A state for people; what runs though nobody writes the ledger was interrupted."""
    return "interrupted" if state == "running" and not is_running else state


@dataclass(frozen=True)
class Standing:
    """Counts by state.

    Attributes:
        trials: by dataset and phase.
        evaluations: end to end, the splits of one together as a run makes them: made, failed, to make.
        failed: lines about what failed, and why.
    """

    trials: dict[tuple[str, str], Counter[str]]
    evaluations: Counter[str]
    failed: list[str]


@dataclass(frozen=True)
class BestTrial:
    """The trial with the highest `EvaluationRow.dev_f1` (RE between gold entities)."""

    dataset: str
    phase: str
    trial_id: str
    seed: int
    f1: float
    averaging: Averaging


def plan_with_added(study: Study, ledger: Ledger) -> Plan:
    """What the study plans, and of the seeds that `[decide]` may add the trials that were tried."""
    plan = make_plan(with_all_seeds(study))
    tried, ids = ledger.newest_attempts(), ledger.ids_by_key()
    keys = {trial.key for trial in plan.trials if trial.seed in study.seeds or ids.get(trial.key) in tried}
    return plan.only(keys)


def best_trials(plan: Plan, ledger: Ledger) -> list[BestTrial]:
    """Of each dataset and phase the best of a plan's trials, the first planned among equals."""
    ids = ledger.ids_by_key()
    evaluations: dict[str, list[EvaluationRow]] = defaultdict(list)
    for item in filter(is_current, ledger.each_evaluation()):
        evaluations[item.trial_id].append(item)
    best: dict[tuple[str, str], BestTrial] = {}
    for trial in plan.trials:
        trial_id, place = ids.get(trial.key, ""), (trial.dataset, trial.phase)
        for row in evaluations.get(trial_id, ()):
            f1 = row.dev_f1(trial.config)
            if f1 is not None and (place not in best or f1 > best[place].f1):
                best[place] = BestTrial(
                    *place, trial_id, trial.seed, f1, trial.config.training.selection_averaging
                )
    return list(best.values())


def trial_names(
    trials: Iterable[PlannedTrial], ledger: Ledger, cells: CellNames | None = None
) -> dict[str, str]:
    """What trials are in words, by their ids in a ledger."""
    ids = ledger.ids_by_key()
    known = (trial for trial in trials if trial.key in ids)
    return {
        ids[trial.key]: trial_name(trial, (cells or {}).get((trial.dataset, trial.spec_id), ""))
        for trial in known
    }


def take_stock(plan: Plan, ledger: Ledger) -> Standing:
    """Count a plan's trials and evaluations against a ledger; matched by dataset, fold, seed and spec_id."""
    attempts, ids = ledger.all_attempts(), ledger.ids_by_key()
    imported = imported_results(plan, ledger)
    names = trial_names(plan.trials, ledger, cell_names(plan.cells))
    own_ids = (ids.get(item.key, "") for item in plan.trials if item.key not in imported.trials)
    failed = failure_lines([attempts[name] for name in own_ids if name in attempts], names)
    evaluations, not_made = _evaluations(plan, ledger, ids, imported, names)
    return Standing(_trials(plan, attempts, ids, imported), evaluations, [*failed, *not_made])


def _trials(
    plan: Plan,
    attempts: Mapping[str, Sequence[AttemptRow]],
    ids: Mapping[TrialKey, str],
    imported: Imported,
) -> dict[tuple[str, str], Counter[str]]:
    """Trials by state, by dataset and phase."""
    trials: dict[tuple[str, str], Counter[str]] = {}
    for trial in plan.trials:
        own = attempts.get(ids.get(trial.key, ""))
        state: str = own[-1].status if own else "planned"
        if state != "completed" and trial.key in imported.trials:
            state = "imported"
        trials.setdefault((trial.dataset, trial.phase), Counter())[state] += 1
    return trials


def _evaluations(
    plan: Plan, ledger: Ledger, ids: Mapping[TrialKey, str], imported: Imported, names: Mapping[str, str]
) -> tuple[Counter[str], list[str]]:
    """End-to-end evaluations by state, and a line for each split of which one failed."""
    failed = []
    made = {row.evaluation_id: row for row in ledger.evaluations()}
    found: dict[tuple[TrialKey, TrialKey, str], set[str]] = defaultdict(set)
    for item in plan.evaluations:
        if item.upstream is None:
            continue
        pair = (ids.get(item.trial, ""), ids.get(item.upstream, ""))
        row = made.get(evaluation_id(*pair, item.split, item.entities))
        states = found[item.trial, item.upstream, item.entities]
        if item in imported.evaluations and (row is None or row.error is not None):
            states.add("imported")
            continue
        states.add("to make" if row is None else "made" if row.error is None else "failed")
        if row is not None and row.error is not None:
            failed.append(
                f"failed: end-to-end evaluation of {names[pair[0]]} ({pair[0]}+{pair[1]}, {item.split}): "
                f"{headline(row.error, row.failure)}"
            )
    return Counter(next(state for state in _JOINT if state in states) for states in found.values()), failed

"""How far a study is: its trials and end-to-end evaluations by state."""

from collections import Counter
from dataclasses import dataclass

from tune.identity import evaluation_id
from tune.ledger import Ledger
from tune.plan import Plan

STATES = ("planned", "running", "completed", "failed", "pruned")


@dataclass(frozen=True)
class Standing:
    """Counts by state.

    Attributes:
        trials: by dataset and phase.
        evaluations: end to end: made, failed, to make.
        failed: the error of each trial and evaluation that failed, by its ids.
    """

    trials: dict[tuple[str, str], Counter[str]]
    evaluations: Counter[str]
    failed: dict[str, str | None]


def take_stock(plan: Plan, ledger: Ledger) -> Standing:
    """Count a plan's trials and evaluations against a ledger; matched by dataset, fold, seed and spec_id."""
    newest = ledger.newest_attempts()
    ids = {row.key: row.trial_id for row in ledger.trials()}
    trials: dict[tuple[str, str], Counter[str]] = {}
    failed: dict[str, str | None] = {}
    for trial in plan.trials:
        attempt = newest.get(ids.get(trial.key, ""))
        state = "planned" if attempt is None else attempt.status
        trials.setdefault((trial.dataset, trial.phase), Counter())[state] += 1
        if attempt is not None and state == "failed":
            failed[f"{attempt.trial_id} (attempt {attempt.attempt})"] = attempt.error
    made = {row.evaluation_id: row for row in ledger.evaluations()}
    evaluations: Counter[str] = Counter()
    for item in plan.evaluations:
        if item.upstream is None:
            continue
        pair = (ids.get(item.trial, ""), ids.get(item.upstream, ""))
        row = made.get(evaluation_id(*pair, item.split, item.entities))
        evaluations["to make" if row is None else "made" if row.error is None else "failed"] += 1
        if row is not None and row.error is not None:
            failed[f"{pair[0]}+{pair[1]} ({item.split})"] = row.error
    return Standing(trials, evaluations, failed)

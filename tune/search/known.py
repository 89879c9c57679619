"""What the ledger knows already that a search can use: results, and the spread over seeds."""

from collections.abc import Iterable
from typing import Any

from lai_net.config import TrialConfig
from tune.ledger import Ledger
from tune.plan import Job
from tune.search.plan import SearchPlan
from tune.search.rungs import pooled


def selected_score(config: TrialConfig, reports: Iterable[dict[str, Any]]) -> float:
    """Dev F1 of the epoch that a training selects: the best one after the cold start."""
    return float(max(report["dev"]["f1"] for report in reports if report["epoch"] > config.cold_epochs))


def known_result(ledger: Ledger, job: Job) -> tuple[float, list[tuple[int, float]]] | None:
    """A trial's score at full budget and its epochs' scores, if the ledger has completed it."""
    if ledger.status(job.row.trial_id) != "completed":
        return None
    reports = ledger.epochs(job.row.trial_id)
    curve = [(report["epoch"], report["dev"]["f1"]) for report in reports]
    return selected_score(job.config, reports), curve


def ledger_spread(
    ledger: Ledger, plan: SearchPlan, upstream: str | None = None
) -> list[tuple[int, float, int]]:
    """The spread over seeds at the rungs, of all configs of this dataset and phase that train as long.

    RE's are those of gold entities, or of the trial `upstream`'s.
    """
    epochs = plan.space.base.training.epochs
    wanted = (plan.dataset.name, plan.fold, plan.spec.phase, epochs, "dev", upstream or "gold")
    groups: dict[str, list[dict[int, float]]] = {}
    for row in ledger.trials():
        training = row.config["training"]
        entities = training.get("selection_entities", "gold")
        if (row.dataset, row.fold, row.phase, training["epochs"], training["selection"], entities) == wanted:
            scores = {report["epoch"]: report["dev"]["f1"] for report in ledger.epochs(row.trial_id)}
            groups.setdefault(row.config_id, []).append(scores)
    rows = []
    for epoch in sorted({epoch for bracket in plan.rules.rungs for epoch in bracket}):
        at_epoch = ([scores[epoch] for scores in group if epoch in scores] for group in groups.values())
        squares, freedom = pooled(at_epoch)
        if freedom:
            rows.append((epoch, squares, freedom))
    return rows

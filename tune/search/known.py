"""What the ledger knows already that a search can use: results, and the spread over seeds."""

from collections.abc import Iterable
from typing import Any

from lai_net.config import TrialConfig
from tune.ledger.ledger import Ledger
from tune.planning.plan import IdentifiedTrial
from tune.search.candidate import Facts
from tune.search.plan import SearchPlan
from tune.search.rungs import pooled


def selected_score(config: TrialConfig, reports: Iterable[dict[str, Any]]) -> float:
    """Dev F1 of the epoch that a training selects: the best one after the cold start."""
    return float(max(report["dev"]["f1"] for report in reports if report["epoch"] > config.cold_epochs))


def known_result(ledger: Ledger, trial: IdentifiedTrial) -> tuple[float, list[tuple[int, float]]] | None:
    """A trial's score at full budget and its epochs' scores, if the ledger has completed it."""
    if ledger.status(trial.row.trial_id) != "completed":
        return None
    reports = ledger.epochs(trial.row.trial_id)
    curve = [(report["epoch"], report["dev"]["f1"]) for report in reports]
    return selected_score(trial.config, reports), curve


def ledger_spread(ledger: Ledger, plan: SearchPlan, upstream: str | None = None) -> Facts:
    """The spread over seeds at the rungs, as `Search.begin` takes it.

    Of all configs of this dataset, phase and the search's encoders that train as long. RE's are those of
    gold entities, or of the trial `upstream`'s.
    """
    epochs = plan.space.base.training.epochs
    wanted = (plan.dataset.name, plan.fold, plan.spec.phase, epochs, "dev", upstream or "gold")
    groups: dict[str, list[dict[int, float]]] = {}
    for row in ledger.trials():
        training = row.config["training"]
        entities = training.get("selection_entities", "gold")
        found = (row.dataset, row.fold, row.phase, training["epochs"], training["selection"], entities)
        if found == wanted and row.config["encoder"]["name"] in plan.space.encoder_names:
            scores = {report["epoch"]: report["dev"]["f1"] for report in ledger.epochs(row.trial_id)}
            groups.setdefault(row.config_id, []).append(scores)
    spread, counted = [], []
    for epoch in sorted({epoch for bracket in plan.rules.rungs for epoch in bracket}):
        reached = {
            config_id: [scores[epoch] for scores in group if epoch in scores]
            for config_id, group in groups.items()
        }
        squares, freedom = pooled(reached.values())
        if freedom:
            spread.append((epoch, squares, freedom))
            counted += [(epoch, config_id) for config_id, scores in reached.items() if len(scores) > 1]
    return {"spread": spread, "counted": counted}

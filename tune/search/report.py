"""What a search has come to, in numbers and in lines. Reads only."""

import math
from collections import Counter
from typing import Any

from tune.ledger import Ledger
from tune.plan import PlannedTrial, TrialKey
from tune.search.known import ledger_spread
from tune.search.log import DecisionLog
from tune.search.plan import SearchPlan
from tune.search.state import Search

_SHOWN = 5


def read_search(plan: SearchPlan, ledger: Ledger) -> Search:
    """The search as its log in the ledger leaves it.

    Raises:
        InputError: the log does not replay.
    """
    return DecisionLog.resume(ledger, plan.search_id, Search(plan.rules)).search


def summarize_search(plan: SearchPlan, ledger: Ledger) -> dict[str, Any]:
    """What `lai plan --json` says of a search: what bounds it, and where it stands."""
    search = read_search(plan, ledger)
    confirm = plan.spec.confirm
    return {
        "search_id": plan.search_id,
        "dataset": plan.dataset.name,
        "phase": plan.spec.phase,
        "settings": [dimension.name for dimension in plan.space.dimensions],
        "space_size": plan.space.size,
        "seeds_per_config": len(plan.rules.seeds),
        "rungs": [list(epochs) for epochs in plan.rules.rungs],
        "epochs": plan.space.base.training.epochs,
        "budget": plan.budget,
        "upstream": None if plan.upstream is None else f"NER base, seed {plan.upstream.seed}",
        "confirmation_trials": confirm.best * confirm.seeds,
        "most_trainings": most_trainings(plan, search),
        "used": dict(search.used),
        "configs": count_states(search),
        "confirmed": len(search.confirmed),
    }


def trial_keys(plan: SearchPlan, ledger: Ledger) -> set[TrialKey]:
    """Names of `asked_trials`."""
    return {trial.key for trial in asked_trials(plan, ledger)}


def asked_trials(plan: SearchPlan, ledger: Ledger) -> list[PlannedTrial]:
    """All trainings that the search may have asked for, those of confirmations among them."""
    search = read_search(plan, ledger)
    configs = [plan.config(item.params, search.upstream) for item in search.candidates if item.trials]
    seeds = (*plan.rules.seeds, *plan.fresh_seeds)
    upstream = [] if plan.upstream is None else [plan.upstream]
    return [*upstream, *(plan.trial(config, seed) for config in configs for seed in seeds)]


def most_trainings(plan: SearchPlan, search: Search) -> int | None:
    """The most trainings at full budget that are still to come, as if none were stopped early.

    None where hours alone bound the search.
    """
    budget, used, size = plan.budget, search.used, plan.space.size
    known = []
    if budget["trials"] is not None:
        known.append(budget["trials"] - used["trials"])
    if budget["epochs"] is not None:
        known.append(math.ceil((budget["epochs"] - used["epochs"]) / plan.space.base.training.epochs))
    if size is not None:
        known.append(size * len(plan.rules.seeds) - used["trials"])
    if not known:
        return None
    confirmed: int = sum(found["n"] + found["failed"] for found in search.confirmed.values())
    is_over = search.ended_by is not None and search.ended_by == search.spent(budget, size)
    confirmations = plan.spec.confirm.best * plan.spec.confirm.seeds - confirmed
    return (0 if is_over else max(0, min(known))) + max(0, confirmations)


def trial_states(plan: SearchPlan, ledger: Ledger) -> dict[str, int]:
    """The search's trials that were started, by state."""
    keys, newest = trial_keys(plan, ledger), ledger.newest_attempts()
    rows = (row for row in ledger.trials() if row.key in keys and row.trial_id in newest)
    return dict(Counter(newest[row.trial_id].status for row in rows))


def search_warnings(plan: SearchPlan, ledger: Ledger) -> list[str]:
    """What will not go as the study may expect."""
    noisy = plan.rules.noise_margin > 0 and any(plan.rules.rungs)
    if noisy and len(plan.rules.seeds) == 1 and not ledger_spread(ledger, plan):
        return [
            "no config will be stopped early: scheduler.noise_margin needs a spread over seeds, but the "
            "ledger has none like this and seeds_per_config is 1; raise it, or set noise_margin = 0"
        ]
    return []


def count_states(search: Search) -> dict[str, int]:
    """Suggestions by state; those that took over an earlier result count as repeats."""
    states = ("repeat" if item.same_as is not None else item.state for item in search.candidates)
    return dict(Counter(states))


def result_lines(search: Search) -> list[str]:
    """The state of a search, its best configs and their confirmations."""
    used = search.used
    counts = ", ".join(f"{count} {state}" for state, count in count_states(search).items())
    lines = [
        f"search: {len(search.candidates)} suggestions ({counts or 'none yet'}); {used['trials']} trials "
        f"started, {used['epochs']} epochs, {used['hours']:.2f} trial hours"
    ]
    for told in search.ranking()[:_SHOWN]:
        settings = ", ".join(f"{name} = {_short(value)}" for name, value in told.params.items())
        lines.append(f"config {told.number}: dev F1 {told.value:.4f} (n = {told.n}); {settings}")
    lines += _best_trial(search)
    if search.ended_by is not None:
        lines.append(f"no further config: the bound of {search.ended_by} is reached")
    for number, found in search.confirmed.items():
        lines.append(f"config {number} confirmed: {_confirmed(found)}")
    return lines


def _best_trial(search: Search) -> list[str]:
    """The trial whose model to take: at full budget, of a complete config, with the highest score."""
    scored = [
        (score, item.trials[seed], item.number, seed)
        for item in search.candidates
        if item.state == "complete" and item.same_as is None
        for seed, score in item.finals.items()
    ]
    if not scored:
        return []
    score, trial_id, number, seed = max(scored, key=lambda row: row[0])
    return [f"best trial: {trial_id} (dev F1 {score:.4f}, config {number}, seed {seed})"]


def _confirmed(found: dict[str, Any]) -> str:
    failed = f", {found['failed']} failed" if found["failed"] else ""
    if found["mean"] is None:
        return f"no score{failed}"
    spread = "" if found["std"] is None else f" ± {found['std']:.4f}"
    ends = "" if found["std"] is None else f", 95 % [{found['ci_low']:.4f}, {found['ci_high']:.4f}]"
    return f"dev F1 {found['mean']:.4f}{spread}{ends} on n = {found['n']} fresh seeds{failed}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

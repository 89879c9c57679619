"""What a search has come to, in numbers and in lines. Reads only."""

import math
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

from lai_net.wording import counted
from tune.ledger.ledger import Ledger
from tune.planning.plan import Contents, IdentifiedTrial, PlannedTrial
from tune.planning.retention import GONE
from tune.search.known import ledger_spread
from tune.search.log import DecisionLog
from tune.search.plan import SearchPlan
from tune.search.state import Search
from tune.spec.identity import trial_id
from tune.spec.idle import lines_on_idle

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


def asked_trials(plan: SearchPlan, ledger: Ledger) -> list[PlannedTrial]:
    """All trainings that the search may have asked for, those of confirmations among them."""
    search = read_search(plan, ledger)
    configs = [plan.config(item.params, search.upstream) for item in search.candidates if item.trials]
    seeds = (*plan.rules.seeds, *plan.fresh_seeds)
    upstream = [] if plan.upstream is None else [plan.upstream]
    return [*upstream, *(plan.trial(config, seed) for config in configs for seed in seeds)]


def identify_asked(plan: SearchPlan, contents: Contents, ledger: Ledger) -> tuple[IdentifiedTrial, ...]:
    """`asked_trials` with their ids, each once: a config may have been suggested twice."""
    trials = [contents.identify(trial) for trial in asked_trials(plan, ledger)]
    return tuple({trial.row.trial_id: trial for trial in trials}.values())


def most_trainings(plan: SearchPlan, search: Search) -> int | None:
    """The most trainings at full budget that are still to come, as if none were stopped early.

    None where hours alone bound the search.
    """
    budget, used, size = plan.budget, search.used, plan.space.size
    running = [item for item in search.candidates if item.state == "running"]
    begun = used["trials"] + sum(item.num_awaited for item in running)
    new: list[int] = []
    if budget["trials"] is not None:
        new.append(budget["trials"] - begun)
    if budget["epochs"] is not None:
        new.append(math.ceil((budget["epochs"] - used["epochs"]) / plan.space.base.training.epochs))
    if size is not None:
        new.append(size * len(plan.rules.seeds) - begun)
    if not new:
        return None
    confirm = plan.spec.confirm
    if search.ended_by is None or search.ended_by != search.spent(budget, size):
        on_the_way = sum(len(item.trials.keys() - item.finals.keys()) for item in running)
        return on_the_way + max(0, min(new)) + confirm.best * confirm.seeds
    confirmed = (search.confirmed_on.get(told.number, set()) for told in search.picked(confirm.best))
    return sum(len(set(plan.fresh_seeds) - seeds) for seeds in confirmed)


def search_warnings(plan: SearchPlan, ledger: Ledger) -> list[str]:
    """What will not go as the study may expect."""
    log = DecisionLog.resume(ledger, plan.search_id, Search(plan.rules))
    if log.size == 0:  # it would begin with what the ledger has now
        log.search.begin(**ledger_spread(ledger, plan, _upstream_id(plan, ledger)))
    warnings = list(_without_effect(plan))
    if log.search.has_margin or not any(plan.rules.rungs):
        return warnings
    return [
        *warnings,
        "no config will be stopped early: scheduler.noise_margin needs a spread over seeds, but the "
        "ledger has none like this and seeds_per_config is 1; raise it, or set noise_margin = 0",
    ]


def _without_effect(plan: SearchPlan) -> Iterator[str]:
    """What the study sets, but changes nothing whatever is drawn."""
    dataset, phase = plan.dataset, plan.spec.phase
    if plan.study.upstream != "base":
        yield f'upstream = "{plan.study.upstream}" has no effect here (in a search RE goes by the NER base)'
    if (used := plan.spec.seeds_per_config) < (given := len(plan.study.seeds)):
        yield f"of {given} seeds the first {used} alone have an effect here (search.seeds_per_config)"
    read = [(phase, dataset.base(phase), plan.space.extremes)]
    if plan.upstream is not None:
        read.append(("NER", dataset.ner, [plan.upstream.config]))
    for name, spec, configs in read:
        yield from lines_on_idle(plan.study, f"{dataset.name}, {name}", spec, configs)


def _upstream_id(plan: SearchPlan, ledger: Ledger) -> str | None:
    """The id of the NER trial that an RE search would go by; its name, which no trial knows, if it is new."""
    if plan.upstream is None:
        return None
    rows = (row.trial_id for row in ledger.trials() if row.key == plan.upstream.key)
    return next(rows, plan.upstream.spec_id)


def count_states(search: Search) -> dict[str, int]:
    """Suggestions by state; those that took over an earlier result count as repeats."""
    states = ("repeat" if item.same_as is not None else item.state for item in search.candidates)
    return dict(Counter(states))


def result_lines(search: Search, gone: Collection[str] = ()) -> list[str]:
    """The state of a search, its best configs and their confirmations.

    `gone` are trials whose models were not kept: none of them is to be saved.
    """
    used = search.used
    counts = ", ".join(f"{count} {state}" for state, count in count_states(search).items())
    lines = [
        f"search: {counted(len(search.candidates), 'suggestion')} ({counts or 'none yet'}); "
        f"{counted(used['trials'], 'trial')} started, {counted(used['epochs'], 'epoch')}, "
        f"{used['hours']:.2f} trial hours"
    ]
    for told in search.ranking()[:_SHOWN]:
        settings = ", ".join(f"{name} = {_short(value)}" for name, value in told.params.items())
        lines.append(f"config {told.number}: dev F1 {told.value:.4f} (n = {told.n}); {settings}")
    lines += _best_trial(search, gone)
    if search.ended_by is not None:
        lines.append(f"no further config: the bound of {search.ended_by} is reached")
    for number, found in search.confirmed.items():
        lines.append(f"config {number} confirmed: {_confirmed(found)}")
    return lines + _config_to_take(search, gone)


def _config_to_take(search: Search, gone: Collection[str]) -> list[str]:
    """The best of all confirmed configs by what fresh seeds say, once all chosen ones are among them."""
    if not search.chosen or not set(search.chosen["numbers"]) <= search.confirmed.keys():
        return []
    confirmed = search.confirmed.items()
    means = {number: found["mean"] for number, found in confirmed if found["mean"] is not None}
    if not means:
        return []
    best = max(means, key=lambda number: means[number])
    said = f"dev F1 {means[best]:.4f} on fresh seeds, the highest mean of {len(means)} confirmed"
    own = [
        f"{name} ({score:.4f})"
        for score, name, number, _ in _scored(search)
        if number == best and name not in gone
    ]
    saved = f"to save: a trial of config {best}, best first (dev F1): {', '.join(own)}"
    return [f"config to take: {best} ({said})", *([saved] if own else [])]


def _best_trial(search: Search, gone: Collection[str]) -> list[str]:
    """With the highest score of all: one seed's, so good by luck as well."""
    return [
        f"best trial: {name} (dev F1 {score:.4f}, config {number}, seed {seed}: one seed's score)"
        f"{GONE if name in gone else ''}"
        for score, name, number, seed in _scored(search)[:1]
    ]


def _scored(search: Search) -> list[tuple[float, str, int, int]]:
    """Score, trial_id, config and seed at full budget of complete configs and confirmations, best first."""
    scored = []
    for item in search.candidates:
        if item.state == "complete" and item.same_as is None and item.config_id is not None:
            fresh = search.confirmed.get(item.number, {}).get("scores", {})
            ids = item.trials | {seed: trial_id(item.config_id, seed) for seed in fresh}
            scores = (item.finals | fresh).items()
            scored += [(score, ids[seed], item.number, seed) for seed, score in scores]
    return sorted(scored, key=lambda row: -row[0])


def _confirmed(found: dict[str, Any]) -> str:
    failed = f", {found['failed']} failed" if found["failed"] else ""
    if found["mean"] is None:
        return f"no score{failed}"
    spread = "" if found["std"] is None else f" ± {found['std']:.4f}"
    # Equal scores tell nothing of the spread, so there is no interval to show.
    ends = f", 95 % [{found['ci_low']:.4f}, {found['ci_high']:.4f}]" if found["std"] else ""
    return f"dev F1 {found['mean']:.4f}{spread}{ends} on n = {found['n']} fresh seeds{failed}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""`lai plan`: what a study comes to before anything runs."""

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from lai_net.command_options import warn
from lai_net.wording import counted
from tune.cluster.options import AddressOption, InsecureOption, Remote, remote_of
from tune.commands.decision_report import show_growth
from tune.commands.growing import MaxSeedsOption, UntilDecidedOption, bounded_study, decider_of
from tune.commands.options import DEFAULT_LEDGER, JsonOption, LedgerOption, StudyArgument
from tune.encoder_fit import misfits
from tune.engine import Node
from tune.forecast.estimate import Estimate, estimate, estimate_lines
from tune.forecast.summary import Summary, finished_trials, summarize
from tune.forecast.until_decided import grow
from tune.ledger.ledger import Ledger
from tune.planning.needed_models import warnings_of_lost, warnings_of_upstream
from tune.planning.plan import Plan, make_plan
from tune.preparation import changed_contents
from tune.search.plan import SearchPlan, plan_search
from tune.search.report import asked_trials, most_trainings, read_search, search_warnings, summarize_search
from tune.spec.study import Study, load_study


def plan(
    context: typer.Context,
    study: StudyArgument,
    ledger: LedgerOption = DEFAULT_LEDGER,
    as_json: JsonOption = False,
    until_decided: UntilDecidedOption = False,
    max_seeds: MaxSeedsOption = None,
    address: AddressOption = None,
    insecure_cluster: InsecureOption = False,
) -> None:
    """Say what a study comes to, and what of it is done; needs neither corpus nor encoder.

    Hours are for this machine, or for the cluster at --address.
    """
    loaded = load_study(study)
    grown = bounded_study(loaded, max_seeds, until_decided=until_decided)
    nodes = _nodes_of(remote_of(address, insecure=insecure_cluster, ship_code=False))
    if loaded.search is not None:
        _show_search(loaded, ledger, nodes, as_json=as_json)
        return
    planned = make_plan(grown or loaded)
    decisions = None if grown is None else decider_of(context)(ledger, grown)
    with Ledger.read_or_empty(ledger) as opened:
        warnings = _warnings(planned, opened, ledger.resolve().parent)
        if decisions is not None:
            growth = grow(planned.study, opened, decisions, nodes)
            show_growth(dataclasses.replace(growth, warnings=(*warnings, *growth.warnings)), as_json=as_json)
            return
        summary = summarize(planned, opened, ledger.resolve().parent, nodes)
    summary = dataclasses.replace(summary, warnings=(*warnings, *summary.warnings))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(summary), indent=1))
    else:
        _show_summary(planned, summary)


def _warnings(plan: Plan, ledger: Ledger, folder: Path) -> list[str]:
    """What may be wrong with a plan before it is estimated; models lie in `folder`."""
    return [
        *changed_contents(plan.study, plan.trials, ledger),
        *warnings_of_lost(plan, ledger, folder),
        *misfits(plan),
    ]


def _nodes_of(remote: Remote | None) -> list[Node] | None:
    """A cluster's; None without one."""
    if remote is None:
        return None
    from tune.cluster.connection import cluster
    from tune.cluster.nodes import alive_nodes

    with cluster(remote.address, insecure=remote.insecure):
        return alive_nodes()


def _show_summary(plan: Plan, summary: Summary) -> None:
    table = Table("dataset", "phase", "cells", "trials", title=f"study {plan.study.name}")
    cells = Counter((cell.dataset, cell.phase) for cell in plan.cells if cell.config is not None)
    trials = Counter((trial.dataset, trial.phase) for trial in plan.trials)
    for place, count in trials.items():
        table.add_row(*place, str(cells[place]), str(count))
    console = Console()
    console.print(table)
    console.print(
        f"{counted(summary.cells, 'cell')}, {counted(summary.seeds, 'seed')}: "
        f"{counted(summary.runs, 'run')}, {summary.folded} folded into others, "
        f"{counted(summary.trials, 'trial')}; {summary.done} done, {summary.to_run} to run"
    )
    for line in estimate_lines(summary.estimate) if summary.to_run else ():
        typer.echo(line)
    warn(summary.warnings)


def _show_search(study: Study, ledger: Path, nodes: Sequence[Node] | None, *, as_json: bool) -> None:
    """`lai plan` of a search."""
    plan = plan_search(study)
    with Ledger.read_or_empty(ledger) as opened:
        counts = dataclasses.asdict(summarize(make_plan(study), opened))
        content = summarize_search(plan, opened)
        upstream = None if content["most_trainings"] == 0 else plan.upstream
        ceiling, unmeasured = _ceiling(plan, opened, ledger.resolve().parent, nodes)
        counts["estimate"] = dataclasses.asdict(ceiling)
        counts["warnings"] = [
            *changed_contents(study, asked_trials(plan, opened), opened),
            *warnings_of_upstream(upstream, opened, ledger.resolve().parent),
            *misfits(plan),
            *search_warnings(plan, opened),
            *unmeasured,
        ]
    if as_json:
        typer.echo(json.dumps(counts | {"search": content}, indent=1))
        return
    table = Table("search", "", title=f"study {study.name}")
    for name, value in content.items():
        if (name, value) != ("upstream", None):
            table.add_row(name, _words(value))
    Console().print(table)
    if (trials := plan.spec.budget.trials) is not None:
        seeds = len(plan.rules.seeds)
        least = counted(min(trials // seeds, plan.space.size or trials), "config")
        typer.echo(f"budget.trials {trials}, {counted(seeds, 'seed')} a config: at least {least}")
    for line in estimate_lines(ceiling, is_bound=True) if content["most_trainings"] else ():
        typer.echo(line)
    warn(counts["warnings"])


def _ceiling(
    plan: SearchPlan, ledger: Ledger, folder: Path, nodes: Sequence[Node] | None
) -> tuple[Estimate, list[str]]:
    """What the rest of a search costs at most: stops cannot be foreseen. Second, what is not known."""
    count = most_trainings(plan, read_search(plan, ledger))
    if count is None:
        return Estimate(), ["no estimate: hours alone bound the search"]
    finished = finished_trials(ledger)
    done = {row.key for row, _ in finished}
    upstream = [] if plan.upstream is None or plan.upstream.key in done else [plan.upstream]
    trials = [plan.trial(plan.space.base, plan.rules.seeds[0])] * count + upstream
    confirm, level = plan.spec.confirm, plan.study.budget.keep_models
    best = confirm.best * confirm.seeds + 2  # of all, by F1 on dev and by what the search goes by
    stay = len(upstream) + {"all": len(trials), "needed": best, "none": 0}[level]
    kept = trials[::-1][:stay]  # the trial that RE takes entities from is the last
    return estimate(trials, finished, ledger, plan.study.resources, folder, kept, nodes)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items() if item is not None) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "no end" if value is None else str(value)

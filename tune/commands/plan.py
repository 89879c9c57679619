"""`lai plan`: what a study comes to before anything runs."""

import dataclasses
import json
from collections import Counter
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tune.cluster.options import AddressOption, InsecureOption, Remote, remote_of
from tune.commands.decision_report import show_growth
from tune.commands.options import DEFAULT_LEDGER, LedgerOption, StudyArgument
from tune.commands.search import show_plan
from tune.engine import Node
from tune.forecast.estimate import estimate_lines
from tune.forecast.summary import Summary, summarize
from tune.forecast.until_decided import MaxSeedsOption, UntilDecidedOption, decider_of, grow, growing
from tune.ledger.ledger import Ledger
from tune.planning.plan import Plan, make_plan
from tune.spec.study import load_study


def plan(
    context: typer.Context,
    study: StudyArgument,
    ledger: LedgerOption = DEFAULT_LEDGER,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    until_decided: UntilDecidedOption = False,
    max_seeds: MaxSeedsOption = None,
    address: AddressOption = None,
    insecure_cluster: InsecureOption = False,
) -> None:
    """Say what a study comes to, and what of it is done; needs neither corpus nor encoder.

    Hours are for this machine, or for the cluster at --address.
    """
    loaded = load_study(study)
    grown = growing(loaded, max_seeds, until_decided=until_decided)
    nodes = _nodes_of(remote_of(address, insecure=insecure_cluster, ship_code=False))
    if grown is not None:
        decisions = decider_of(context)(ledger, grown)
        with Ledger.read_or_empty(ledger) as opened:
            show_growth(grow(grown, opened, decisions, nodes), as_json=as_json)
        return
    if loaded.search is not None:
        show_plan(loaded, ledger, nodes, as_json=as_json)
        return
    planned = make_plan(loaded)
    with Ledger.read_or_empty(ledger) as opened:
        summary = summarize(planned, opened, ledger.resolve().parent, nodes)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(summary), indent=1))
    else:
        _show_summary(planned, summary)


def _nodes_of(remote: Remote | None) -> list[Node] | None:
    """A cluster's; None without one."""
    if remote is None:
        return None
    from tune.ray_engine import alive_nodes, cluster

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
        f"{summary.cells} cells, {summary.seeds} seeds: {summary.runs} runs, {summary.folded} folded into "
        f"others, {summary.trials} trials; {summary.done} done, {summary.to_run} to run"
    )
    if summary.to_run and summary.estimate.wall_s is not None:
        console.print(
            f"about {summary.estimate.wall_s / 3600:.1f} h one after another "
            f"(mean of {summary.estimate.measured} finished trials)"
        )
    for line in estimate_lines(summary.estimate) if summary.to_run else ():
        typer.echo(line)
    for warning in summary.warnings:
        typer.echo(f"warning: {warning}", err=True)

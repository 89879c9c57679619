"""The `lai` commands that plan a study and look at its ledger. Heavy imports wait until a command runs."""

import dataclasses
import enum
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lai_net.errors import InputError
from tune.cluster.command import app as cluster_app
from tune.cluster.options import AddressOption, InsecureOption, Remote, remote_of
from tune.commands.decision_report import show_growth
from tune.commands.run import DEFAULT_LEDGER, LedgerOption, StudyArgument, run
from tune.commands.search import app as search_app
from tune.commands.search import show_plan, show_status
from tune.commands.standing import STATES, best_trials, state_word, take_stock
from tune.commands.verify import verify
from tune.engine import Node
from tune.forecast.estimate import estimate_lines
from tune.forecast.summary import Summary, summarize
from tune.forecast.until_decided import MaxSeedsOption, UntilDecidedOption, decider_of, grow, growing
from tune.ledger.file import is_being_written
from tune.ledger.ledger import Ledger, TrialRow
from tune.planning.explanation import (
    cells_of,
    find_trial,
    identity_fields,
    nearest_in_ledger,
    nearest_in_plan,
    state_of,
)
from tune.planning.plan import Plan, make_plan
from tune.results.curves import read_curves
from tune.results.importing import import_csv
from tune.results.table import long_table, to_csv, to_json, write_parquet
from tune.spec.identity import settings_id
from tune.spec.study import load_study

app = typer.Typer(no_args_is_help=True, add_completion=False)


class Format(enum.StrEnum):
    """How results are written."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


@app.command()
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


@app.command()
def status(study: StudyArgument, ledger: LedgerOption = DEFAULT_LEDGER) -> None:
    """Say how far a study is, and which of its trials failed; changes nothing."""
    loaded = load_study(study)
    if loaded.search is not None:
        show_status(loaded, ledger)
        return
    planned = make_plan(loaded)
    with Ledger.read_or_empty(ledger) as opened:
        standing, best = take_stock(planned, opened), best_trials(planned, opened)
    is_running = is_being_written(ledger)
    has_imported = any(count["imported"] for count in standing.trials.values())
    states = [state for state in STATES if state != "imported" or has_imported]
    table = Table("dataset", "phase", *(state_word(state, is_running=is_running) for state in states))
    for place, count in standing.trials.items():
        table.add_row(*place, *(str(count[state]) for state in states))
    Console().print(table)
    if standing.evaluations:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(standing.evaluations.items()))
        typer.echo(f"end-to-end evaluations: {counts}")
    for trial in best:
        name = f"{trial.dataset} {trial.phase}"
        typer.echo(f"best {name}: {trial.trial_id} (dev F1 {trial.f1:.2%}, seed {trial.seed})")
    for line in standing.failed:
        typer.echo(line)


@app.command()
def why(
    trial_id: Annotated[str, typer.Argument(metavar="TRIAL_ID", help="Its id, or how it begins.")],
    ledger: LedgerOption = DEFAULT_LEDGER,
    study: Annotated[str | None, typer.Option(help="Compare with what this study plans.")] = None,
) -> None:
    """Tell field by field why a trial is reused or not."""
    with Ledger.open(ledger, read_only=True) as opened:
        row = find_trial(opened, trial_id)
        state = state_word(state_of(opened, row), is_running=is_being_written(ledger))
        nearest = nearest_in_ledger(opened, row)
    typer.echo(f"trial {row.trial_id} (config {row.config_id}, spec {row.spec_id}): {state}")
    for name, value in identity_fields(row).items():
        typer.echo(f"  {name} = {_plain(value)}")
    if state == "imported":
        typer.echo("not trained again by any study that plans it, unless an evaluation needs its model")
    elif state != "completed":
        typer.echo(f"not reused by any study: it is {state}, not completed")
    elif settings_id(row.config) != row.spec_id:
        typer.echo(f"not reused by any study: what {row.phase} computes has changed since (semantics)")
    else:
        typer.echo("reused by every study that plans these fields with this content")
    if study is not None:
        _compare_with_study(make_plan(load_study(study)), row)
    elif nearest is not None:
        other, fields = nearest
        typer.echo(f"nearest other trial in the ledger, {other.trial_id}, differs in:")
        _show_differences(fields)


@app.command()
def results(
    study: StudyArgument,
    ledger: LedgerOption = DEFAULT_LEDGER,
    format_: Annotated[Format, typer.Option("--format", help="Parquet needs --out.")] = Format.CSV,
    out: Annotated[Path | None, typer.Option(help="Write there and not to stdout.")] = None,
) -> None:
    """Write the long results table of a study."""
    with Ledger.open(ledger, read_only=True) as opened:
        rows = long_table(opened, load_study(study))
    try:
        if format_ is Format.PARQUET:
            if out is None:
                raise InputError("--format parquet is not for a terminal; give --out FILE")
            write_parquet(rows, out)
            return
        content = to_csv(rows) if format_ is Format.CSV else to_json(rows)
        if out is None:
            typer.echo(content, nl=False)
        else:
            out.write_bytes(content)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); name another file") from error


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="A long results table.")],
    ledger: Annotated[Path, typer.Option("--ledger", help="The ledger file; made where missing.")],
    curves: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Learning curves of its trials, as reports have.")
    ] = None,
) -> None:
    """Take in results of runs made elsewhere; a study that plans these very trials does not train them."""
    with Ledger.open(ledger) as opened:
        count = import_csv(file, opened, curves)
        num_curves = len(read_curves(opened))
    hint = "`lai report STUDY` says which of them fit no cell"
    also = "" if curves is None else f"; the ledger has the learning curves of {num_curves} trials"
    typer.echo(f"{count} new rows from {file}; {hint}{also}", err=True)


app.command("run")(run)
app.command("verify")(verify)
app.add_typer(search_app)
app.add_typer(cluster_app, name="cluster")


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


def _compare_with_study(plan: Plan, row: TrialRow) -> None:
    fields = nearest_in_plan(plan, row)
    if fields is None:
        typer.echo(f"study {plan.study.name} plans no trial: none of its cells exists, or it is a search")
        return
    if fields:
        typer.echo(f"study {plan.study.name} does not plan it; its nearest planned trial (right) differs in:")
        _show_differences(fields)
        return
    typer.echo(f"study {plan.study.name} plans it, if corpus and encoder have the content above:")
    for cell in cells_of(plan, row) or ["the entities of its RE cells"]:
        typer.echo(f"  {cell}")


def _show_differences(fields: dict[str, tuple[Any, Any]]) -> None:
    for name, (own, other) in fields.items():
        typer.echo(f"  {name}: {_plain(own)} | {_plain(other)}")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

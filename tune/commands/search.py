"""The `lai` commands for a study with a `[search]`. Optuna loads only where it is asked."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from lai_net.errors import InputError
from tune.commands.options import DEFAULT_LEDGER, FAILED, JsonOption, LedgerOption, StudyArgument
from tune.ledger.ledger import Ledger
from tune.search.log import replay, strange_scores
from tune.search.plan import SearchPlan, plan_search
from tune.search.report import read_search
from tune.search.state import Search
from tune.spec.study import load_study

app = typer.Typer()


@app.command()
def importance(
    study: StudyArgument,
    ledger: LedgerOption = DEFAULT_LEDGER,
    as_json: JsonOption = False,
) -> None:
    """Say which settings mattered in a search (PED-ANOVA over its complete configs)."""
    from tune.search.optuna_view import importances

    plan, search = _open(study, ledger)
    found = importances(plan, search)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    table = Table("setting", "importance")
    for name, share in found.items():
        table.add_row(name, f"{share:.3f}")
    Console().print(table)


@app.command()
def export(
    study: StudyArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Written anew.")],
    to: Annotated[Literal["optuna-journal"], typer.Option(help="For optuna-dashboard.")],
    ledger: LedgerOption = DEFAULT_LEDGER,
) -> None:
    """Write a search for another tool."""
    from tune.search.optuna_view import export_journal

    plan, search = _open(study, ledger)
    typer.echo(f"{export_journal(plan, search, file)} suggestions in {file} ({to})", err=True)


@app.command("replay")
def replay_(study: StudyArgument, ledger: LedgerOption = DEFAULT_LEDGER) -> None:
    """Make every decision of a search again, suggestions included, and compare with its log."""
    from tune.search.sampler import Sampler

    plan = plan_search(load_study(study))
    sampler = Sampler(plan.space, plan.spec.sampler, plan.spec.seed)
    search = Search(plan.rules)
    with Ledger.open(ledger, read_only=True) as opened:
        events = opened.search_events(plan.search_id)
    if not events:
        raise InputError(f"{ledger}: has no log of study {study}'s search; `lai run` it first")
    differences = list(replay(events, search, sampler.suggest))  # takes long, and needs no ledger
    if not differences:
        with Ledger.open(ledger, read_only=True) as opened:
            differences = list(strange_scores(events, search, opened))
    for line in differences:
        typer.echo(line)
    typer.echo(f"{len(events)} decisions, {len(differences)} differ")
    raise typer.Exit(FAILED if differences else 0)


def _open(study: str, ledger: Path) -> tuple[SearchPlan, Search]:
    plan = plan_search(load_study(study))
    with Ledger.open(ledger, read_only=True) as opened:
        return plan, read_search(plan, opened)

"""The `lai` commands for a study with a `[search]`. Optuna loads only where it is asked."""

import dataclasses
import enum
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lai_net.errors import InputError
from tune.commands.options import DEFAULT_LEDGER, FAILED, LedgerOption, StudyArgument
from tune.commands.standing import state_word
from tune.engine import Node
from tune.failures import failure_lines
from tune.forecast.estimate import Estimate, estimate, estimate_lines
from tune.forecast.summary import finished_trials, summarize
from tune.ledger.file import is_being_written
from tune.ledger.ledger import Ledger
from tune.planning.plan import make_plan
from tune.search.log import replay, strange_scores
from tune.search.plan import SearchPlan, plan_search
from tune.search.report import (
    most_trainings,
    read_search,
    result_lines,
    search_attempts,
    search_warnings,
    summarize_search,
)
from tune.search.state import Search
from tune.spec.study import Study, load_study

app = typer.Typer()


class ExportFormat(enum.StrEnum):
    """What a search can be exported to."""

    OPTUNA_JOURNAL = "optuna-journal"


@app.command()
def importance(
    study: StudyArgument,
    ledger: LedgerOption = DEFAULT_LEDGER,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
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
    to: Annotated[ExportFormat, typer.Option(help="For optuna-dashboard.")],
    ledger: LedgerOption = DEFAULT_LEDGER,
) -> None:
    """Write a search for another tool."""
    from tune.search.optuna_view import export_journal

    plan, search = _open(study, ledger)
    typer.echo(f"{export_journal(plan, search, file)} suggestions in {file} ({to.value})", err=True)


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


def show_plan(study: Study, ledger: Path, nodes: Sequence[Node] | None, *, as_json: bool) -> None:
    """`lai plan` of a search."""
    plan = plan_search(study)
    with Ledger.read_or_empty(ledger) as opened:
        counts = dataclasses.asdict(summarize(make_plan(study), opened))
        content = summarize_search(plan, opened)
        ceiling, unmeasured = _ceiling(plan, opened, ledger.resolve().parent, nodes)
        counts["estimate"] = dataclasses.asdict(ceiling)
        counts["warnings"] = search_warnings(plan, opened) + unmeasured
    if as_json:
        typer.echo(json.dumps(counts | {"search": content}, indent=1))
        return
    table = Table("search", "", title=f"study {study.name}")
    for name, value in content.items():
        if (name, value) != ("upstream", None):
            table.add_row(name, _words(value))
    Console().print(table)
    if ceiling.wall_s is not None:
        typer.echo(
            f"at most {ceiling.wall_s / 3600:.1f} h one after another, were nothing stopped early "
            f"(mean of {ceiling.measured} finished trials)"
        )
    for line in estimate_lines(ceiling) if content["most_trainings"] else ():
        typer.echo(f"at most {line}")
    for warning in counts["warnings"]:
        typer.echo(f"warning: {warning}", err=True)


def _ceiling(
    plan: SearchPlan, ledger: Ledger, folder: Path, nodes: Sequence[Node] | None
) -> tuple[Estimate, list[str]]:
    """What the rest of a search costs at most: stops cannot be foreseen. Second, what is not known."""
    count = most_trainings(plan, read_search(plan, ledger))
    if count is None:
        return Estimate(), ["no estimate: hours alone bound the search"]
    finished = finished_trials(ledger)
    trials = [plan.trial(plan.space.base, plan.rules.seeds[0])] * count
    if plan.upstream is not None and plan.upstream.key not in {row.key for row, _ in finished}:
        trials.append(plan.upstream)
    confirm, level = plan.spec.confirm, plan.study.budget.keep_models
    stay = {"all": len(trials), "needed": confirm.best * confirm.seeds + 2, "none": 1}[level]
    kept = trials[::-1][:stay]  # the trial that RE takes entities from is the last
    found, unmeasured = estimate(trials, finished, ledger, plan.study.resources, folder, kept, nodes)
    names = ", ".join(unmeasured)
    return found, [f"no estimate: the ledger has no finished trial like those of {names}"] if names else []


def show_status(study: Study, ledger: Path) -> None:
    """`lai status` of a search."""
    plan = plan_search(study)
    with Ledger.read_or_empty(ledger) as opened:
        lines, trials = result_lines(read_search(plan, opened)), search_attempts(plan, opened)
    states = Counter(attempts[-1].status for attempts in trials)
    is_running = is_being_written(ledger)
    counts = ", ".join(
        f"{count} {state_word(state, is_running=is_running)}" for state, count in sorted(states.items())
    )
    typer.echo(f"trials: {counts or 'none yet'}")
    for line in (*lines, *failure_lines(trials)):
        typer.echo(line)


def _open(study: str, ledger: Path) -> tuple[SearchPlan, Search]:
    plan = plan_search(load_study(study))
    with Ledger.open(ledger, read_only=True) as opened:
        return plan, read_search(plan, opened)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items() if item is not None) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "no end" if value is None else str(value)

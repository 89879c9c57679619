"""`lai status` and `lai why`: what a ledger says of a study or a trial; both change nothing."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lai_net.command_options import warn
from tune.commands.console import table_console
from tune.commands.options import DEFAULT_LEDGER, LedgerOption, StudyArgument
from tune.commands.standing import STATES, best_trials, plan_with_added, state_word, take_stock, trial_names
from tune.failures import failure_lines
from tune.ledger.file import is_being_written
from tune.ledger.ledger import Ledger
from tune.ledger.rows import TrialRow
from tune.planning.explanation import (
    cells_of,
    find_trial,
    identity_fields,
    nearest_in_ledger,
    nearest_in_plan,
    state_of,
)
from tune.planning.plan import Plan, make_plan
from tune.planning.retention import GONE, not_kept
from tune.preparation import changed_contents
from tune.search.plan import plan_search
from tune.search.report import asked_trials, read_search, result_lines
from tune.spec.identity import settings_id
from tune.spec.study import Study, load_study, with_all_seeds

_RARE = ("imported", "pruned")
"""States without a column in a table where nothing is in them."""


def status(study: StudyArgument, ledger: LedgerOption = DEFAULT_LEDGER) -> None:
    """Say how far a study is, and which of its trials failed; changes nothing."""
    loaded = load_study(study)
    if not ledger.exists():
        typer.echo(f"no ledger at {ledger} yet: nothing has run; or name another with --ledger", err=True)
    if loaded.search is not None:
        _show_search(loaded, ledger)
        return
    with Ledger.read_or_empty(ledger) as opened:
        planned = plan_with_added(loaded, opened)
        standing, best = take_stock(planned, opened), best_trials(planned, opened)
        gone = not_kept(opened)
        changed = changed_contents(loaded, planned.trials, opened)
    is_running = is_being_written(ledger)
    occurring = {state for count in standing.trials.values() for state in count}
    states = [state for state in STATES if state in occurring or state not in _RARE]
    table = Table("dataset", "phase", *(state_word(state, is_running=is_running) for state in states))
    for place, count in standing.trials.items():
        table.add_row(*place, *(str(count[state]) for state in states))
    table_console().print(table)
    if standing.evaluations:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(standing.evaluations.items()))
        typer.echo(f"end-to-end evaluations: {counts}")
    for trial in best:
        name = f"{trial.dataset} {trial.phase}"
        entities = " between gold entities" if trial.phase == "RE" else ""
        f1 = "macro F1" if trial.averaging == "macro" else "F1"
        typer.echo(
            f"best {name}: {trial.trial_id} (dev {f1} {trial.f1:.4f}{entities}, seed {trial.seed})"
            f"{GONE if trial.trial_id in gone else ''}"
        )
    for line in standing.failed:
        typer.echo(line)
    warn(changed)


def _show_search(study: Study, ledger: Path) -> None:
    """`lai status` of a search."""
    plan = plan_search(study)
    with Ledger.read_or_empty(ledger) as opened:
        lines = result_lines(read_search(plan, opened), not_kept(opened))
        asked = asked_trials(plan, opened)
        names, attempts = trial_names(asked, opened), opened.all_attempts()
        changed = changed_contents(study, asked, opened)
    trials = [attempts[trial_id] for trial_id in names if trial_id in attempts]
    states = Counter(tries[-1].status for tries in trials)
    is_running = is_being_written(ledger)
    counts = ", ".join(
        f"{count} {state_word(state, is_running=is_running)}" for state, count in sorted(states.items())
    )
    typer.echo(f"trials: {counts or 'none yet'}")
    for line in (*lines, *failure_lines(trials, names)):
        typer.echo(line)
    warn(changed)


def why(
    trial_id: Annotated[str, typer.Argument(metavar="TRIAL_ID", help="Its id, or how it begins.")],
    ledger: LedgerOption = DEFAULT_LEDGER,
    study: Annotated[str | None, typer.Option(help="Compare with what this study plans.")] = None,
) -> None:
    """Tell field by field why a trial is reused or not."""
    compared = None if study is None else load_study(study)
    with Ledger.open(ledger, read_only=True) as opened:
        row = find_trial(opened, trial_id)
        state = state_word(state_of(opened, row), is_running=is_being_written(ledger))
        nearest = nearest_in_ledger(opened, row)
    typer.echo(f"trial {row.trial_id} (config {row.config_id}, spec {row.spec_id}): {state}")
    for name, value in identity_fields(row).items():
        typer.echo(f"  {name} = {_plain(value)}")
    if state == "imported":
        typer.echo(
            "not trained again by any study that plans it, unless an evaluation needs its model, or the "
            "study's tables show other scores"
        )
    elif state != "completed":
        typer.echo(f"not reused by any study: it is {state}, not completed")
    elif settings_id(row.config) != row.spec_id:
        typer.echo(f"not reused by any study: what {row.phase} computes has changed since (semantics)")
    else:
        typer.echo("reused by every study that plans these fields with this content and the same labels")
    if compared is not None:
        _compare_with_study(make_plan(with_all_seeds(compared)), row)
    elif nearest is not None:
        other, fields = nearest
        typer.echo(f"nearest other trial in the ledger, {other.trial_id}, differs in:")
        _show_differences(fields)


def _compare_with_study(plan: Plan, row: TrialRow) -> None:
    fields = nearest_in_plan(plan, row)
    if fields is None:
        typer.echo(f"study {plan.study.name} plans no trial: none of its cells exists, or it is a search")
        return
    if fields:
        typer.echo(f"study {plan.study.name} does not plan it; its nearest planned trial (right) differs in:")
        _show_differences(fields)
        return
    content = "if corpus and encoder have the content above and the labels are the same"
    typer.echo(f"study {plan.study.name} plans it, {content}:")
    for cell in cells_of(plan, row) or ["the entities of its RE cells"]:
        typer.echo(f"  {cell}")


def _show_differences(fields: dict[str, tuple[Any, Any]]) -> None:
    for name, (own, other) in fields.items():
        typer.echo(f"  {name}: {_plain(own)} | {_plain(other)}")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

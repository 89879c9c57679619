"""How `lai` prints which comparisons are decided and which cells get more seeds."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import get_args

import typer
from rich.table import Table

from lai_net.command_options import warn
from lai_net.wording import counted
from tune.commands.console import table_console
from tune.forecast.estimate import estimate_lines
from tune.forecast.significance import State
from tune.forecast.until_decided import Decision, Growth


def show_growth(growth: Growth, *, as_json: bool) -> None:
    """Print a plan of further seeds."""
    if as_json:
        typer.echo(json.dumps(asdict(growth), indent=1))
        return
    console = table_console()
    console.print(_table(growth.decisions))
    counts = Counter(item.state for item in growth.decisions)
    console.print(
        f"{len(growth.decisions)} comparisons: "
        + ", ".join(f"{counts[state]} {state}" for state in get_args(State))
        + f"; equivalent within ±{growth.min_effect:g} points; the probability of a false mark is at most "
        f"{growth.alpha:g} per dataset, task and factor over all looks, for which p and interval allow: both "
        "are stricter than those of the tables",
        soft_wrap=True,
        markup=False,
    )
    typer.echo(f"{counted(growth.to_run, 'trial')} to run for the next look")
    for line in estimate_lines(growth.estimate) if growth.to_run else ():
        typer.echo(line)
    warn(growth.warnings)


def _table(decisions: Sequence[Decision]) -> Table:
    table = Table(
        "dataset",
        "task",
        "factor",
        "level",
        "looks at n =",
        "state",
        "n",
        "delta",
        "interval",
        "p adj.",
        "seeds to add",
    )
    for item in decisions:
        interval = "" if item.ci_low is None else f"{item.ci_low:+.2f} to {item.ci_high:+.2f}"
        table.add_row(
            item.dataset,
            item.task,
            item.factor,
            item.level,
            ", ".join(map(str, item.looks)),
            item.state,
            str(item.n),
            "" if item.delta is None else f"{item.delta:+.2f}",
            interval,
            "" if item.p_adjusted is None else f"{item.p_adjusted:.3g}",
            _seeds(item.missing),
        )
    return table


def _seeds(seeds: Sequence[int]) -> str:
    if not seeds:
        return ""
    is_range = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    shown = f"{seeds[0]}–{seeds[-1]}" if is_range else ", ".join(map(str, seeds))
    return f"{len(seeds)} ({shown})"

"""The `lai` command: one Typer app made of every package's commands.

This is the composition root, the only module that knows all three packages' command lines, and the only
place where an error of the user becomes one line on stderr. Commands import what they need when they run,
so `lai --help` loads neither torch nor ray.
"""

import argparse
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

import analysis.cli
import lai_net.cli
import lai_net.command_options
import tune.commands.cli
from analysis.cli import IMPORTANCES
from lai_net import __version__
from lai_net.errors import InputError
from lai_net.files import is_disk_full
from tune.commands.growing import DECIDER
from tune.commands.options import DEFAULT_LEDGER, INPUT_WRONG, INTERRUPTED
from tune.forecast.until_decided import Decision
from tune.search.plan import SearchPlan
from tune.search.state import Search
from tune.spec.study import Study

_TYPER_INTERRUPTED = 130  # what Typer makes of a KeyboardInterrupt
_RESUMING = ("run ", "train ", "corpus fetch ")
"""How a command line begins whose next call goes on where this one was; others begin anew."""
_LEDGER_TROUBLE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY,
}  # fmt: skip
"""What is wrong with a file; any other error of SQLite is a defect of ours."""

app = typer.Typer(name="lai", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
for part in (lai_net.cli.app, tune.commands.cli.app, analysis.cli.app):
    app.add_typer(part)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lai {__version__}")
        raise typer.Exit


def _decide(ledger: Path, study: Study) -> Sequence[Decision]:
    """A `tune.commands.growing.Decider`."""
    from analysis.decisions import decide_study

    return decide_study(ledger, study)


def _trained_model(trial_id: str, ledger: Path) -> Path:
    """A `lai_net.command_options.FindTrial`."""
    from tune.planning.trained_model import trained_model_folder

    return trained_model_folder(trial_id, ledger)


def _importances(plan: SearchPlan, search: Search) -> Mapping[str, float]:
    """An `analysis.report.Importances`."""
    from tune.search.optuna_view import importances

    return importances(plan, search)


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train LAI-Net, sweep over it, and turn the ledger into tables, figures and a report."""
    context.meta[lai_net.command_options.FIND_TRIAL] = _trained_model
    context.meta[IMPORTANCES] = _importances
    context.meta[DECIDER] = _decide


def main(args: Sequence[str] | None = None) -> None:
    """Run `lai` and exit: 0 done, 1 some trials failed, 2 the input is wrong, 3 interrupted."""
    args = sys.argv[1:] if args is None else args
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr; a locale may lack a quote or a label
    try:
        code = app(args=args, prog_name="lai", standalone_mode=False)
    except KeyboardInterrupt:
        code = _TYPER_INTERRUPTED
    except SystemExit:  # Typer's where the reader of a pipe has gone
        code = INTERRUPTED
    except Exception as error:
        message = _message(error, args)
        if message is None:
            raise
        sys.stderr.write(message)
        code = INPUT_WRONG
    if code == _TYPER_INTERRUPTED:  # where the command itself has not said how it goes on
        resumes = " ".join(args).startswith(_RESUMING)
        sys.stderr.write(f"interrupted{'; the same call resumes' if resumes else ''}\n")
        code = INTERRUPTED
    sys.exit(code)


def _message(error: Exception, args: Sequence[str]) -> str | None:
    """One line on an error of the user; None on a defect. Empty where Typer has printed its help."""
    if isinstance(error, InputError):
        text = str(error)
    elif isinstance(error, typer.TyperException):
        text = error.format_message()
    elif isinstance(error, OSError) and (error.filename is not None or is_disk_full(error)):
        text = f"{error.filename or 'stdout'}: {error.strerror}"
    elif getattr(error, "sqlite_errorcode", -1) & 0xFF in _LEDGER_TROUBLE:
        text = f"{_ledger(args)}: cannot be used as a ledger ({error}); restore it, or name another"
    else:
        return None
    line = " ".join(text.splitlines())
    return f"{line}\n" if line else ""


def _ledger(args: Sequence[str]) -> str:
    """The ledger that a command line names: an error of SQLite names no file."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--ledger", default=str(DEFAULT_LEDGER))
    return str(parser.parse_known_args(args)[0].ledger)


if __name__ == "__main__":
    main()

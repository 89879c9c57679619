"""What commands share: exit codes, warnings, progress, options, and how a model is named."""

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from lai_net.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress

FAILED, INPUT_WRONG, INTERRUPTED = 1, 2, 3
"""Exit codes."""
DEFAULT_LEDGER = Path("runs/ledger.sqlite")
_TRIAL_ID = re.compile(r"[0-9a-f]+")

FindTrial = Callable[[str, Path], Path]
"""TRIAL_ID and ledger to the folder of the trial's model; raises an InputError where there is none."""
FIND_TRIAL = "lai_net.command_options.find_trial"
"""Key of a context's `meta` under which the composition root hands down a `FindTrial`: we know no ledger."""

DeviceOption = Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")]
LedgerOption = Annotated[
    Path | None,
    typer.Option(help="The ledger that knows a TRIAL_ID.", show_default=str(DEFAULT_LEDGER)),
]


def model_folder(context: typer.Context, name: str, ledger: Path | None) -> Path:
    """A folder, or what the composition root makes of a TRIAL_ID."""
    path, find_trial = Path(name), context.meta.get(FIND_TRIAL)
    if path.is_dir() or find_trial is None:
        return path
    if not _TRIAL_ID.fullmatch(name):
        raise InputError(
            f"{name!r} is no folder, and no TRIAL_ID, which has digits and a to f alone; give a folder of "
            "`lai train`, or a TRIAL_ID"
        )
    try:
        return cast("FindTrial", find_trial)(name, ledger or DEFAULT_LEDGER)
    except InputError as error:
        raise InputError(f"{name!r} is no folder, and as a TRIAL_ID: {error}") from error


def check_ledger(ledger: Path | None, *names: str) -> None:
    """Refuse a ledger where all models are given as folders."""
    if ledger is not None and all(Path(name).is_dir() for name in names):
        raise InputError("--ledger knows a TRIAL_ID, but folders are given; leave it out")


def warn(lines: Iterable[str]) -> None:
    """Each in a line on standard error."""
    for line in lines:
        typer.echo(f"warning: {line}", err=True)


def progress_on_stderr(unit: str, *, has_lines: bool = False) -> "Progress":
    """On stderr, if that is a terminal, and no lines of results meanwhile show the progress there.

    Rich would take what is printed on stdout along to its own console, were it not told to leave it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    shown = console.is_terminal and not (has_lines and sys.stdout.isatty())
    columns = (MofNCompleteColumn(), TextColumn(unit), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, redirect_stdout=False, disable=not shown)

"""The `lai` command: one Typer app made of every package's commands.

This is the composition root, the only module that knows all three packages' command lines, and the only
place where an error of the user becomes one line on stderr. Commands import what they need when they run,
so `lai --help` loads neither torch nor ray.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import analysis.cli
import lai_net.cli
import tune.cli
from lai_net import __version__
from lai_net.errors import InputError

INPUT_WRONG = 2
INTERRUPTED = 3
_TYPER_INTERRUPTED = 130  # what Typer makes of a KeyboardInterrupt

app = typer.Typer(name="lai", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
for part in (lai_net.cli.app, tune.cli.app, analysis.cli.app):
    app.add_typer(part)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lai {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train LAI-Net, sweep over it, and turn the ledger into tables, figures and a report."""


def main(args: Sequence[str] | None = None) -> None:
    """Run `lai` and exit: 0 done, 1 some trials failed, 2 the input is wrong, 3 interrupted."""
    try:
        app(args=args, prog_name="lai")
    except InputError as error:
        sys.stderr.write(" ".join(str(error).splitlines()) + "\n")
        sys.exit(INPUT_WRONG)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        sys.exit(INTERRUPTED if end.code == _TYPER_INTERRUPTED else end.code)


if __name__ == "__main__":
    main()

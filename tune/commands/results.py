"""`lai results` and `lai import`: the long table, out of a ledger and into one."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lai_net.errors import InputError
from lai_net.wording import counted
from tune.commands.options import DEFAULT_LEDGER, LedgerOption, StudyArgument
from tune.ledger.ledger import Ledger
from tune.planning.imported import lines_on_nameless
from tune.results.curves import read_curves
from tune.results.importing import import_csv
from tune.results.table import long_table, to_csv, to_json, write_parquet
from tune.spec.study import load_study


def results(
    study: StudyArgument,
    ledger: LedgerOption = DEFAULT_LEDGER,
    format_: Annotated[
        Literal["csv", "json", "parquet"], typer.Option("--format", help="Parquet needs --out.")
    ] = "csv",
    out: Annotated[Path | None, typer.Option(help="Write there and not to stdout.")] = None,
) -> None:
    """Write the long results table of a study."""
    if format_ == "parquet" and out is None:
        raise InputError("--format parquet writes no text; give --out FILE")
    with Ledger.open(ledger, read_only=True) as opened:
        rows = long_table(opened, load_study(study))
    render = to_csv if format_ == "csv" else to_json
    if out is None:
        typer.echo(render(rows), nl=False)
        return
    try:
        if format_ == "parquet":
            write_parquet(rows, out)
        else:
            out.write_bytes(render(rows))
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); name another file") from error


def import_(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.csv", exists=True, dir_okay=False, help="A long results table."),
    ],
    ledger: Annotated[Path, typer.Option("--ledger", help="The ledger file; made where missing.")],
    curves: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            exists=True,
            dir_okay=False,
            help="Learning curves of its trials, as reports have.",
        ),
    ] = None,
) -> None:
    """Take in results of runs made elsewhere; a study that plans these very trials does not train them."""
    with Ledger.open(ledger) as opened:
        count = import_csv(file, opened, curves)
        num_curves = len(read_curves(opened))
        nameless = lines_on_nameless(opened)
    hint = "`lai report STUDY` says which of them fit no cell"
    also = "" if curves is None else f"; the ledger has the learning curves of {counted(num_curves, 'trial')}"
    typer.echo("\n".join([f"{counted(count, 'new row')} from {file}; {hint}{also}", *nameless]), err=True)

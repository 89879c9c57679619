"""`lai results` and `lai import`: the long table, out of a ledger and into one."""

from collections.abc import Sequence
from contextlib import nullcontext
from os.path import realpath
from pathlib import Path
from typing import Annotated, Literal

import typer

from lai_net.errors import InputError
from lai_net.files import new_file
from lai_net.wording import counted
from tune.commands.options import DEFAULT_LEDGER, LedgerOption, StudyArgument
from tune.ledger.file import BESIDE
from tune.ledger.ledger import Ledger
from tune.planning.imported import lines_on_nameless
from tune.results.curves import read_curves
from tune.results.importing import import_csv
from tune.results.table import ResultRow, long_table, to_csv, to_json, write_parquet
from tune.spec.study import load_study, study_file

Format = Literal["csv", "json", "parquet"]
_RENDER = {"csv": to_csv, "json": to_json}


def results(
    study: StudyArgument,
    ledger: LedgerOption = DEFAULT_LEDGER,
    format_: Annotated[Format, typer.Option("--format", help="Parquet needs --out.")] = "csv",
    out: Annotated[Path | None, typer.Option(help="Write there and not to stdout.")] = None,
) -> None:
    """Write the long results table of a study."""
    if format_ == "parquet" and out is None:
        raise InputError("--format parquet writes no text; give --out FILE")
    with Ledger.open(ledger, read_only=True) as opened:
        rows = long_table(opened, load_study(study))
    if out is None:
        typer.echo(_RENDER[format_](rows), nl=False)
        return
    for what, path in (("ledger", ledger), ("study's file", study_file(study))):
        if out.exists() and out.samefile(path):
            raise InputError(f"--out {out}: is the {what}; name another file")
    if realpath(out) in {f"{ledger.resolve()}{end}" for end in BESIDE}:  # a writer may be about to make it
        raise InputError(f"--out {out}: is a file of the ledger; name another file")
    try:
        _write(rows, format_, out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); name another file") from error


def _write(rows: Sequence[ResultRow], format_: Format, out: Path) -> None:
    """Write all of a file, or leave what was there; a pipe or a device has no other to take its place."""
    is_written_into = out.exists() and not out.is_file()
    with nullcontext(out) if is_written_into else new_file(Path(realpath(out))) as place:
        if format_ == "parquet":
            write_parquet(rows, place)
        else:
            place.write_bytes(_RENDER[format_](rows))


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
    said = [f"{counted(count.new, 'new row')} from {file}"]
    if count.otherwise:
        what = "rows that were there with another wall_s, device or commit, and stay as they were"
        said.append(f"{what}: {count.otherwise}")
    said.append("`lai report STUDY` says which rows fit no cell")
    if curves is not None:
        said.append(f"the ledger has the learning curves of {counted(num_curves, 'trial')}")
    typer.echo("\n".join(["; ".join(said), *nameless]), err=True)

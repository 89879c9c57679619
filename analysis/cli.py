"""The analysis commands of `lai`; what they need is imported when they run."""

import contextlib
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.variance_command import IntervalOption, variance
from lai_net.errors import InputError
from tune.commands.options import DEFAULT_LEDGER, JsonOption, LedgerOption, StudyArgument
from tune.spec.study import study_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.paper.finding import Audit
    from analysis.report import Report

app = typer.Typer()
app.command()(variance)
paper_app = typer.Typer(no_args_is_help=True, help="Look at the published tables.")
app.add_typer(paper_app, name="paper")

IMPORTANCES = "lai.importances"
"""Under this the composition root hands over what computes a search's importances, which needs Optuna."""


@app.command()
def report(
    context: typer.Context,
    study: StudyArgument,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; made where missing.")] = None,
    ledger: LedgerOption = DEFAULT_LEDGER,
    speed: Annotated[
        Path | None, typer.Option(help="CSV of `make bench`: adds Table 3 and the representations' speed.")
    ] = None,
    interval: IntervalOption = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Write nothing: show the page to this machine's browser, live.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Of --serve; without it a free one is taken.")
    ] = None,
) -> None:
    """Write a study's tables, figures and report page from its ledger; missing cells are shown as missing."""
    from analysis.report import compose_report, write_report

    if (out is None) != serve:
        raise InputError("give either --out DIR or --serve")
    if port is not None and not serve:
        raise InputError("--port is of --serve, which is not given; leave it out")
    importances = context.meta.get(IMPORTANCES)
    compose = partial(compose_report, study, ledger, speed=speed, importances=importances, interval=interval)
    if out is None:
        inputs = (study_file(study), ledger, Path(f"{ledger}-wal"), speed)
        _serve(compose, tuple(filter(None, inputs)), port or 0)
        return
    composed = compose()
    write_report(composed, out)
    for line in (composed.progress, *composed.unmatched):
        typer.echo(line)
    typer.echo(f"{len(composed.files)} files in {out}; open {out / 'index.html'}")


def _serve(compose: "Callable[..., Report]", watched: tuple[Path, ...], port: int) -> None:
    from analysis.server import LiveReport, ReportServer

    with contextlib.suppress(KeyboardInterrupt):  # this is how a user ends it, at any time
        live = LiveReport(partial(compose, is_live=True), watched)
        with ReportServer(live, port) as server:
            typer.echo(f"{live.report.progress}\n{server.address}\nCtrl-C ends it.")
            server.run()


@paper_app.command("audit")
def paper_audit(
    tables: Annotated[
        Path | None, typer.Option(help="Folder with another copy of table1.csv to table5.csv.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute the published tables' deltas, F1 scores and repeated numbers, and sort what deviates."""
    from analysis.paper.audit import audit
    from analysis.paper.tables import read_tables

    result = audit(read_tables(tables))
    if as_json:
        typer.echo(json.dumps(result.as_dict(), indent=2))
    else:
        _print_audit(result)


def _print_audit(result: "Audit") -> None:
    """Print one line a deviation, the worst first, the counts, and what no check reaches."""
    from rich.markup import escape
    from rich.table import Table

    from tune.commands.console import table_console

    table = Table("place", "what", "printed", "computed", "explained by", "note")
    for found in result.deviations:
        row = (
            found.place,
            found.check,
            found.printed,
            f"{found.computed:.3f}",
            found.explanation,
            found.note,
        )
        table.add_row(*(escape(str(field)) for field in row))
    console = table_console()
    if table.rows:
        console.print(table)
    counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
    console.print(f"{len(result.findings)} numbers recomputed: {counts}", soft_wrap=True)
    tables = ", ".join(f"{count} in Table {table}" for table, count in result.unchecked_by_table.items())
    console.print(
        f"{len(result.unchecked)} of {result.printed} printed numbers stand for themselves, with nothing to "
        f"be checked against: a slip there cannot be seen{f' ({tables})' if tables else ''}",
        soft_wrap=True,
    )

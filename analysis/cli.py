"""The analysis commands of `lai`; what they need is imported when they run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from analysis.paper.finding import Audit

app = typer.Typer()
paper_app = typer.Typer(no_args_is_help=True, help="Look at the published tables.")
app.add_typer(paper_app, name="paper")

DEFAULT_LEDGER = Path("runs/ledger.sqlite")
_PLAIN_WIDTH = 150  # columns of a table that is written to a file or a pipe


@app.command()
def report(
    study: Annotated[str, typer.Argument(help="A study file, or the name of a shipped study.")],
    out: Annotated[Path, typer.Option(help="Folder to write to; made where missing.")],
    ledger: Annotated[Path, typer.Option(help="The ledger file.")] = DEFAULT_LEDGER,
) -> None:
    """Write a study's tables, figures and report page from its ledger; missing cells are shown as missing."""
    from analysis.report import write_report

    written = write_report(study, ledger, out)
    typer.echo(written.progress)
    typer.echo(f"{len(written.files)} files in {out}; open {out / 'index.html'}")


@paper_app.command("audit")
def paper_audit(
    tables: Annotated[
        Path | None, typer.Option(help="Folder with another copy of table1.csv to table5.csv.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
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
    """Print one line a deviation, the worst first, and the counts."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

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
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _PLAIN_WIDTH)
    if table.rows:
        console.print(table)
    counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
    console.print(f"{len(result.findings)} numbers recomputed: {counts}", soft_wrap=True)

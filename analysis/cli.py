"""The analysis commands of `lai`; what they need is imported when they run."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def report(
    study: Annotated[str, typer.Argument(help="A study file, or the name of a shipped study.")],
    out: Annotated[Path, typer.Option(help="Folder to write to; made where missing.")],
    ledger: Annotated[Path, typer.Option(help="The ledger file.")] = Path("runs/ledger.sqlite"),
) -> None:
    """Write a study's tables, figures and report page from its ledger; missing cells are shown as missing."""
    from analysis.report import write_report

    written = write_report(study, ledger, out)
    typer.echo(written.progress)
    typer.echo(f"{len(written.files)} files in {out}; open {out / 'index.html'}")

"""What the commands share: arguments, options and exit codes."""

from pathlib import Path
from typing import Annotated

import typer

from lai_net.command_options import DEFAULT_LEDGER as DEFAULT_LEDGER
from lai_net.command_options import FAILED as FAILED
from lai_net.command_options import INPUT_WRONG as INPUT_WRONG
from lai_net.command_options import INTERRUPTED as INTERRUPTED

StudyArgument = Annotated[str, typer.Argument(help="Study file, or the name of a shipped one.")]
LedgerOption = Annotated[Path, typer.Option(help="The ledger file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
CorpusOption = Annotated[list[str] | None, typer.Option(metavar="NAME=DIR", help="Where a corpus lies.")]

"""How the commands print tables that are wider than most terminals."""

from rich.console import Console

_PLAIN_WIDTH = 170  # columns of a table that is written to a file or a pipe


def table_console() -> Console:
    """Standard output; as wide as a table needs where it is no terminal."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _PLAIN_WIDTH)
    return console

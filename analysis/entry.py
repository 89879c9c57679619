"""The console script `lai`: all imports come after its `try`, so that an interrupt meanwhile is told, too."""

import sys


def main() -> None:
    """Run `lai`; see `analysis.__main__.main`."""
    try:
        from analysis.__main__ import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(3)
    run()

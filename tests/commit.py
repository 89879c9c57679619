"""The commit that a page of measurements names."""

from pathlib import Path

from tune.code_identity import code_of


def commit_now() -> str:
    """Twelve digits of the checkout's commit, and `+` where files differ from it."""
    code = code_of(Path(__file__))
    return f"{(code['commit'] or 'unknown')[:12]}{'+' if code['dirty'] else ''}"

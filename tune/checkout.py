"""Which code runs: the commit of the checkout that a file is tracked by."""

import subprocess
from pathlib import Path
from typing import Any


def code_of(file: Path, *folders: str) -> dict[str, Any]:
    """The commit of the checkout that tracks `file`, now, and whether files differ from it; else None.

    Args:
        file: of the code that is asked about.
        folders: of the checkout, from its top: only differences in them count. Without any, all do.
    """

    def git(*words: str) -> str:
        command = ["git", "-C", str(file.parent), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    places = [f":(top){name}" for name in folders]
    try:
        git("ls-files", "--error-unmatch", file.name)
        is_dirty = bool(git("status", "--porcelain", "--", *places))
        return {"commit": git("rev-parse", "HEAD"), "dirty": is_dirty}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}

"""Which code runs: the commit of the checkout that a file is tracked by, and the content of our packages."""

import functools
import hashlib
import subprocess
from pathlib import Path
from typing import Any

import lai_net
import tune

_SUFFIXES = {".py", ".toml"}


@functools.cache
def code_identity() -> str:
    """`<version> (<16 hex digits>)`: of the files of `lai_net` and `tune` when this was first asked.

    In a checkout no version says that.
    """
    digest = hashlib.sha256()
    for package in (lai_net, tune):
        folder = Path(str(package.__file__)).parent
        for path in sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES):
            digest.update(f"{package.__name__}/{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{lai_net.__version__} ({digest.hexdigest()[:16]})"


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

"""Which code a process runs, by its content: in a checkout no version says that."""

import functools
import hashlib
from pathlib import Path

import lai_net
import tune

_SUFFIXES = {".py", ".toml"}


@functools.cache
def code_identity() -> str:
    """`<version> (<16 hex digits>)`: of the files of `lai_net` and `tune` when this was first asked."""
    digest = hashlib.sha256()
    for package in (lai_net, tune):
        folder = Path(str(package.__file__)).parent
        for path in sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES):
            digest.update(f"{package.__name__}/{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{lai_net.__version__} ({digest.hexdigest()[:16]})"

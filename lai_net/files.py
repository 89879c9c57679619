"""Files and folders that appear whole or not at all, digests, sizes, and what is told of a file.

What is being written lies beside its place, or in it, under a hidden name. Where it does not come to its end,
it is removed, and of a killed process the next one removes it, but for files that several may write. An
`OSError` names the place.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from lai_net.errors import InputError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def new_file(path: Path, *, by_several: bool = False) -> Iterator[Path]:
    """A name under which a file is to be written; it then takes the place of `path`.

    Args:
        path: the file's.
        by_several: processes, on several machines, may write it at once: the name is one of its own.
    """
    own = token_hex(8) if by_several else "partial"
    temporary = path.with_name(f".{path.name}.{own}")
    with _naming(path):
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path, *, durable: bool = False) -> Iterator[Path]:
    """An empty folder, which then takes the place of `folder`; only one process may write that at a time.

    Args:
        folder: below folders that are made where missing.
        durable: its files are on disk before it has its name.
    """
    temporary = folder.with_name(f".{folder.name}.partial")
    with _naming(folder):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for path in temporary.iterdir() if durable else ():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            replace_folder(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(source: Path, target: Path) -> None:
    """Give a folder the name of another, which is removed."""
    shutil.rmtree(target, ignore_errors=True)
    source.rename(target)


@contextmanager
def new_files(folder: Path, *, last: str) -> Iterator[Path]:
    """An empty folder whose files, also those in its folders, then replace those of their names in `folder`.

    Each is replaced at once, `last` after all others; what else `folder` holds stays.
    """
    with _naming(folder):
        new = folder / ".partial"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            yield new
            files = [path for path in new.rglob("*") if path.is_file()]
            for path in sorted(files, key=lambda path: path == new / last):
                place = folder / path.relative_to(new)
                place.parent.mkdir(exist_ok=True)
                path.replace(place)
        finally:
            shutil.rmtree(new, ignore_errors=True)


@contextmanager
def locked(path: Path, *, waits: bool = True) -> Iterator[None]:
    """Hold the lock of a file, made where missing; the system frees it when the process ends, however.

    Args:
        path: the file's; it stays, and its content does not matter.
        waits: until another holder gives it back; else that is a `BlockingIOError`.
    """
    with path.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def sha256_of(path: Path) -> str:
    """The digest of a file's bytes, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """SHA-256 (hex) of a value as JSON, whatever the order of keys; stored, so it must stay as it is."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def size_gib(folder: Path) -> float:
    """What the files below a folder take; 0 where there is none."""
    total = 0
    for place, _, names in os.walk(folder):  # passes over folders that vanish; `rglob` raises
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_size  # noqa: PTH116, PTH118 - many files
            except FileNotFoundError:  # a worker renamed it meanwhile
                continue
    return total / 2**30


def is_disk_full(error: OSError) -> bool:
    """Whether it says that there is no room for a file; making room is what helps."""
    return error.errno in _FULL


def unwritable(path: str | Path, error: OSError) -> InputError:
    """What to say of a place that cannot be written."""
    if is_disk_full(error):
        return InputError(f"{path}: {error.strerror}; make space there, or name another folder")
    return InputError(f"{path}: cannot be written ({error.strerror}); name another folder")


def unreadable(path: Path, error: OSError, remedy: str = "check the path") -> InputError:
    """What to say of a file that cannot be read."""
    return InputError(f"{path}: cannot be read ({error.strerror}); {remedy}")


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, with or without a byte order mark.

    Raises:
        InputError: it cannot be read.
        FileNotFoundError: there is none; the caller knows what there is.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {error}") from error


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """The system's error on a write, unlike that on an opening, names no file."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise

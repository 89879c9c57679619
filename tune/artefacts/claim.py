"""Whose the artefacts beside a ledger are: of several ledgers in one folder, one.

All would write and delete the same trials' files in the one `artifacts`. The first to train leaves its file's
name there; by name alone, so that a folder can be moved or copied as a whole.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from lai_net.errors import InputError
from tune.artefacts.port import CLAIM, is_one_name
from tune.artefacts.storage import reason, storage_of


def claim_artefacts(ledger: Path) -> None:
    """Note that the artefacts beside a ledger are its own.

    A claim of a ledger that is gone, or that a kill left half written, gives way.

    Args:
        ledger: its file, which is there.

    Raises:
        InputError: they are another's, or nothing can be noted there.
    """
    real = ledger.resolve()
    storage = storage_of(real.parent)
    try:
        with _alone(real.parent):
            held = ""
            with contextlib.suppress(FileNotFoundError):
                held = storage.read(CLAIM).strip()
            if held == real.name:
                return
            if is_one_name(held) and (real.parent / held).exists():
                raise InputError(
                    f"{ledger}: the artefacts beside it are of the ledger {held}, and two would delete each "
                    "other's models; name a ledger in another folder"
                )
            storage.write(CLAIM, f"{real.name}\n")
    except OSError as error:
        raise InputError(
            f"{storage.place(CLAIM)}: cannot be read or written ({reason(error)}); see to it and call again"
        ) from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let no other run look at the claim meanwhile, where a folder can be locked (on NFS it cannot)."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)

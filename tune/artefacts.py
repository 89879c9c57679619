"""Where a ledger's artefacts lie: in `artifacts` beside it, which may be a link into a shared folder."""

import socket
from pathlib import Path, PurePosixPath

from lai_net.errors import InputError

FOLDER = "artifacts"
FEATURES = "features"
"""Below it: states of frozen encoders, which trials share (`lai_net.training.features`)."""
_OWNER = "ledger.txt"


def is_inside(name: str) -> bool:
    """Whether a relative path, joined to a folder, stays in it by its words: one of a file is not trusted."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def is_one_name(name: str) -> bool:
    """Whether a name may be that of a folder: a single part, none that leads elsewhere."""
    return is_inside(name) and PurePosixPath(name).name == name


def check_link(ledger_folder: Path) -> None:
    """Refuse a link to a folder that is not there, before anything is trained.

    Raises:
        InputError: it leads nowhere.
    """
    link = ledger_folder / FOLDER
    if link.is_symlink() and not link.exists():
        raise InputError(f"{link}: links to {link.readlink()}, which is not there; mount it, or remove it")


def store_in(storage: Path, ledger_folder: Path) -> None:
    """Make `artifacts` in the ledger's folder a link into `storage`, once and for all.

    Args:
        storage: a folder that every node sees under the same path. Each ledger needs its own.
        ledger_folder: rows of the ledger name artefacts relative to it.

    Raises:
        InputError: it cannot be written, is another ledger's, or there are artefacts elsewhere already.
    """
    link, target = ledger_folder / FOLDER, storage.resolve() / FOLDER
    if link.resolve() == target and link.is_dir():
        return
    if link.exists() or link.is_symlink():
        raise InputError(
            f"--storage {storage}: the artefacts lie in {link.resolve()} already; leave --storage out, "
            f"or move them to {target} and make {link} a link to it"
        )
    owner = f"{socket.gethostname()}:{ledger_folder.resolve()}\n"
    try:
        target.mkdir(parents=True, exist_ok=True)
        note = storage / _OWNER
        if note.exists() and note.read_text(encoding="utf-8") != owner:
            raise InputError(f"--storage {storage}: is another ledger's, as {note} says; name another folder")
        note.write_text(owner, encoding="utf-8")
        ledger_folder.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target, target_is_directory=True)
    except OSError as error:
        raise InputError(
            f"--storage {storage}: cannot be used ({error.strerror}); name another folder"
        ) from error

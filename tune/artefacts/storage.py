"""Where a ledger's artefacts lie: `artifacts` beside it is a folder, a link to one, or names a store.

A folder is shared by all who train or read, and is written to directly. An object store has neither renames
nor locks (`tune.artefacts.object_store`); its URI is then the content of a file `artifacts`.
"""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lai_net.errors import InputError, first_line
from lai_net.files import size_gib
from tune.artefacts.port import CLAIM, FEATURES, FOLDER, Attempt, Storage, attempt_name, is_one_name

_OWNER = "ledger.txt"


@dataclass(frozen=True)
class _Owner:
    """Whose a storage is: the folder of a ledger, by host, path and number in its file system.

    Two of the three tell it again: a folder may be moved, mounted by another host, or restored from a copy.
    A copy beside the original has only one of them.
    """

    host: str
    path: str
    number: str

    @classmethod
    def of(cls, ledger_folder: Path) -> "_Owner":
        real = ledger_folder.resolve()
        return cls(socket.gethostname(), str(real), str(real.stat().st_ino))

    @classmethod
    def parse(cls, text: str) -> "_Owner":
        where, _, number = text.strip().partition("\n")
        host, _, path = where.partition(":")
        return cls(host, path, number)

    @property
    def where(self) -> str:
        return f"{self.host}:{self.path}"

    def __str__(self) -> str:
        return f"{self.where}\n{self.number}\n"

    def is_same(self, other: "_Owner") -> bool:
        return (self.host == other.host) + (self.path == other.path) + (self.number == other.number) >= 2


@dataclass(frozen=True)
class SharedFolder:
    """A folder that all who train or read see under the same path: a `Storage`."""

    root: Path

    @property
    def features(self) -> Path:
        """See `Storage`."""
        return self.root / FEATURES

    def place(self, name: str = "") -> str:
        """See `Storage`."""
        return str(self.root / name)

    @contextlib.contextmanager
    def attempt(self, trial_id: str, number: int) -> Iterator[Attempt]:
        """See `Storage`."""
        folder, *earlier = (self.root / attempt_name(trial_id, n) for n in (number, *range(1, number)))
        shutil.rmtree(folder, ignore_errors=True)  # left by a ledger that is gone: this number is ours
        folder.mkdir(parents=True)
        yield Attempt(folder, [path for path in earlier if path.exists()])

    def delete(self, names: Iterable[str]) -> None:
        """See `Storage`."""
        for name in names:
            shutil.rmtree(self.root / name, ignore_errors=True)

    def size_gib(self) -> float:
        """See `Storage`."""
        return size_gib(self.root)

    def read(self, name: str) -> str:
        """See `Storage`."""
        return (self.root / name).read_text(encoding="utf-8")

    def write(self, name: str, text: str) -> None:
        """See `Storage`."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text, encoding="utf-8")

    def remove(self, name: str) -> None:
        """See `Storage`."""
        (self.root / name).unlink(missing_ok=True)


def storage_at(place: str) -> Storage:
    """The storage at a path or a URI.

    Raises:
        InputError: a URI that nothing here can open.
    """
    if "://" not in place:
        return SharedFolder(Path(place).resolve())
    from tune.artefacts.object_store import ObjectStore

    return ObjectStore(place)


def model_folder(place: str) -> Path:
    """A trained model's folder on this machine, to read; fetched where it lies in an object store.

    Args:
        place: ends in the names of a trial, an attempt and a folder below it.

    Raises:
        InputError: it is not in the store, or damaged.
        OSError: the store cannot be reached.
    """
    if "://" not in place:
        return Path(place)
    from tune.artefacts.object_store import fetch_model

    return fetch_model(place)


def storage_of(ledger_folder: Path) -> Storage:
    """Where the artefacts of a ledger lie.

    Raises:
        InputError: the file that names a store names none.
    """
    named = ledger_folder / FOLDER
    if not named.is_file():
        return storage_at(str(named))
    place = named.read_text(encoding="utf-8", errors="replace").strip()
    if "://" not in place:  # a kill while it was written leaves it empty
        raise InputError(f"{named}: names no store; write its URI there, or remove it and give --storage")
    return storage_at(place)


def check_storage(ledger_folder: Path) -> None:
    """Refuse a storage that is not there or is another ledger's, before anything is trained.

    Raises:
        InputError: a link leads nowhere, or a store does not answer; or the artefacts are another ledger's.
    """
    named = ledger_folder / FOLDER
    if named.is_symlink() and not named.exists():
        raise InputError(f"{named}: links to {named.readlink()}, which is not there; mount it, or remove it")
    try:
        if named.is_file():
            _check_owner(storage_of(ledger_folder), ledger_folder)
        elif named.is_symlink():
            _check_link(named, ledger_folder)
        elif named.is_dir():
            with contextlib.suppress(FileNotFoundError):  # nobody else was given this folder as a storage
                _check_owner(SharedFolder(ledger_folder), ledger_folder)
    except FileNotFoundError as error:
        raise InputError(
            f"{named}: names {storage_of(ledger_folder).place('')}, which holds no {_OWNER}: the artefacts "
            f"were not put there, or are gone; bring them back, or remove {named} and give --storage"
        ) from error
    except OSError as error:
        raise InputError(
            f"{named}: names a store that does not answer ({reason(error)}); see to it and call again"
        ) from error


def _check_link(named: Path, ledger_folder: Path) -> None:
    """Refuse a link to another ledger's artefacts; one made by hand to nobody's makes them this ledger's."""
    target = named.resolve()
    storage = SharedFolder(target.parent if target.name == FOLDER else target)
    try:
        _check_owner(storage, ledger_folder)
    except FileNotFoundError as error:
        if (beside := _ledger_beside(target)) is not None:
            raise InputError(
                f"{named}: links to the artefacts of the ledger {beside}, and two would delete each other's "
                "models; remove the link, or make it lead elsewhere"
            ) from error
        with contextlib.suppress(OSError):  # who may not write there cannot take it, either
            storage.write(_OWNER, str(_Owner.of(ledger_folder)))


def _ledger_beside(artefacts: Path) -> Path | None:
    """The ledger that has claimed the artefacts beside it (`tune.artefacts.claim`), where it is there."""
    with contextlib.suppress(FileNotFoundError):
        name = SharedFolder(artefacts).read(CLAIM).strip()
        if is_one_name(name) and (beside := artefacts.parent / name).exists():
            return beside
    return None


def _check_owner(storage: Storage, ledger_folder: Path) -> None:
    """Refuse a storage that is another ledger's; what has changed of this one's place is noted there.

    Raises:
        FileNotFoundError: it is nobody's.
    """
    held, own = storage.read(_OWNER), _Owner.of(ledger_folder)
    if not own.is_same(_Owner.parse(held)):
        named, place = ledger_folder / FOLDER, storage.place("")
        is_own_folder = storage == SharedFolder(ledger_folder)
        copied = "name a ledger in another folder" if is_own_folder else f"remove {named} and give --storage"
        raise InputError(
            f"{named}: leads to {place}, which is another ledger's ({_Owner.parse(held).where}); two would "
            f"delete each other's attempts. If this is a copy, {copied}; if the ledger was moved here, "
            f"write {own.where} into {_OWNER} there"
        )
    if held != str(own):
        storage.write(_OWNER, str(own))


def store_in(place: str, ledger_folder: Path) -> None:
    """Make `artifacts` in the ledger's folder lead to a storage, once and for all.

    Args:
        place: a folder that every node sees under the same path, or the URI of an object store. Each ledger
            needs its own.
        ledger_folder: rows of the ledger name artefacts relative to it.

    Raises:
        InputError: it cannot be written, is another ledger's, or there are artefacts elsewhere already.
    """
    named = ledger_folder / FOLDER
    storage, held = storage_at(place), storage_of(ledger_folder)
    target = SharedFolder(storage.root / FOLDER) if isinstance(storage, SharedFolder) else storage
    is_plain = not (named.is_symlink() or named.is_file())
    is_own_folder = storage == SharedFolder(ledger_folder.resolve()) and is_plain
    if is_own_folder or (held == target and named.exists()):
        return
    if named.exists() or named.is_symlink():
        is_folder = isinstance(target, SharedFolder)
        move = f"move them to {target.place('')} and make {named} a link to it"
        raise InputError(
            f"--storage {place}: the artefacts lie in {held.place('')} already; leave --storage out, or "
            f"{move if is_folder else 'name a ledger in another folder'}"
        )
    try:
        ledger_folder.mkdir(parents=True, exist_ok=True)
        _claim(storage, place, _Owner.of(ledger_folder))
        if isinstance(target, SharedFolder):
            target.root.mkdir(exist_ok=True)
            named.symlink_to(target.root, target_is_directory=True)
        else:
            named.write_text(f"{target.place('')}\n", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"--storage {place}: cannot be used ({reason(error)}); name another place"
        ) from error


def _claim(storage: Storage, place: str, owner: _Owner) -> None:
    """Leave the ledger's name in a storage: two ledgers would delete each other's attempts."""
    try:
        held = storage.read(_OWNER)
    except FileNotFoundError as error:
        if isinstance(storage, SharedFolder) and _is_in_use(storage.root / FOLDER):
            raise InputError(
                f"--storage {place}: there are artefacts that may be another ledger's, as no {_OWNER} says "
                f"whose they are; name another place, or, if they are this one's, write {owner.where} into "
                f"{_OWNER} there"
            ) from error
    else:
        if not owner.is_same(_Owner.parse(held)):
            raise InputError(
                f"--storage {place}: is another ledger's, as {_OWNER} there says; name another place"
            )
    storage.write(_OWNER, str(owner))


def _is_in_use(artefacts: Path) -> bool:
    """Whether a folder is there and not empty, or what a ledger beside it has made of that name."""
    if artefacts.is_dir() and not artefacts.is_symlink():
        return any(artefacts.iterdir())
    return os.path.lexists(artefacts)


def reason(error: OSError) -> str:
    """What the system, or a store's client at more length, says in one line."""
    return error.strerror or first_line(error)

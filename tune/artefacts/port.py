"""Artefacts: what the ledger calls them, which names may be trusted, and the port to what keeps them."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

FOLDER = "artifacts"
"""Beside the ledger, whose rows name what lies below it."""
CLAIM = "claim.txt"
"""Below it: which of the ledgers beside it has it (`tune.artefacts.claim`)."""
FEATURES = "features"
"""Below it: states of frozen encoders, which trials share (`lai_net.training.features`)."""


def attempt_name(trial_id: str, attempt: int) -> str:
    """The folder of one try below `FOLDER`."""
    return f"{trial_id}/attempt-{attempt}"


def is_inside(name: str) -> bool:
    """Whether a relative path, joined to a folder, stays in it by its words: one of a file is not trusted."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def is_one_name(name: str) -> bool:
    """Whether a name may be that of a folder: a single part, none that leads elsewhere."""
    return is_inside(name) and PurePosixPath(name).name == name


@dataclass(frozen=True)
class Attempt:
    """The files of one try while it runs.

    Attributes:
        folder: the only one that the try writes to.
        earlier: folders of earlier tries, to go on from.
        publish: lets others read the folder as it is now.

    Raises:
        OSError: `publish`, where the store cannot be written.
    """

    folder: Path
    earlier: list[Path] = field(default_factory=list)
    publish: Callable[[], None] = lambda: None


class Storage(Protocol):
    """The artefacts of a ledger; names are relative to it, with slashes.

    What it reads and writes raises OSError where the storage cannot be reached.
    """

    @property
    def features(self) -> Path:
        """The folder for states of frozen encoders."""

    def place(self, name: str) -> str:
        """What another process opens with `tune.artefacts.storage.storage_at` or `model_folder`."""

    def attempt(self, trial_id: str, number: int) -> contextlib.AbstractContextManager[Attempt]:
        """Room for a try, empty."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete folders, as far as they are there and that is possible now."""

    def size_gib(self) -> float:
        """What all files take; 0 where there are none."""

    def read(self, name: str) -> str:
        """The text of a small file."""

    def write(self, name: str, text: str) -> None:
        """Write a small file."""

    def remove(self, name: str) -> None:
        """Remove a small file, where it is there."""

"""Artefacts in an object store: S3, or another that `pyarrow.fs` opens by a URI.

A try writes in a folder of its machine and publishes that whole: new files first, then a list of all files
with their SHA-256; what the list no longer names is deleted last. So a half upload is never taken for a
checkpoint, and what arrives otherwise than it was sent is noticed. Only the environment has credentials.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem

from lai_net.errors import InputError, first_line
from lai_net.files import json_digest
from tune.artefacts.port import FEATURES, Attempt, attempt_name, is_inside
from tune.fault_points import reach

_LIST = "published.json"
_CHUNK = 2**23
_KEPT_S = 2 * 86400  # longer than any epoch; whatever is in use is touched with each
_FEW = 8  # deletions, up to which a listing of all is not worth it
_BUCKETS = ("s3", "gs", "gcs", "abfs", "abfss")
_TREES = ("hdfs", "viewfs")
"""Schemes of what all nodes see; pyarrow also opens some that each process has for itself (`mock`)."""
_SECRET = re.compile("secret|password|token|credential|key|sas|sig", re.IGNORECASE)


@dataclass(frozen=True)
class ObjectStore:
    """A folder of an object store: a `tune.artefacts.port.Storage`.

    Attributes:
        uri: such as `s3://bucket/study?region=eu-central-1`; the words of the query are pyarrow's.

    Raises:
        InputError: it holds a secret, or names no store; of the methods, where pyarrow cannot open it.
    """

    uri: str

    def __post_init__(self) -> None:
        _check(self.uri)

    @property
    def features(self) -> Path:
        """Of this machine alone: gigabytes that can be computed again."""
        return _own_folder(FEATURES)

    def place(self, name: str = "") -> str:
        """See `Storage`."""
        parts = urlsplit(self.uri)
        return parts._replace(path=f"{parts.path.rstrip('/')}/{name}".rstrip("/")).geturl()

    @contextlib.contextmanager
    def attempt(self, trial_id: str, number: int) -> Iterator[Attempt]:
        """See `Storage`; the folders are temporary ones of this machine."""
        with _temporary_folder(_own_folder("attempts")) as scratch:
            earlier = []
            for name in (attempt_name(trial_id, before) for before in range(1, number)):
                with contextlib.suppress(FileNotFoundError, InputError):  # unpublished, or damaged
                    earlier.append(self._download(name, self._published(name), scratch / name))
            own = attempt_name(trial_id, number)
            self.delete([own])  # left by a ledger that is gone: this number is ours
            (scratch / own).mkdir(parents=True)
            yield Attempt(scratch / own, earlier, _Upload(self, own, scratch / own).publish)

    def delete(self, names: Iterable[str]) -> None:
        """See `Storage`; one listing tells which of many are there."""
        wanted = set(names)
        with contextlib.suppress(OSError):
            if len(wanted) > _FEW:
                wanted &= {"/".join(name.split("/")[:depth]) for name in self.sizes() for depth in (1, 2)}
            for name in wanted:
                with contextlib.suppress(FileNotFoundError):
                    self._files.delete_dir(self._path(name))

    def size_gib(self) -> float:
        """See `Storage`."""
        return sum(self.sizes().values()) / 2**30

    def read(self, name: str) -> str:
        """See `Storage`."""
        with self._files.open_input_stream(self._path(name)) as stream:
            return bytes(stream.read()).decode()

    def write(self, name: str, text: str) -> None:
        """See `Storage`."""
        with self._files.open_output_stream(self._path(name)) as stream:
            stream.write(text.encode())

    def remove(self, name: str) -> None:
        """See `Storage`."""
        with contextlib.suppress(FileNotFoundError):
            self._files.delete_file(self._path(name))

    def upload(self, source: Path, name: str) -> str:
        """Send a file; returns its SHA-256."""
        with source.open("rb") as file, self._files.open_output_stream(self._path(name)) as stream:
            return _copy(file, stream)

    def fetch(self, name: str) -> Path:
        """A folder of a published attempt on this machine, to read; kept for a while, by its content.

        Raises:
            InputError: it is not there, or damaged.
        """
        attempt, _, below = name.rpartition("/")
        try:
            published = self._published(attempt)
        except FileNotFoundError as error:
            raise InputError(f"{self.place(name)}: is no longer there; restore it") from error
        files = {file: digest for file, digest in published.items() if file.startswith(f"{below}/")}
        kept = _own_folder("models") / json_digest(files)[:32]
        if not kept.is_dir():
            with _temporary_folder(kept.parent) as temporary:
                self._download(attempt, files, temporary)
                with contextlib.suppress(OSError):  # another process was faster
                    temporary.rename(kept)
        os.utime(kept)
        return kept / below

    def _published(self, attempt: str) -> dict[str, str]:
        """The SHA-256 of an attempt's files, by their names below it."""
        text = self.read(f"{attempt}/{_LIST}")
        with contextlib.suppress(ValueError, AttributeError, TypeError):
            files = {name: str(digest) for name, digest in json.loads(text).items()}
            if all(map(is_inside, files)):
                return files
        raise InputError(f"{self.place(attempt)}/{_LIST}: is damaged; delete that folder")

    def _download(self, attempt: str, files: Mapping[str, str], folder: Path) -> Path:
        for name, digest in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with (
                self._files.open_input_stream(self._path(f"{attempt}/{name}")) as stream,
                target.open("wb") as file,
            ):
                if _copy(stream, file) != digest:
                    raise InputError(f"{self.place(attempt)}/{name}: is damaged; train again")
        return folder

    def sizes(self) -> dict[str, int]:
        """Bytes by name of all that is there."""
        root = self._path("")
        found = self._files.get_file_info(FileSelector(root, allow_not_found=True, recursive=True))
        return {info.path.removeprefix(root).lstrip("/"): info.size or 0 for info in found}

    @property
    def _files(self) -> FileSystem:
        return _connect(self.uri)[0]

    def _path(self, name: str) -> str:
        return f"{_connect(self.uri)[1].rstrip('/')}/{name}".rstrip("/")


@dataclass
class _Upload:
    """A folder of this machine and what of it is published: digests, by stamps that tell of changes."""

    store: ObjectStore
    name: str
    folder: Path
    digests: dict[str, str] = field(default_factory=dict)
    stamps: dict[str, tuple[int, int]] = field(default_factory=dict)

    def publish(self) -> None:
        """Make the folder's image in the store what it is now."""
        self.folder.parents[1].touch()
        stamps = {
            path.relative_to(self.folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }
        if stamps == self.stamps:
            return
        changed = [name for name, stamp in stamps.items() if self.stamps.get(name) != stamp]
        gone = self.stamps.keys() - stamps.keys()
        sent = {name: self.store.upload(self.folder / name, f"{self.name}/{name}") for name in changed}
        self.digests = {name: digest for name, digest in (self.digests | sent).items() if name in stamps}
        reach("files.publish")
        self.store.write(f"{self.name}/{_LIST}", json.dumps(self.digests, indent=1))
        self.stamps = stamps
        with contextlib.suppress(OSError):  # takes room, harms nobody
            for name in gone:
                self.store.remove(f"{self.name}/{name}")


def fetch_model(place: str) -> Path:
    """What `ObjectStore.place` says of a folder of an attempt, fetched: see `ObjectStore.fetch`."""
    parts = urlsplit(place)
    root, *names = parts.path.rsplit("/", 3)
    return ObjectStore(parts._replace(path=root).geturl()).fetch("/".join(names))


def _check(uri: str) -> None:
    """Refuse what would bring a secret into the ledger's folder, and what is no store."""
    parts = urlsplit(uri)
    named = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if parts.password is not None or any(map(_SECRET.search, named)):
        raise InputError(
            f"storage {parts.scheme}://…: holds a secret; leave it out, the store's client finds it in its "
            "environment (S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
        )
    if parts.scheme == "file":
        raise InputError(f"storage {uri}: is a folder; name it as {parts.path}")
    if parts.scheme not in (*_BUCKETS, *_TREES):
        known = ", ".join(f"{scheme}://" for scheme in (*_BUCKETS, *_TREES))
        raise InputError(f"storage {uri}: is no store of {known}; name one of those, or a folder")
    if parts.scheme in _BUCKETS and not parts.netloc:
        raise InputError(f"storage {uri}: names no bucket; write it as {parts.scheme}://BUCKET/STUDY")


@functools.lru_cache(maxsize=16)
def _connect(uri: str) -> tuple[FileSystem, str]:
    """The file system of a URI, and the path in it."""
    try:
        files, path = FileSystem.from_uri(uri)
    except (ArrowException, ImportError) as error:  # the latter of a pyarrow that was built without it
        raise InputError(
            f"storage {uri}: cannot be opened ({first_line(error)}); name a folder, or a store such as "
            "s3://BUCKET/STUDY"
        ) from error
    return files, path


def _copy(source: Any, target: Any) -> str:
    """Copy a stream; returns the SHA-256 of what passed."""
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _own_folder(name: str) -> Path:
    """A folder of this user on this machine, for copies; what nobody has touched for long goes."""
    root = Path(tempfile.gettempdir(), f"lai-tune-{os.getuid()}")
    root.mkdir(mode=0o700, exist_ok=True)
    if root.is_symlink() or root.stat().st_uid != os.getuid():
        raise InputError(f"{root}: is another user's; set TMPDIR to a folder of yours")
    folder = root / name
    folder.mkdir(exist_ok=True)
    if name != FEATURES:
        _remove_old(folder)
    return folder


def _remove_old(folder: Path) -> None:
    """Remove what killed processes left, and models that nobody has asked for of late."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process was faster
            if time.time() - path.stat().st_mtime > _KEPT_S:
                # Under its own name it is whole or gone, also after a kill.
                with _temporary_folder(folder) as going:
                    path.rename(going / path.name)


@contextlib.contextmanager
def _temporary_folder(parent: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)

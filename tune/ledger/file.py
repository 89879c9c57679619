"""The ledger's file: its schema, its lock, and how it is opened."""

import errno
import fcntl
import os
import re
import shutil
import sqlite3
import time
from pathlib import Path
from typing import IO

from lai_net.errors import InputError
from lai_net.files import is_disk_full
from tune.fault_points import reach

SCHEMA_VERSION = 6
APPLICATION_ID = 0x4C41494E  # "LAIN", in the header of every ledger file

_SEARCH_EVENT = """
CREATE TABLE search_event (
  search_id TEXT NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, given TEXT NOT NULL,
  decided TEXT NOT NULL, PRIMARY KEY (search_id, number)
) STRICT, WITHOUT ROWID;
"""

_EVALUATION_DOCUMENTS = """
CREATE TABLE evaluation_documents (
  evaluation_id TEXT PRIMARY KEY REFERENCES evaluation, documents TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""

_PROBE = """
CREATE TABLE probe (
  shape_id TEXT NOT NULL, device_type TEXT NOT NULL, meter TEXT NOT NULL, peak_bytes INTEGER NOT NULL,
  context_bytes INTEGER NOT NULL, capacity_bytes INTEGER NOT NULL, step_s REAL NOT NULL,
  largest_step_s REAL NOT NULL, steps_per_epoch INTEGER NOT NULL, PRIMARY KEY (shape_id, device_type)
) STRICT, WITHOUT ROWID;
"""

_IMPORTED_EPOCH = """
CREATE TABLE imported_epoch (
  trial_id TEXT NOT NULL, epoch INTEGER NOT NULL, report TEXT NOT NULL, PRIMARY KEY (trial_id, epoch)
) STRICT, WITHOUT ROWID;
"""

_FAILURE = "failure TEXT CHECK (failure IN ('config', 'machine', 'memory', 'stall'))"

MIGRATIONS = {
    1: f"{_SEARCH_EVENT} ALTER TABLE evaluation ADD COLUMN error TEXT;",
    2: _EVALUATION_DOCUMENTS,
    3: _PROBE,
    4: f"ALTER TABLE attempt ADD COLUMN {_FAILURE}; ALTER TABLE evaluation ADD COLUMN {_FAILURE};",
    5: _IMPORTED_EPOCH,
}
"""What turns a ledger of a version into one of the next."""

SCHEMA = f"""
CREATE TABLE trial (
  trial_id TEXT PRIMARY KEY, config_id TEXT NOT NULL, spec_id TEXT NOT NULL, dataset TEXT NOT NULL,
  phase TEXT NOT NULL CHECK (phase IN ('NER', 'RE')), fold INTEGER, seed INTEGER NOT NULL,
  config TEXT NOT NULL, corpus_id TEXT NOT NULL, encoder_id TEXT NOT NULL
) STRICT;
CREATE TABLE attempt (
  trial_id TEXT NOT NULL REFERENCES trial, attempt INTEGER NOT NULL CHECK (attempt >= 1),
  provenance TEXT NOT NULL, status TEXT CHECK (status IN ('completed', 'failed', 'pruned')),
  error TEXT, cpu_s REAL, wall_s REAL, artefacts TEXT, finished TEXT, {_FAILURE},
  PRIMARY KEY (trial_id, attempt)
) STRICT, WITHOUT ROWID;
CREATE TABLE epoch (
  trial_id TEXT NOT NULL, epoch INTEGER NOT NULL, attempt INTEGER NOT NULL, report TEXT NOT NULL,
  PRIMARY KEY (trial_id, epoch), FOREIGN KEY (trial_id, attempt) REFERENCES attempt
) STRICT, WITHOUT ROWID;
CREATE TABLE evaluation (
  evaluation_id TEXT PRIMARY KEY, trial_id TEXT NOT NULL REFERENCES trial,
  upstream_trial_id TEXT REFERENCES trial, split TEXT NOT NULL, entities TEXT NOT NULL,
  scores TEXT NOT NULL, coverage TEXT NOT NULL, error TEXT, {_FAILURE}
) STRICT, WITHOUT ROWID;
CREATE TABLE imported (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
{_SEARCH_EVENT}{_EVALUATION_DOCUMENTS}{_PROBE}{_IMPORTED_EPOCH}PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""

EVERY_EPOCH = """
WITH further AS (
  SELECT trial_id FROM imported_epoch AS other GROUP BY trial_id HAVING max(epoch) >
    (SELECT coalesce(max(epoch), 0) FROM epoch WHERE epoch.trial_id = other.trial_id)
)
SELECT trial_id, epoch, report FROM epoch WHERE trial_id NOT IN further UNION ALL
SELECT trial_id, epoch, report FROM imported_epoch WHERE trial_id IN further
"""
"""Of each trial its run's epochs or the imported ones, whichever reach further; never a mixture."""

MOUNTS = Path("/proc/mounts")
_NETWORK_FILE_SYSTEMS = {
    "9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs",
    "virtiofs",
}  # fmt: skip

BESIDE = ("-wal", "-shm", "-journal", ".lock")
"""How files end that SQLite, and the writer's lock, have beside a ledger."""

_LEAST_ROOM = 2**16
"""Bytes; SQLite's index of a WAL file takes half of them."""

_REFUSED = {
    sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}  # fmt: skip
"""What SQLite makes of a quota and of a limit to a file's size; of a disk that fails, too."""
_LIMITS = {errno.EDQUOT, errno.EFBIG}
"""The system's own words for them."""

_PATIENCE_S, _PAUSE_S = 1.0, 0.02
"""For how long a writer tries to get its lock, and how often."""


class MissingLedgerError(InputError):
    """There is no file of that name."""


def lock_beside(path: Path) -> IO[str]:
    """Take the writer's lock, `<ledger>.lock`; closing the file gives it back.

    Raises:
        InputError: the folder cannot be written, or another process holds the lock.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock_file(path).open("a+", encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        _lock_soon(lock)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise InputError(
            f"{path}: another process is writing (pid {holder}); wait for it to end, or name a ledger in "
            "another folder"
        ) from error
    except OSError as error:
        lock.close()
        raise InputError(
            f"{path}: its file system has no locks ({error.strerror}), so two runs could write at once; "
            "name a ledger on a local disk, or mount it with locks"
        ) from error
    try:
        os.ftruncate(lock.fileno(), 0)
        os.write(lock.fileno(), f"{os.getpid()}\n".encode())
    except OSError as error:
        lock.close()
        raise _unwritable(path, error) from error
    return lock


def _unwritable(path: Path, error: OSError) -> InputError:
    if is_out_of_room(error):
        return out_of_room(path, error)
    return InputError(f"{path}: cannot be written ({error.strerror}); name a ledger in another folder")


def _lock_soon(lock: IO[str]) -> None:
    """Lock against all others, with some patience: `is_being_written` holds the lock for an instant, too."""
    latest_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > latest_s:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def is_being_written(path: Path) -> bool:
    """Whether a process holds the writer's lock."""
    try:
        lock = _lock_file(path).open(encoding="utf-8")
    except FileNotFoundError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:  # on a file system without locks there is no writer; see `lock_beside`
            return isinstance(error, BlockingIOError)
    return False


def _lock_file(path: Path) -> Path:
    """Beside the file itself, by whatever links it was named."""
    real = path.resolve()
    return real.with_name(real.name + ".lock")


def connect_to_write(path: Path) -> sqlite3.Connection:
    """Open to write."""
    return sqlite3.connect(path, isolation_level=None, timeout=60)


def prepare_to_write(connection: sqlite3.Connection, path: Path) -> None:
    """Choose how it is journalled, and lay out a file that is new."""
    connection.execute("PRAGMA foreign_keys = ON")
    is_new = _is_blank(connection)
    if is_new or _application_of(connection) == APPLICATION_ID:
        connection.execute(f"PRAGMA journal_mode = {'DELETE' if is_on_network(path) else 'WAL'}")
    if is_new:
        _lay_out(connection, SCHEMA, "ledger.create")


def _is_blank(connection: sqlite3.Connection) -> bool:
    """Whether the file has no tables yet, and is not another program's."""
    (num_tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return num_tables == 0 and _application_of(connection) in (0, APPLICATION_ID)


def _application_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA application_id").fetchone()[0])


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open so that nothing is written, nor any file made beside it; for a short read, then to be closed.

    All that is read is of one moment; but for a ledger on a network, where that would hold up the writer.
    Where nobody writes at the start, a writer that comes later is not noticed: old rows stay, or the file
    seems damaged. So whoever computes for long reads all of it first and closes.
    """
    path = path.resolve()
    if not path.exists():
        raise MissingLedgerError(
            f"{path}: there is no such ledger; name one with --ledger, or start with `lai run`"
        )
    # In WAL mode (2 in byte 18 of the header) and without a -wal file nobody writes; `immutable` then keeps
    # SQLite from making -wal and -shm files itself.
    with path.open("rb") as file:
        is_wal = file.read(19)[18:] == b"\2"
    still = is_wal and not path.with_name(path.name + "-wal").exists()
    uri = f"{path.as_uri()}?mode=ro{'&immutable=1' if still else ''}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=60)
    if is_wal:
        connection.execute("BEGIN")
    return connection


def is_on_network(path: Path) -> bool:
    """Whether the file lies on a network file system, where several hosts share no memory for a WAL index."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux
        return False
    real, mounts = path.resolve(), [line.split()[1:3] for line in lines]
    holding = [(len(place), kind) for place, kind in mounts if real.is_relative_to(_unescaped(place))]
    holding.reverse()  # of several mounts at one place the last one shows
    kind = max(holding, key=lambda item: item[0], default=(0, ""))[1]
    return kind in _NETWORK_FILE_SYSTEMS or kind.startswith("fuse.")


def _unescaped(place: str) -> str:
    """A path of the mount table, which writes blanks as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), place)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a ledger that is open for writing, of a known version, to this one; all steps or none."""
    version = version_of(connection)
    if version < SCHEMA_VERSION:
        steps = "".join(MIGRATIONS[old] for old in range(version, SCHEMA_VERSION))
        _lay_out(connection, f"{steps} PRAGMA user_version = {SCHEMA_VERSION};", "ledger.migrate")


def _lay_out(connection: sqlite3.Connection, script: str, transition: str) -> None:
    """Run what changes the schema, all of it or nothing."""
    connection.executescript(f"BEGIN IMMEDIATE; {script}")
    reach(f"{transition}.before_commit")
    connection.execute("COMMIT")
    reach(f"{transition}.after_commit")


def version_of(connection: sqlite3.Connection) -> int:
    """The schema version of an open ledger."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse another program's database, a ledger of a later version, and one that is not laid out yet."""
    if _is_blank(connection):
        raise MissingLedgerError(f"{path}: nothing was recorded in it yet; call `lai run`")
    if _application_of(connection) != APPLICATION_ID or version_of(connection) < min(MIGRATIONS):
        raise InputError(f"{path}: an SQLite file, but not a ledger; name another file")
    if version_of(connection) > SCHEMA_VERSION:
        raise InputError(
            f"{path}: written by a newer lai-tune (ledger version {version_of(connection)}, this one knows "
            f"{SCHEMA_VERSION}); upgrade lai-tune"
        )


def unreadable(path: Path, error: Exception) -> InputError:
    """What to say where opening a ledger ended in an error."""
    is_io = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR  # also of the -shm file
    if is_out_of_room(error) or (is_io and _has_no_space(path)):
        return out_of_room(path, error)
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_ROLLBACK:
        return InputError(
            f"{path}: its last writer was killed in the middle of a commit; all that was recorded before is "
            "safe: call `lai run` again, or `lai import`, which takes that commit back"
        )
    return InputError(f"{path}: not a readable ledger ({error}); name another file")


def out_of_room(path: str | Path, error: BaseException) -> InputError:
    """What to say where nothing more can be written."""
    safe = "all that was recorded before is safe"
    if isinstance(error, OSError):
        limit = error.strerror if error.errno in _LIMITS else None
    else:
        limit = str(error) if _is_refused(error) and not _has_no_space(Path(path)) else None
    if limit is None:
        return InputError(f"{path}: the disk is full; {safe}: free space, then the same call resumes")
    return InputError(
        f"{path}: no room for more by a quota or a limit to a file's size, unless the disk fails ({limit}); "
        f"{safe}: see df and quota, then the same call resumes"
    )


def is_out_of_room(error: BaseException) -> bool:
    """Whether SQLite or the system says that nothing more can be written."""
    if isinstance(error, sqlite3.Error):
        return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL or _is_refused(error)
    return isinstance(error, OSError) and is_disk_full(error)


def _is_refused(error: BaseException) -> bool:
    return getattr(error, "sqlite_errorcode", None) in _REFUSED


def _has_no_space(path: Path) -> bool:
    return shutil.disk_usage(path.parent).free < _LEAST_ROOM

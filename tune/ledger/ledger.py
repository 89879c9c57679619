"""The durable record of trials, attempts, epochs, evaluations and imported results: one SQLite file.

WAL mode, JSON in columns, one writer at a time: the driver holds an `flock` on a file beside the ledger,
which the kernel frees however the driver ends. Readers open the file read-only and change nothing.
"Started, no final record" means interrupted, never done. Attempts are fenced: what a stale attempt still
sends is refused. Times are provenance; nothing is decided by them.
"""

import contextlib
import dataclasses
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self

from lai_net.errors import InputError
from tune.engine import FailureKind
from tune.fault_points import reach
from tune.ledger.check import check_whole, first_damaged_row
from tune.ledger.file import (
    EVERY_EPOCH,
    SCHEMA,
    MissingLedgerError,
    check_version,
    connect_to_read,
    connect_to_write,
    is_disk_full,
    lock_beside,
    migrate,
    version_of,
)
from tune.ledger.rows import (
    AttemptRow,
    EpochReport,
    EvaluationRow,
    FinalStatus,
    ProbeRow,
    SearchEvent,
    Status,
    TrialKey,
    TrialRow,
    attempt_row,
    clash,
    evaluation_row,
    from_json,
    search_event,
    to_json,
    trial_row,
    trial_rows,
)

__all__ = ["AttemptRow", "EvaluationRow", "Ledger", "ProbeRow", "SearchEvent", "TrialKey", "TrialRow"]


class Ledger:
    """The ledger file, open. Make one with `Ledger.open`; close it, or use it in a `with` statement."""

    def __init__(self, connection: sqlite3.Connection, lock: IO[str] | None = None) -> None:
        self._connection = connection
        self._connection.row_factory = sqlite3.Row
        self._lock = lock
        self._file = str(connection.execute("PRAGMA database_list").fetchone()["file"])

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Self:
        """Open (to write: create where missing) the ledger at `path`.

        Raises:
            InputError: it is no ledger, of a newer version, held by another writer, or (to read) missing.
        """
        connect = connect_to_read if read_only else connect_to_write
        with contextlib.ExitStack() as opened:
            lock = None if read_only else opened.enter_context(lock_beside(path))
            try:
                connection = opened.enter_context(contextlib.closing(connect(path)))
                check_version(connection, path)
                if not read_only:
                    check_whole(connection, path)
                    migrate(connection)
            except (OSError, sqlite3.Error) as error:
                raise InputError(f"{path}: not a readable ledger ({error}); name another file") from error
            opened.pop_all()
            return cls(connection, lock)

    @classmethod
    def read_or_empty(cls, path: Path) -> Self:
        """Open `path` read-only, or an empty ledger in memory where there is no such file yet."""
        try:
            return cls.open(path, read_only=True)
        except MissingLedgerError:
            connection = sqlite3.connect(":memory:", isolation_level=None)
            connection.executescript(SCHEMA)
            return cls(connection)

    def close(self) -> None:
        """Close the file and let the next writer in."""
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def register_trials(self, rows: Iterable[TrialRow]) -> None:
        """Insert the trials that are not there yet, in one transaction.

        Results are joined to tables by (dataset, fold, spec_id); so in one ledger that key and config_id
        must name each other, and a dataset's name and fold one corpus.

        Raises:
            InputError: they do not.
        """
        with self._transaction("trials.register"):
            named = {}
            for row in rows:
                named[row.dataset, row.fold, row.spec_id, row.config_id, row.corpus_id] = row
                self._connection.execute(
                    "INSERT INTO trial VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
                    (row.trial_id, row.config_id, row.spec_id, row.dataset, row.phase, row.fold, row.seed,
                     to_json(row.config), row.corpus_id, row.encoder_id),
                )  # fmt: skip
            for key, row in named.items():
                found = self._one(
                    "SELECT * FROM trial"
                    " WHERE (dataset = ?1 AND fold IS ?2 AND corpus_id <> ?5)"
                    " OR (dataset = ?1 AND fold IS ?2 AND spec_id = ?3) <> (config_id = ?4) LIMIT 1",
                    *key,
                )  # fmt: skip
                if found is not None:
                    raise InputError(clash(trial_row(found, self._file), row))

    def start_attempt(self, trial_id: str, attempt: int, provenance: Mapping[str, Any]) -> None:
        """Open attempt number `attempt`, which fences off all earlier ones.

        Raises:
            ValueError: it is not the next attempt.
        """
        with self._transaction("attempt.start"):
            if attempt != self.next_attempt(trial_id):
                raise ValueError(f"trial {trial_id}: {attempt} is not the next attempt")
            self._connection.execute(
                "INSERT INTO attempt (trial_id, attempt, provenance) VALUES (?,?,?)",
                (trial_id, attempt, to_json(provenance)),
            )

    def record_epoch(self, trial_id: str, attempt: int, epoch: int, report: Mapping[str, Any]) -> bool:
        """Store an epoch's report unless there is one already.

        Returns:
            False, and nothing stored, where the attempt is stale or has its final record.

        Raises:
            ValueError: a number in the report is not finite.
        """
        text = to_json(report)
        with self._transaction("epoch.record"):
            if not self._is_open(trial_id, attempt):
                return False
            self._connection.execute(
                "INSERT INTO epoch VALUES (?,?,?,?) ON CONFLICT DO NOTHING", (trial_id, epoch, attempt, text)
            )
        return True

    def finish_attempt(  # noqa: PLR0913 - one for each column
        self,
        trial_id: str,
        attempt: int,
        status: FinalStatus,
        *,
        error: str | None = None,
        failure: FailureKind | None = None,
        cpu_s: float | None = None,
        wall_s: float | None = None,
        artefacts: Mapping[str, str] | None = None,
        evaluations: Sequence[EvaluationRow] = (),
    ) -> bool:
        """Store the final record and its evaluations in one transaction that survives a power cut.

        Returns:
            False, and nothing stored, where the attempt is stale or has its final record.
        """
        with self._transaction("attempt.finish", durable=True):
            if not self._is_open(trial_id, attempt):
                return False
            self._connection.execute(
                "UPDATE attempt SET status=?, error=?, failure=?, cpu_s=?, wall_s=?, artefacts=?, finished=?"
                " WHERE trial_id=? AND attempt=?",
                (status, error, failure, cpu_s, wall_s, to_json(artefacts or {}),
                 datetime.now(UTC).isoformat(), trial_id, attempt),
            )  # fmt: skip
            for row in evaluations:
                self._insert_evaluation(row)
        return True

    def forget_model(self, trial_id: str, attempt: int, why: str) -> None:
        """Note that a finished trial has no files any more, and why; before they are deleted."""
        change = "UPDATE attempt SET artefacts='{}', provenance=json_set(provenance, '$.not_kept', ?)"
        with self._transaction("model.forget", durable=True):
            self._connection.execute(f"{change} WHERE trial_id=? AND attempt=?", (why, trial_id, attempt))

    def record_evaluation(self, row: EvaluationRow) -> None:
        """Store an evaluation unless it is there; one that failed gives way."""
        with self._transaction("evaluation.record", durable=True):
            self._insert_evaluation(row)

    def record_imported(
        self,
        rows: Mapping[str, Mapping[str, Any]],
        outdated: Iterable[str] = (),
        epochs: Iterable[EpochReport] = (),
    ) -> int:
        """Store imported result rows by key, over what is there; returns how many were new or other."""
        with self._transaction("results.import", durable=True):
            self._connection.executemany(
                "INSERT INTO imported_epoch VALUES (?,?,?) ON CONFLICT DO NOTHING",
                [(name, epoch, to_json(report)) for name, epoch, report in epochs],
            )
            self._connection.executemany("DELETE FROM imported WHERE key = ?", [(key,) for key in outdated])
            before = self._connection.total_changes
            self._connection.executemany(
                "INSERT INTO imported VALUES (?,?)"
                " ON CONFLICT DO UPDATE SET row = excluded.row WHERE row <> excluded.row",
                [(key, to_json(row)) for key, row in rows.items()],
            )
            return self._connection.total_changes - before

    def record_search_event(self, event: SearchEvent) -> None:
        """Append a decision to a search's log."""
        with self._transaction("search.decide"):
            self._connection.execute(
                "INSERT INTO search_event VALUES (?,?,?,?,?)",
                (event.search_id, event.number, event.kind, to_json(event.given), to_json(event.decided)),
            )

    def search_events(self, search_id: str) -> list[SearchEvent]:
        """A search's decisions in the order in which they were made."""
        if version_of(self._connection) < 2:
            return []  # an old ledger, open to read
        rows = self._each("SELECT * FROM search_event WHERE search_id = ? ORDER BY number", search_id)
        return [search_event(row, self._file) for row in rows]

    def trial(self, trial_id: str) -> TrialRow | None:
        """The trial, or None."""
        row = self._one("SELECT * FROM trial WHERE trial_id = ?", trial_id)
        return None if row is None else trial_row(row, self._file)

    def trials(self) -> list[TrialRow]:
        """All trials in the order of their registration."""
        return trial_rows(self._each("SELECT * FROM trial ORDER BY rowid"), self._file)

    def next_attempt(self, trial_id: str) -> int:
        """The number of the attempt to come, from 1."""
        query = "SELECT coalesce(max(attempt), 0) + 1 AS n FROM attempt WHERE trial_id = ?"
        return int(self._one(query, trial_id)["n"])

    def attempts(self, trial_id: str) -> list[AttemptRow]:
        """A trial's attempts, oldest first."""
        query = "SELECT * FROM attempt WHERE trial_id = ? ORDER BY attempt"
        return [attempt_row(row, self._file) for row in self._each(query, trial_id)]

    def all_attempts(self) -> dict[str, list[AttemptRow]]:
        """The attempts, oldest first, of every trial that was ever started."""
        attempts: dict[str, list[AttemptRow]] = {}
        for row in self._each("SELECT * FROM attempt ORDER BY attempt"):
            attempts.setdefault(row["trial_id"], []).append(attempt_row(row, self._file))
        return attempts

    def newest_attempts(self) -> dict[str, AttemptRow]:
        """The newest attempt of every trial that was ever started."""
        return {trial_id: attempts[-1] for trial_id, attempts in self.all_attempts().items()}

    def status(self, trial_id: str) -> Status:
        """What the newest attempt says; `planned` where there is none."""
        attempts = self.attempts(trial_id)
        return attempts[-1].status if attempts else "planned"

    def epochs(self, trial_id: str) -> list[dict[str, Any]]:
        """A trial's epoch reports in order."""
        query = "SELECT * FROM epoch WHERE trial_id = ? ORDER BY epoch"
        return [from_json(row, "report", self._file) for row in self._each(query, trial_id)]

    def epoch_counts(self) -> dict[str, int]:
        """How many epochs each trial has reported; trials without any are left out."""
        rows = self._each("SELECT trial_id, count(*) AS n FROM epoch GROUP BY trial_id")
        return {row["trial_id"]: row["n"] for row in rows}

    def epoch_times(self) -> dict[str, float | None]:
        """The wall-clock seconds of each trial's epochs, whichever attempts made them; None is not said."""
        query = "SELECT trial_id, sum(json_extract(report, '$.wall_s')) AS s FROM epoch GROUP BY trial_id"
        return {row["trial_id"]: row["s"] for row in self._each(query)}

    def epoch_values(self, names: Sequence[str], *, imported: bool = False) -> Iterator[tuple[Any, ...]]:
        """By trial and epoch (trial_id, epoch, value …): numbers of reports, such as `dev.f1`, or None."""
        source = "imported_epoch" if imported else f"({EVERY_EPOCH})"
        source = "epoch" if version_of(self._connection) < 6 else source
        values = "".join(", json_extract(report, '$.' || ?)" for _ in names)
        query = f"SELECT trial_id, epoch{values} FROM {source} ORDER BY trial_id, epoch"
        return map(tuple, self._each(query, *names))

    def evaluations(self) -> list[EvaluationRow]:
        """All evaluations, ordered by id."""
        return list(self.each_evaluation())

    def each_evaluation(self, *, by_trial: bool = False) -> Iterator[EvaluationRow]:
        """All evaluations, ordered by (trial and) id, one at a time: parsed, they take much room."""
        order = "trial_id, evaluation_id" if by_trial else "evaluation_id"
        for row in self._connection.execute(f"SELECT * FROM evaluation ORDER BY {order}"):
            yield evaluation_row(row, self._file)

    def failed_evaluations(self) -> list[EvaluationRow]:
        """Those that have an error and no scores, ordered by id."""
        if version_of(self._connection) < 2:
            return []  # an old ledger, open to read
        rows = self._each("SELECT * FROM evaluation WHERE error <> '' ORDER BY evaluation_id")
        return [evaluation_row(row, self._file) for row in rows]

    def documents(self, evaluation_id: str) -> list[dict[str, Any]]:
        """Counts per document of an evaluation; empty where none were recorded."""
        if version_of(self._connection) < 3:
            return []  # an old ledger, open to read
        row = self._one("SELECT * FROM evaluation_documents WHERE evaluation_id = ?", evaluation_id)
        return [] if row is None else list(from_json(row, "documents", self._file))

    def record_probe(self, row: ProbeRow) -> None:
        """Store what was measured; what an earlier probe found gives way."""
        with self._transaction("probe.record"):
            values = dataclasses.astuple(row)
            marks = ",".join("?" * len(values))
            self._connection.execute(f"INSERT OR REPLACE INTO probe VALUES ({marks})", values)

    def probes(self) -> dict[tuple[str, str], ProbeRow]:
        """What was measured, by shape and device type."""
        if version_of(self._connection) < 4:
            return {}  # an old ledger, open to read
        rows = self._each("SELECT * FROM probe ORDER BY shape_id, device_type")
        return {(row["shape_id"], row["device_type"]): ProbeRow(**dict(row)) for row in rows}

    def imported(self) -> dict[str, dict[str, Any]]:
        """All imported result rows by key, ordered by key."""
        rows = self._each("SELECT * FROM imported ORDER BY key")
        return {row["key"]: from_json(row, "row", self._file) for row in rows}

    @contextlib.contextmanager
    def _transaction(self, name: str, *, durable: bool = False) -> Iterator[None]:
        """All of the body is stored, or nothing.

        Raises:
            InputError: the disk is full.
        """
        try:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            reach(f"{name}.before_commit")
            self._connection.execute("COMMIT")
            reach(f"{name}.after_commit")
        except BaseException as error:
            if self._connection.in_transaction:  # SQLite itself may have rolled back
                self._connection.execute("ROLLBACK")
            if is_disk_full(error):
                raise InputError(
                    f"{self._file}: the disk is full; all that was recorded before is safe: free space, then "
                    "the same call resumes"
                ) from error
            raise

    def _is_open(self, trial_id: str, attempt: int) -> bool:
        query = "SELECT attempt, status FROM attempt WHERE trial_id = ? ORDER BY attempt DESC LIMIT 1"
        newest = self._one(query, trial_id)
        return newest is not None and tuple(newest) == (attempt, None)

    def _insert_evaluation(self, row: EvaluationRow) -> None:
        self._connection.execute(
            "INSERT INTO evaluation VALUES (?,?,?,?,?,?,?,?,?)"
            " ON CONFLICT DO UPDATE SET scores=excluded.scores, coverage=excluded.coverage,"
            " error=excluded.error, failure=excluded.failure WHERE error IS NOT NULL",
            (row.evaluation_id, row.trial_id, row.upstream_trial_id, row.split, row.entities,
             to_json(row.scores), to_json(row.coverage), row.error, row.failure),
        )  # fmt: skip
        if row.documents:
            self._connection.execute(
                "INSERT INTO evaluation_documents VALUES (?,?) ON CONFLICT DO NOTHING",
                (row.evaluation_id, to_json(row.documents)),
            )

    def _one(self, query: str, *values: Any) -> Any:
        return self._connection.execute(query, values).fetchone()

    def _each(self, query: str, *values: Any) -> Iterator[sqlite3.Row]:
        try:
            for row in self._connection.execute(query, values):  # noqa: UP028 - it would close the cursor, late
                yield row
        except sqlite3.OperationalError as error:
            if (damaged := first_damaged_row(self._connection)) is None:
                raise
            raise InputError(f"{self._file}: {damaged}") from error

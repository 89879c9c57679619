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
from tune.ledger.check import check_whole
from tune.ledger.file import (
    SCHEMA,
    MissingLedgerError,
    check_version,
    connect_to_read,
    connect_to_write,
    is_out_of_room,
    lock_beside,
    migrate,
    out_of_room,
    prepare_to_write,
    unreadable,
)
from tune.ledger.reading import LedgerReader
from tune.ledger.rows import (
    EvaluationRow,
    FinalStatus,
    ProbeRow,
    ReportedEpoch,
    SearchEvent,
    TrialRow,
    clash,
    to_json,
    trial_row,
)


class Ledger(LedgerReader):
    """The ledger file, open. Make one with `Ledger.open`; close it, or use it in a `with` statement."""

    def __init__(self, connection: sqlite3.Connection, lock: IO[str] | None = None) -> None:
        super().__init__(connection)
        self._lock = lock

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
                if not read_only:
                    prepare_to_write(connection, path)
                check_version(connection, path)
                if not read_only:
                    check_whole(connection, path)
                    migrate(connection)
            except (OSError, sqlite3.Error) as error:
                raise unreadable(path, error) from error
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
        epochs: Iterable[ReportedEpoch] = (),
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

    def record_probe(self, row: ProbeRow) -> None:
        """Store what was measured; what an earlier probe found gives way."""
        with self._transaction("probe.record"):
            values = dataclasses.astuple(row)
            marks = ",".join("?" * len(values))
            self._connection.execute(f"INSERT OR REPLACE INTO probe VALUES ({marks})", values)

    @contextlib.contextmanager
    def _transaction(self, name: str, *, durable: bool = False) -> Iterator[None]:
        """All of the body is stored, or nothing.

        Raises:
            InputError: there is no room for it.
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
            if is_out_of_room(error):
                raise out_of_room(self._file, error) from error
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

"""What a ledger says: all that is read of it. See `tune.ledger.ledger` for what is recorded."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from lai_net.errors import InputError
from tune.ledger.check import first_damaged_row
from tune.ledger.file import EVERY_EPOCH, version_of
from tune.ledger.rows import (
    AttemptRow,
    EvaluationRow,
    ProbeRow,
    SearchEvent,
    Status,
    TrialKey,
    TrialRow,
    attempt_row,
    evaluation_row,
    from_json,
    search_event,
    trial_row,
    trial_rows,
)


class LedgerReader:
    """The queries of an open ledger; what one of an older version does not know is empty."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._connection.row_factory = sqlite3.Row
        self._file = str(connection.execute("PRAGMA database_list").fetchone()["file"])

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

    def ids_by_key(self) -> dict[TrialKey, str]:
        """The trials' ids by what names them in a study; of several ids the newest."""
        return {row.key: row.trial_id for row in self.trials()}

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
        for row in self._each(f"SELECT * FROM evaluation ORDER BY {order}"):
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

    def each_imported(self) -> Iterator[dict[str, Any]]:
        """The same rows, one at a time: parsed, they take much room."""
        for row in self._each("SELECT * FROM imported ORDER BY key"):
            yield from_json(row, "row", self._file)

    def _one(self, query: str, *values: Any) -> Any:
        return next(self._each(query, *values), None)

    def _each(self, query: str, *values: Any) -> Iterator[sqlite3.Row]:
        try:
            for row in self._connection.execute(query, values):  # noqa: UP028 - it would close the cursor, late
                yield row
        except sqlite3.OperationalError as error:
            if (damaged := first_damaged_row(self._connection)) is None:
                raise
            raise InputError(f"{self._file}: {damaged}") from error

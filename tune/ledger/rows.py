"""What the ledger's rows hold, as frozen values, and how they come out of its JSON columns."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lai_net.config import EntitySource, TrialConfig
from lai_net.errors import InputError
from tune.artefacts.port import is_inside, is_one_name
from tune.engine import FailureKind

Status = Literal["planned", "running", "completed", "failed", "pruned"]
FinalStatus = Literal["completed", "failed", "pruned"]

KEY_COLUMNS = (
    "trial_id", "attempt", "epoch", "evaluation_id", "key", "search_id", "number", "shape_id", "device_type",
)  # fmt: skip
"""Those that name a row, in whichever table."""

TrialKey = tuple[str, int | None, int, str]
"""A trial without content: dataset, fold, seed, spec_id."""
ReportedEpoch = tuple[str, int, Mapping[str, Any]]
"""Of an epoch of a trial: trial_id, epoch, what was reported."""


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One training: what was asked. `config` holds the active settings; `fold` is None without folds."""

    trial_id: str
    config_id: str
    spec_id: str
    dataset: str
    phase: str
    fold: int | None
    seed: int
    config: dict[str, Any]
    corpus_id: str
    encoder_id: str

    @property
    def key(self) -> TrialKey:
        """Names the trial within a study, whose plan knows no content."""
        return (self.dataset, self.fold, self.seed, self.spec_id)


@dataclass(frozen=True, kw_only=True)
class AttemptRow:
    """One try at a trial. `status` is `running` until there is a final record; times in seconds.

    `failure` is None where it did not fail, and of ledgers before version 5.
    """

    trial_id: str
    attempt: int
    provenance: dict[str, Any]
    status: Status
    error: str | None
    cpu_s: float | None
    wall_s: float | None
    artefacts: dict[str, str]
    finished: str | None
    failure: FailureKind | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """Scores (0-1) of a trial on a split; `upstream_trial_id` names the NER trial of an end-to-end RE.

    `error` is the traceback of one that failed, which has no scores, and `failure` its kind. `documents`,
    counts per document (see `lai_net.metrics.documents`), are stored apart: `Ledger.documents` reads them,
    `evaluations` does not.
    """

    evaluation_id: str
    trial_id: str
    upstream_trial_id: str | None
    split: str
    entities: EntitySource
    scores: list[dict[str, Any]]
    coverage: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    failure: FailureKind | None = None
    documents: list[dict[str, Any]] = field(default_factory=list)

    def dev_f1(self, config: TrialConfig) -> float | None:
        """F1 on dev of the trial alone, protocol pure, averaged as where its best epoch is chosen.

        None of what is no such evaluation.
        """
        if self.split != "dev" or self.upstream_trial_id is not None:
            return None
        averaging = config.training.selection_averaging
        kind = {"task": config.phase, "protocol": "pure", "averaging": averaging}
        return next((score["f1"] for score in self.scores if kind.items() <= score.items()), None)


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """What a config shape needs on a device type, measured in a few steps.

    Attributes:
        shape_id: see `tune.packing.shape`.
        device_type: as Ray names it; `logical` for a GPU that is only counted.
        meter: what measured: `cuda`, or `rss`, a stand-in.
        peak_bytes: of the framework's allocator.
        context_bytes: what the process takes beside it.
        capacity_bytes: of the whole device.
        step_s: of an ordinary training step, in seconds.
        largest_step_s: of the one that took most memory.
        steps_per_epoch: of the training.
    """

    shape_id: str
    device_type: str
    meter: str
    peak_bytes: int
    context_bytes: int
    capacity_bytes: int
    step_s: float
    largest_step_s: float
    steps_per_epoch: int


@dataclass(frozen=True)
class SearchEvent:
    """A decision of a search: what it was given, and what followed; `number` counts from 0 in a search."""

    search_id: str
    number: int
    kind: str
    given: dict[str, Any]
    decided: dict[str, Any]


def to_json(value: Any) -> str:
    """Canonical JSON; a number that is not finite is refused, since JSON has none."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def from_json(row: sqlite3.Row, column: str, file: str) -> Any:
    """A JSON column of a row; null where it holds nothing. `file` is the ledger's, for messages.

    Raises:
        InputError: it holds no JSON; the row is named.
    """
    text = row[column]
    try:
        return json.loads(text) if text else None
    except ValueError as error:
        key = {name: row[name] for name in KEY_COLUMNS if name in row.keys()}  # noqa: SIM118 - `in row` is of values
        raise InputError(f"{file}: {damaged_row(key, column)}") from error


def damaged_row(key: Mapping[str, Any], column: str, lacks: str = "JSON") -> str:
    """What is wrong with a row that cannot be read, and what to do; `lacks` is what a column should be."""
    place = ", ".join(f"{name} {value}" for name, value in key.items())
    return (
        f"row {place}: is damaged (no {lacks} in {column}); restore a copy of the file, or name a ledger in "
        "another folder"
    )


def trial_row(row: sqlite3.Row, file: str) -> TrialRow:
    """A row of table `trial`."""
    return trial_rows([row], file)[0]


def trial_rows(rows: Iterable[sqlite3.Row], file: str) -> list[TrialRow]:
    """Rows of table `trial`; equal configs are parsed once, and are one object."""
    found: dict[str, dict[str, Any]] = {}
    trials = []
    for row in rows:
        _check_name(row, file)
        if row["config"] not in found:
            found[row["config"]] = from_json(row, "config", file)
        trials.append(TrialRow(**{**dict(row), "config": found[row["config"]]}))
    return trials


def attempt_row(row: sqlite3.Row, file: str) -> AttemptRow:
    """A row of table `attempt`."""
    _check_name(row, file)
    artefacts = from_json(row, "artefacts", file) or {}
    for path in artefacts.values():
        if not is_inside(str(path)):
            raise _leaves(row, path, file)
    return AttemptRow(
        **{
            **dict(row),
            "provenance": from_json(row, "provenance", file),
            "status": row["status"] or "running",
            "artefacts": artefacts,
        }
    )


def _check_name(row: sqlite3.Row, file: str) -> None:
    """A trial's id is the name of its folder, below which files are deleted."""
    if not is_one_name(row["trial_id"]):
        raise _leaves(row, row["trial_id"], file)


def _leaves(row: sqlite3.Row, path: object, file: str) -> InputError:
    return InputError(
        f"{file}: trial {row['trial_id']!r} names {path!r}, which leaves the ledger's folder; "
        "somebody changed the file: restore a copy, or name a ledger in another folder"
    )


def evaluation_row(row: sqlite3.Row, file: str) -> EvaluationRow:
    """A row of table `evaluation`."""
    return EvaluationRow(
        **{
            **dict(row),
            "scores": from_json(row, "scores", file),
            "coverage": from_json(row, "coverage", file),
        }
    )


def search_event(row: sqlite3.Row, file: str) -> SearchEvent:
    """A row of table `search_event`."""
    return SearchEvent(
        row["search_id"],
        row["number"],
        row["kind"],
        from_json(row, "given", file),
        from_json(row, "decided", file),
    )


def clash(stored: TrialRow, row: TrialRow) -> str:
    """What is wrong where two trials with one name differ in content, or two with one content in name."""
    places = [
        {
            "dataset": item.dataset,
            "corpus": item.corpus_id,
            "encoder": item.encoder_id,
            "encoder.name": item.config["encoder"]["name"],
        }
        for item in (stored, row)
    ]
    differing = [
        f"{name} was {was!r} and is {places[1][name]!r}"
        for name, was in places[0].items()
        if was != places[1][name]
    ]
    return (
        f"dataset {row.dataset!r}: trial {stored.trial_id} in the ledger has other content under the same "
        f"name, or the same content under another: {', '.join(differing) or 'the annotations differ'}; "
        "use one name for one content, or a ledger in another folder"
    )

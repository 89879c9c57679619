"""What must hold of a ledger however often its run was killed."""

import dataclasses
import hashlib
import sqlite3
from pathlib import Path
from typing import Any

from analysis.frame import read_results
from analysis.tables.render import to_csv
from analysis.tables.table import compute_table
from lai_net.errors import InputError
from tune.artefacts.storage import SharedFolder, model_folder, storage_of
from tune.ledger.ledger import Ledger
from tune.planning.trained_model import model_place

_TIMES = {"cpu_s", "wall_s"}


def content(path: Path) -> dict[str, Any]:
    """What must not depend on how often the run was killed; models by their bytes."""
    with Ledger.open(path, read_only=True) as ledger:
        trials = ledger.trials()
        return {
            "status": {row.trial_id: ledger.status(row.trial_id) for row in trials},
            "epochs": {
                row.trial_id: [_timeless(item) for item in ledger.epochs(row.trial_id)] for row in trials
            },
            "evaluations": [dataclasses.asdict(row) for row in ledger.evaluations()],
            "models": {row.trial_id: _model(path, ledger, row.trial_id) for row in trials},
        }


def table(study: Path, ledger: Path) -> str:
    """The report's table of the drill's factor."""
    return to_csv(compute_table(read_results(ledger, study).cells, "2"))


def num_epochs(path: Path) -> int:
    """Epochs that the ledger holds, while it is being written or before it is there."""
    try:
        with Ledger.open(path, read_only=True) as ledger:
            return sum(ledger.epoch_counts().values())
    except (InputError, sqlite3.Error):  # not there yet, or just being created
        return 0


def finished(path: Path) -> dict[str, int]:
    """Of every finished trial the attempt that finished it."""
    with Ledger.read_or_empty(path) as ledger:
        newest = ledger.newest_attempts().items()
        return {trial_id: row.attempt for trial_id, row in newest if row.status == "completed"}


def violations(path: Path, before: dict[str, int]) -> list[str]:
    """What a run that was killed and called again has done to trials that had finished before."""
    now = finished(path)
    lost = [f"the result of {trial_id} was lost" for trial_id in before.keys() - now.keys()]
    again = [f"{key} was trained again" for key in before.keys() & now.keys() if before[key] != now[key]]
    with Ledger.read_or_empty(path) as ledger:
        twice = [
            f"{trial_id} was finished {count} times"
            for trial_id, attempts in ledger.all_attempts().items()
            if (count := sum(row.status == "completed" for row in attempts)) > 1
        ]
    return [*lost, *again, *twice]


def differences(study: Path, ledger: Path, undisturbed: Path) -> list[str]:
    """In what a study that was killed and finished differs from one that ran undisturbed."""
    found, expected = content(ledger), content(undisturbed)
    wrong = [
        f"{name} differ from the undisturbed run's" for name in expected if found[name] != expected[name]
    ]
    if table(study, ledger) != table(study, undisturbed):
        wrong.append("the table differs from the undisturbed run's")
    return wrong + left_behind(ledger)


def left_behind(path: Path) -> list[str]:
    """Artefacts beside those of the attempts that finished, or of those whose models were to go."""
    with Ledger.open(path, read_only=True) as ledger:
        newest = ledger.newest_attempts().items()
        models = {key: row.artefacts.get("best") for key, row in newest if row.status == "completed"}
    attempts = _attempts(path)
    return [
        f"{trial_id} has {names}"
        for trial_id, best in models.items()
        if (names := attempts.get(trial_id, set())) != (set() if best is None else {Path(best).parent.name})
    ]


def _attempts(path: Path) -> dict[str, set[str]]:
    """What lies in the folder of each trial."""
    storage = storage_of(path.parent)
    if isinstance(storage, SharedFolder):
        names = [item.relative_to(storage.root).as_posix() for item in storage.root.glob("*/*")]
    else:
        names = [name for name, size in storage.sizes().items() if size and "/" in name]
    found: dict[str, set[str]] = {}
    for trial_id, attempt in (name.split("/")[:2] for name in names):
        found.setdefault(trial_id, set()).add(attempt)
    return found


def _timeless(report: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name not in _TIMES}


def _model(path: Path, ledger: Ledger, trial_id: str) -> str:
    attempt = ledger.attempts(trial_id)[-1]
    if "best" not in attempt.artefacts:
        return "not kept"
    best = model_folder(model_place(attempt, storage_of(path.parent)))
    (file,) = (item for item in best.iterdir() if item.name in ("model", "model.safetensors"))
    return hashlib.sha256(file.read_bytes()).hexdigest()

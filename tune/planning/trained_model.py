"""The model folder of a trial in a ledger, for `lai predict` and whoever else has a TRIAL_ID."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lai_net.errors import InputError
from tune.artefacts.port import FOLDER, Storage
from tune.artefacts.storage import model_folder, reason, storage_of
from tune.ledger.ledger import Ledger
from tune.ledger.rows import AttemptRow
from tune.planning.explanation import find_trial, state_of
from tune.planning.retention import NOT_KEPT

_COMMAND = "the command that a table study's report has beside it"


def trained_model_folder(trial_id: str, ledger: Path) -> Path:
    """Where the best model of a trial lies.

    Args:
        trial_id: its id, or how that alone begins.
        ledger: the ledger's file; artefacts lie in its folder, or are fetched.

    Raises:
        InputError: no such trial, one that is not completed, or one whose model is gone.
    """
    with Ledger.open(ledger, read_only=True) as opened:
        row = find_trial(opened, trial_id)
        attempts, state = opened.attempts(row.trial_id), state_of(opened, row)
    if state != "completed":
        raise InputError(
            f"trial {row.trial_id} of {ledger} is {state} and has no trained model; name a completed one"
        )
    place = model_place(attempts[-1], storage_of(ledger.resolve().parent))
    try:
        folder = model_folder(place)
    except OSError as error:
        raise InputError(f"trial {row.trial_id}: {place} cannot be fetched ({reason(error)})") from error
    if not (folder / "config.json").is_file():
        raise InputError(f"trial {row.trial_id}: its model is no longer at {folder}; restore that folder")
    return folder


def model_place(attempt: AttemptRow, storage: Storage) -> str:
    """Where the model of a completed attempt lies, for `tune.artefacts.storage.model_folder`.

    Raises:
        InputError: it was not kept.
    """
    if NOT_KEPT in attempt.provenance:
        raise InputError(_not_kept(attempt))
    return storage.place(attempt.artefacts["best"].removeprefix(f"{FOLDER}/"))


def lost_models(attempts: Iterable[AttemptRow], storage: Storage | None) -> list[str]:
    """What is wrong, and what to do, for each completed attempt whose model cannot be had.

    `storage` of None, and an object store, are not asked: of those only what the ledger noted is told.
    """
    lost = []
    for attempt in attempts:
        if NOT_KEPT in attempt.provenance:
            lost.append(_not_kept(attempt))
        elif storage is not None and "best" in attempt.artefacts:
            place = model_place(attempt, storage)
            if "://" not in place and not Path(place).is_dir():
                lost.append(
                    f"trial {attempt.trial_id}: its model is no longer at {place}; restore that folder, or "
                    f"train it again by {_COMMAND} and copy the `best` that comes of it there, or name a "
                    "--ledger in another folder"
                )
    return lost


def told_once(lost: Sequence[str]) -> str:
    """In one line what `lost_models` gives."""
    others = f" (the first of {len(lost)} such trials)" if len(lost) > 1 else ""
    return f"a model is gone that is needed{others}: {lost[0]}"


def _not_kept(attempt: AttemptRow) -> str:
    return (
        f"trial {attempt.trial_id}: its model was not kept ({attempt.provenance[NOT_KEPT]}); {_COMMAND} "
        "trains it again; a new evaluation of it needs a --ledger in another folder"
    )

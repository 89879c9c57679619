"""The model folder of a trial in a ledger, for `lai predict` and whoever else has a TRIAL_ID."""

from pathlib import Path

from lai_net.errors import InputError
from tune.explanation import find_trial, state_of
from tune.ledger import Ledger


def trained_model_folder(trial_id: str, ledger: Path) -> Path:
    """Where the best model of a trial lies.

    Args:
        trial_id: its id, or how that alone begins.
        ledger: the ledger's file; artefacts lie in its folder.

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
    folder = ledger.resolve().parent / attempts[-1].artefacts["best"]
    if not (folder / "config.json").is_file():
        raise InputError(f"trial {row.trial_id}: its model is no longer at {folder}; restore that folder")
    return folder

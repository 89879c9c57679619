"""The model of a TRIAL_ID."""

from pathlib import Path
from typing import Literal

import pytest

from lai_net.errors import InputError
from tests.unit.rows import trial_row
from tune.ledger.ledger import Ledger
from tune.ledger.rows import TrialRow
from tune.planning.trained_model import trained_model_folder


def trial(trial_id: str) -> TrialRow:
    return trial_row(trial_id=trial_id, config_id=trial_id, spec_id=trial_id, dataset="d", seed=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with trials in every state; `ab` and `ac` are completed, the model of `ac` is gone."""
    path = tmp_path / "runs" / "ledger.sqlite"
    path.parent.mkdir()
    states: dict[str, Literal["completed", "failed", "pruned"]] = {
        "ab": "completed", "ac": "completed", "f0": "failed", "f1": "pruned",
    }  # fmt: skip
    with Ledger.open(path) as ledger:
        ledger.register_trials([trial(name) for name in (*states, "d0", "d1")])
        for name in (*states, "d1"):
            ledger.start_attempt(name, 1, {})
        for name, state in states.items():
            best = f"artifacts/{name}/attempt-1/best"
            ledger.finish_attempt(name, 1, state, artefacts={"best": best})
    model = path.parent / "artifacts" / "ab" / "attempt-1" / "best"
    model.mkdir(parents=True)
    (model / "config.json").touch()
    return path


def test_a_prefix_that_names_one_trial_is_enough(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = path.parent / "artifacts" / "ab" / "attempt-1" / "best"
    assert trained_model_folder("ab", path) == expected
    monkeypatch.chdir(path.parent)
    assert trained_model_folder("ab", Path("ledger.sqlite")) == expected


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a", "2 trials of the ledger have an id that begins with 'a'"),
        ("abc", "0 trials of the ledger"),
        ("ac", "trial ac: its model is no longer at .*artifacts/ac/attempt-1/best; restore"),
        ("f0", "trial f0 .* is failed and has no trained model"),
        ("f1", "trial f1 .* is pruned and"),
        ("d0", "trial d0 .* is planned and"),
        ("d1", "trial d1 .* is running and"),
    ],
)
def test_what_has_no_model_is_said(name: str, reason: str, path: Path) -> None:
    with pytest.raises(InputError, match=reason):
        trained_model_folder(name, path)


def test_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such ledger"):
        trained_model_folder("ab", tmp_path / "ledger.sqlite")

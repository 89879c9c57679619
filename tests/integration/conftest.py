"""Fixtures of the tests of a search."""

from pathlib import Path

import pytest

from tests.integration.searching import HEAD, SEARCH, drill, run


@pytest.fixture
def search_study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(HEAD + SEARCH)
    return path


@pytest.fixture
def fast_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "EPOCH_S", 0)
    monkeypatch.setattr(
        "tune.run_command.wait_for_orphans", lambda attempts: 0
    )  # it would wait for ourselves


@pytest.fixture
def finished_search(search_study, tmp_path) -> Path:
    """A ledger with a finished search without stops, so that many configs are complete."""
    search_study.write_text(
        (HEAD + SEARCH).replace("[search.scheduler]", '[search.scheduler]\nname = "none"')
    )
    ledger = tmp_path / "ledger.sqlite"
    run(search_study, ledger)
    return ledger

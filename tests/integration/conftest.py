"""Fixtures: the whole command, the drill's study, and studies with a search."""

import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import analysis.__main__ as command
from tests.integration.object_store import s3, s3_server  # noqa: F401
from tests.integration.searching import HEAD, SEARCH
from tests.integration.standing_in import STUDY, drill, run, written
from tests.integration.untrained import expected, model, no_encoder, saved, saved_once, trials  # noqa: F401

Run = Callable[..., tuple[int, list[dict[str, Any]], str]]


@pytest.fixture
def lai(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the whole command: its exit code, its JSON lines and its stderr."""

    def call(*words: str | Path, stdin: str | None = None) -> tuple[int, list[dict[str, Any]], str]:
        stream = io.TextIOWrapper(io.BytesIO((stdin or "").encode()), encoding="utf-8")
        monkeypatch.setattr(stream, "isatty", lambda: stdin is None, raising=False)
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(SystemExit) as end:
            command.main([str(word) for word in words])
        shown = capsys.readouterr()
        return int(end.value.code or 0), [json.loads(line) for line in shown.out.splitlines()], shown.err

    return call


@pytest.fixture
def search_study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(HEAD + SEARCH)
    return path


@pytest.fixture
def fast_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "EPOCH_S", 0)
    monkeypatch.setattr(
        "tune.commands.running.wait_for_orphans", lambda attempts: 0
    )  # it would wait for ourselves


@pytest.fixture
def finished_search(search_study, tmp_path) -> Path:
    """A ledger with a finished search without stops, so that many configs are complete."""
    asha = "reduction_factor = 2\nnoise_margin = 0.5"
    assert asha in SEARCH
    search_study.write_text((HEAD + SEARCH).replace(asha, 'name = "none"'))
    ledger = tmp_path / "ledger.sqlite"
    run(search_study, ledger)
    return ledger


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return written(tmp_path, STUDY)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger of a run of that study that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run(written(folder, STUDY), folder / "ledger.sqlite") == 0
    return folder / "ledger.sqlite"


@pytest.fixture
def own_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A killed driver cannot remove Ray's session; short, since Ray puts sockets there."""
    with tempfile.TemporaryDirectory(prefix="d", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield

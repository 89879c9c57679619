"""`lai run --storage s3://…` is what a run in folders is, and what comes after it finds its models."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.__main__ import main
from tests.drills.invariants import differences, finished, num_epochs, violations
from tests.drills.playing import kill_worker, start_driver
from tests.integration import drill
from tests.integration.object_store import S3, SECRET
from tests.integration.test_run_cluster import (  # noqa: F401
    Raylets,
    free_port,
    kill_session,
    raylets,
    wait_for,
    write_corpus,
)
from tune.artefacts.storage import store_in
from tune.commands import run as run_command
from tune.commands.options import INTERRUPTED
from tune.ledger.ledger import Ledger

PATIENCE_S = 300
"""On a busy machine Ray takes minutes to start."""
STUDY = """
name = "stored"
seeds = [1]
[[datasets]]
name = "demo"
corpus = "corpus"
[datasets.ner]
preset = "demo-ner"
set = {{ "encoder.name" = "{encoder}", "training.epochs" = {epochs} }}
[datasets.re]
preset = "demo-re"
set = {{ "encoder.name" = "{encoder}", "training.epochs" = {epochs} }}
[factors]
gcn_layers = [1, 2]
"""


@pytest.fixture
def place(tmp_path: Path, tiny_encoder: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a study, its corpus, and a temporary folder for what is fetched."""
    write_corpus(tmp_path / "corpus")
    (tmp_path / "study.toml").write_text(STUDY.format(encoder=tiny_encoder, epochs=2))
    (tmp_path / "tmp").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def lai(*words: object) -> int:
    """The exit code of a command in this process."""
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return int(end.value.code or 0)


@pytest.fixture
def undisturbed(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ledger of a run that keeps its artefacts beside it."""
    monkeypatch.setattr(
        run_command, "_ray_engine", lambda prepared, *_: drill.make_engine("real", prepared.study)
    )
    ledger = place / "alone" / "ledger.sqlite"
    assert lai("run", "study.toml", "--ledger", ledger) == 0
    return ledger


def test_a_study_on_s3_is_that_of_a_folder(
    place: Path, undisturbed: Path, s3: S3, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = place / "runs" / "ledger.sqlite"
    assert lai("run", "study.toml", "--ledger", ledger, "--storage", s3.uri) == 0
    assert differences(place / "study.toml", ledger, undisturbed) == []
    assert (ledger.parent / "artifacts").read_text() == f"{s3.uri}\n"
    files = [path for path in ledger.parent.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in path.read_bytes() for path in files)
    assert lai("verify", "study.toml", "--ledger", ledger) == 0
    with Ledger.open(ledger, read_only=True) as opened:
        chosen = {row.phase: row.trial_id for row in opened.trials()}
    ids = ("--ner", chosen["NER"], "--re", chosen["RE"])
    capsys.readouterr()
    words = ("predict", *ids, "--text", "We use a parser.", "--ledger")
    said = [(lai(*words, at), capsys.readouterr().out) for at in (undisturbed, ledger)]
    assert said[0] == said[1]
    assert said[0][0] == 0
    assert lai("save", place / "saved", *ids, "--ledger", ledger) == 0
    text = (place / "study.toml").read_text().replace("seeds = [1]", "seeds = [1]\n[budget]\ndisk_gib = 1e-6")
    (place / "study.toml").write_text(text.replace("[1, 2]", "[0, 1, 2]"))
    assert lai("run", "study.toml", "--ledger", ledger) == INTERRUPTED, (
        "what the store holds counts against the disk budget"
    )


@pytest.mark.slow
def test_killed_in_the_midst_of_an_upload_and_around_it(place: Path, undisturbed: Path, s3: S3) -> None:
    """A serial driver is its own worker; each call goes a little further than the one before."""
    study, ledger = place / "study.toml", place / "runs" / "ledger.sqlite"
    store_in(s3.uri, ledger.parent)
    faults = ("files.publish:2", "worker.epoch:3", "worker.completed:1", "attempt.finish.after_commit:1")
    for fault in faults:
        before = finished(ledger)
        driver = start_driver(study, ledger, "real", LAI_FAULT=f"{fault}:kill")
        driver.communicate(timeout=PATIENCE_S)
        assert driver.returncode == -signal.SIGKILL
        assert violations(ledger, before) == []
    before = finished(ledger)
    assert len(before) == 2
    assert lai("run", study, "--ledger", ledger) == 0
    assert violations(ledger, before) == []
    assert differences(study, ledger, undisturbed) == []


@pytest.mark.slow
@pytest.mark.ray
def test_a_worker_that_dies_and_a_server_that_is_down_for_a_while(
    place: Path, undisturbed: Path, s3: S3
) -> None:
    study, ledger = place / "study.toml", place / "runs" / "ledger.sqlite"
    words = ("run", study, "--ledger", ledger, "--storage", s3.uri)
    command = [sys.executable, "-m", "analysis", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as driver:
        try:
            wait_for(lambda: num_epochs(ledger) >= 1 and kill_worker(ledger), PATIENCE_S)
            wait_for(lambda: len(finished(ledger)) >= 1, PATIENCE_S)
            s3.stop()
            wait_for(lambda: failures(ledger) >= 2, PATIENCE_S)
            s3.start()
            _, said = driver.communicate(timeout=PATIENCE_S)
        finally:
            driver.kill()
    assert driver.returncode == 0, said
    assert SECRET not in said
    assert differences(study, ledger, undisturbed) == []


def failures(path: Path) -> int:
    """How many tries the ledger has as failed by the machine."""
    with Ledger.open(path, read_only=True) as ledger:
        attempts = [attempt for tries in ledger.all_attempts().values() for attempt in tries]
    return sum(attempt.failure == "machine" for attempt in attempts)


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_one_line(
    place: Path, undisturbed: Path, s3: S3, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = place / "runs" / "ledger.sqlite"
    assert lai("run", "study.toml", "--ledger", ledger, "--storage", s3.uri) == 0
    with Ledger.open(ledger, read_only=True) as opened:
        chosen = opened.trials()[0].trial_id
    capsys.readouterr()
    s3.stop()
    try:
        for words in (
            ("run", "study.toml", "--ledger", place / "other" / "ledger.sqlite", "--storage", s3.uri),
            ("run", "study.toml", "--ledger", ledger),
            ("predict", "--ner", chosen, "--re", chosen, "--ledger", ledger, "--text", "x"),
        ):
            assert lai(*words) == 2
            said = capsys.readouterr().err
            assert said.count("\n") == 1
            assert "NETWORK_CONNECTION" in said
    finally:
        s3.start()
    assert lai("run", "study.toml", "--ledger", ledger) == 0
    assert differences(place / "study.toml", ledger, undisturbed) == []


@pytest.mark.slow
@pytest.mark.ray
def test_nodes_share_a_store_and_the_gate_tries_it_on_each(
    place: Path,
    undisturbed: Path,
    s3: S3,
    raylets: Raylets,  # noqa: F811
) -> None:
    def call(*words: object) -> tuple[int, str]:
        command = [sys.executable, "-m", "analysis", *map(str, words), "--address", raylets.address]
        done = subprocess.run(
            command, env=raylets.environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        return done.returncode, done.stdout + done.stderr

    astray = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    right = raylets.environment
    raylets.environment = right | astray
    node = raylets.start_worker()
    raylets.environment = right
    raylets.start_worker()
    check = ("cluster", "check", "--storage", s3.uri, "--nodes")
    code, said = call(*check, 2)
    assert code == 2
    assert "1 of 2 nodes cannot be used" in said
    assert f"does not see {s3.uri} as the driver does" in said
    assert said.count("\n") == 1
    kill_session(node)
    raylets.start_worker()
    ledger = place / "runs" / "ledger.sqlite"
    code, said = call("run", place / "study.toml", "--ledger", ledger, "--storage", s3.uri)
    assert code == 0, said
    assert differences(place / "study.toml", ledger, undisturbed) == []
    code, said = call(*check, 2)
    assert (code, said) == (0, "2 nodes are ready\n")

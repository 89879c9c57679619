"""Kill the driver at random moments, call again: the ledger must hold what an undisturbed run stores."""

import csv
import io
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.drills.invariants import content, num_epochs, table
from tests.drills.playing import finish, start_driver
from tests.drills.study import study_text
from tune.ledger.ledger import Ledger

pytestmark = [
    pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc"),
    pytest.mark.usefixtures("own_temporary_folder"),
]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(study_text([1, 2]))
    return path


def kill_after_progress(process: subprocess.Popen[str], ledger: Path, epochs: int, delay_s: float) -> None:
    """SIGKILL once `epochs` more epochs are stored; a run that ends first is fine, too."""
    target = num_epochs(ledger) + epochs
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if num_epochs(ledger) >= target:
            time.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    process.communicate()


@pytest.mark.parametrize(
    ("engine", "kills", "seeds"),
    [("serial", 5, [1, 2]), pytest.param("ray", 1, [1], marks=pytest.mark.ray)],
    ids=["serial", "ray"],
)
def test_killed_driver_resumes_to_the_same_ledger(study, tmp_path, engine, kills, seeds):
    study.write_text(study_text(seeds))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    undisturbed, ledger = tmp_path / "a" / "ledger.sqlite", tmp_path / "b" / "ledger.sqlite"
    code, _, err = finish(study, undisturbed)
    assert code == 0, err
    moments = random.Random(20261122)
    for _ in range(kills):
        process = start_driver(study, ledger, engine)
        kill_after_progress(process, ledger, moments.randint(1, 12), moments.random() * 0.05)
    code, _, err = finish(study, ledger, engine)
    assert code == 0, err
    assert content(ledger) == content(undisturbed)
    assert table(study, ledger) == table(study, undisturbed)
    rows = list(csv.DictReader(io.StringIO(table(study, ledger))))
    assert {row["n"] for row in rows if row["metric"] == "f1"} == {str(len(seeds))}, "all seeds of every cell"
    with Ledger.open(ledger, read_only=True) as opened:
        attempts = [len(opened.attempts(row.trial_id)) for row in opened.trials()]
        folders = {
            row.trial_id: [path.name for path in (ledger.parent / "artifacts" / row.trial_id).iterdir()]
            for row in opened.trials()
        }
        assert max(attempts) > 1 or kills == 1, "no kill hit a running trial"
        for trial_id, names in folders.items():
            assert names == [f"attempt-{len(opened.attempts(trial_id))}"]


def test_failed_level_is_named_blocks_its_evaluations_and_ends_nothing(study, tmp_path):
    study.write_text(study_text([1, 2], ner='"training.warmup" = 0.5, '))
    ledger = tmp_path / "ledger.sqlite"
    code, out, err = finish(study, ledger)
    assert code == 1
    assert "this level cannot be trained" in err
    assert "which failed" in err
    assert "6 failed, 6 blocked, 0 remain" in out
    with Ledger.open(ledger, read_only=True) as opened:
        failed = [row for row in opened.trials() if opened.status(row.trial_id) == "failed"]
        assert {row.phase for row in failed} == {"NER"}
        assert "Traceback" in opened.attempts(failed[0].trial_id)[0].error
        assert len(opened.attempts(failed[0].trial_id)) == 1

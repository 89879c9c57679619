"""The ledger: fencing, one writer, read-only opens, and what it refuses."""

import dataclasses
import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lai_net.errors import InputError
from tests.benchmarks.simulated import Trial, probe_row
from tests.unit.rows import trial_row
from tune.ledger.file import is_being_written
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow, SearchEvent

TRIAL = trial_row(
    trial_id="t1", config_id="c1", spec_id="s1", dataset="toy",
    config={"phase": "NER", "clip": 1.0, "encoder": {"name": "/old"}},
)  # fmt: skip
EVALUATION = EvaluationRow(
    evaluation_id="e1", trial_id="t1", upstream_trial_id=None, split="test", entities="predicted",
    scores=[{"task": "NER", "f1": 0.5}], coverage={"cut": 2},
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path):
    with Ledger.open(path) as opened:
        opened.register_trials([TRIAL])
        yield opened


def test_trial_round_trips_and_a_second_insert_is_ignored(ledger: Ledger) -> None:
    ledger.register_trials([TRIAL, TRIAL])
    assert ledger.trials() == [TRIAL]
    assert ledger.trial("t1") == TRIAL
    assert ledger.trial("t2") is None


def test_status_follows_the_newest_attempt(ledger: Ledger) -> None:
    assert ledger.status("t1") == "planned"
    ledger.start_attempt("t1", 1, {"host": "a"})
    assert ledger.status("t1") == "running"
    assert ledger.finish_attempt("t1", 1, "failed", error="boom", cpu_s=1.5, wall_s=2.0)
    assert ledger.status("t1") == "failed"
    ledger.start_attempt("t1", ledger.next_attempt("t1"), {})
    assert ledger.status("t1") == "running"
    assert [(a.attempt, a.status, a.error) for a in ledger.attempts("t1")] == [
        (1, "failed", "boom"), (2, "running", None),
    ]  # fmt: skip
    assert ledger.newest_attempts()["t1"].attempt == 2


def test_attempts_are_numbered_without_gaps(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="not the next"):
        ledger.start_attempt("t1", 2, {})
    assert ledger.attempts("t1") == []


def test_stale_attempt_is_refused(ledger: Ledger) -> None:
    ledger.start_attempt("t1", 1, {})
    assert ledger.record_epoch("t1", 1, 1, {"loss": 0.5})
    ledger.start_attempt("t1", 2, {})
    assert not ledger.record_epoch("t1", 1, 2, {"loss": 0.4})
    assert not ledger.finish_attempt("t1", 1, "completed", evaluations=[EVALUATION])
    assert ledger.epochs("t1") == [{"loss": 0.5}]
    assert ledger.evaluations() == []
    assert ledger.status("t1") == "running"


def test_nothing_is_added_to_a_final_attempt(ledger: Ledger) -> None:
    ledger.start_attempt("t1", 1, {})
    assert ledger.finish_attempt("t1", 1, "completed", artefacts={"best": "t1/attempt-1/best"})
    assert not ledger.finish_attempt("t1", 1, "failed")
    assert not ledger.record_epoch("t1", 1, 1, {})
    assert ledger.attempts("t1")[0].artefacts == {"best": "t1/attempt-1/best"}
    assert ledger.status("t1") == "completed"


def test_an_epoch_is_stored_once(ledger: Ledger) -> None:
    ledger.start_attempt("t1", 1, {})
    assert ledger.record_epoch("t1", 1, 1, {"loss": 0.5})
    assert ledger.record_epoch("t1", 1, 1, {"loss": 0.7})
    ledger.start_attempt("t1", 2, {})
    assert ledger.record_epoch("t1", 2, 2, {"loss": 0.3})
    assert ledger.epochs("t1") == [{"loss": 0.5}, {"loss": 0.3}]
    assert ledger.epoch_counts() == {"t1": 2}


def test_finish_and_evaluations_commit_together_or_not_at_all(ledger: Ledger) -> None:
    ledger.start_attempt("t1", 1, {})
    stranger = dataclasses.replace(EVALUATION, evaluation_id="e2", trial_id="nobody")
    with pytest.raises(sqlite3.IntegrityError):
        ledger.finish_attempt("t1", 1, "completed", evaluations=[EVALUATION, stranger])
    assert ledger.status("t1") == "running"
    assert ledger.evaluations() == []
    assert ledger.finish_attempt("t1", 1, "completed", evaluations=[EVALUATION])
    assert ledger.evaluations() == [EVALUATION]


def test_a_number_that_is_not_finite_is_never_stored(ledger: Ledger) -> None:
    ledger.start_attempt("t1", 1, {})
    with pytest.raises(ValueError, match="JSON"):
        ledger.record_epoch("t1", 1, 1, {"loss": float("nan")})
    assert ledger.epochs("t1") == []


@pytest.mark.parametrize(
    "change",
    [
        {"corpus_id": "another", "config_id": "c2"},
        {"config_id": "c2"},
        {"dataset": "other name"},
        {"spec_id": "s2"},
    ],
    ids=["corpus changed", "annotations changed", "renamed", "encoder renamed"],
)
def test_one_name_for_two_contents_is_refused(ledger: Ledger, change: dict[str, str]) -> None:
    with pytest.raises(InputError, match="one name for one content"):
        ledger.register_trials([dataclasses.replace(TRIAL, trial_id="t2", seed=2, **change)])
    assert ledger.trials() == [TRIAL]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"corpus_id": "another", "config_id": "c2"}, "corpus was 'corpus' and is 'another'"),
        ({"encoder_id": "e2", "config_id": "c2"}, "encoder was 'encoder' and is 'e2'"),
        ({"config_id": "c2"}, "the annotations differ"),
        ({"spec_id": "s2", "config": {"encoder": {"name": "/new"}}}, "encoder.name was '/old' and is '/new'"),
    ],
)
def test_refusal_says_what_differs(ledger: Ledger, change: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=rf"under another: {said};"):
        ledger.register_trials([dataclasses.replace(TRIAL, trial_id="t2", seed=2, **change)])


def test_lock_holds_under_every_name_of_the_file(ledger: Ledger, path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(InputError, match="another process is writing"):
        Ledger.open(tmp_path / "link")
    ledger.start_attempt("t1", 1, {})
    with Ledger.open(tmp_path / "link", read_only=True) as reader:
        assert reader.status("t1") == "running"
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith("link")] == ["link"]


def test_lock_tells_whether_somebody_writes(path: Path) -> None:
    assert not is_being_written(path)
    with Ledger.open(path):
        assert is_being_written(path)
    assert not is_being_written(path)


def test_writer_waits_for_a_reader_that_looks_whether_somebody_writes(path: Path) -> None:
    Ledger.open(path).close()
    with path.with_name(path.name + ".lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        has_looked = threading.Event()

        def go() -> None:
            has_looked.set()
            fcntl.flock(looking, fcntl.LOCK_UN)

        threading.Timer(0.2, go).start()
        with Ledger.open(path):
            assert has_looked.is_set()
            assert is_being_written(path)


@pytest.mark.parametrize("how", ["write", "read", "read or empty"])
def test_name_that_cannot_be_is_one_line(tmp_path: Path, how: str) -> None:
    opens = {
        "write": Ledger.open,
        "read": lambda path: Ledger.open(path, read_only=True),
        "read or empty": Ledger.read_or_empty,
    }
    with pytest.raises(InputError, match="too long"):
        opens[how](tmp_path / ("x" * 300))


def test_failed_evaluation_gives_way_to_scores_and_scores_stay(ledger: Ledger) -> None:
    failed = dataclasses.replace(EVALUATION, scores=[], coverage={}, error="boom")
    for row, kept in ((failed, failed), (EVALUATION, EVALUATION), (failed, EVALUATION)):
        ledger.record_evaluation(row)
        assert ledger.evaluations() == [kept]


def test_folds_of_one_dataset_may_differ_in_content(ledger: Ledger) -> None:
    rows = [
        dataclasses.replace(TRIAL, trial_id=f"f{k}", fold=k, corpus_id=f"k{k}", config_id=f"ck{k}")
        for k in range(2)
    ]
    ledger.register_trials(rows)
    assert ledger.trials() == [TRIAL, *rows]


def test_second_writer_gets_one_clear_line_and_leaves_the_first_alone(ledger: Ledger, path: Path) -> None:
    with pytest.raises(InputError, match=rf"another process is writing \(pid {os.getpid()}\)"):
        Ledger.open(path)
    ledger.start_attempt("t1", 1, {})


def test_lock_is_free_after_close_and_after_a_kill(path: Path) -> None:
    Ledger.open(path).close()
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom tune.ledger.ledger import Ledger\n"
        "ledger = Ledger.open(Path(sys.argv[1]))\nledger.record_imported({'k': {'a': 1}})\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        with pytest.raises(InputError, match=f"pid {holder.pid}"):
            Ledger.open(path)
        holder.send_signal(signal.SIGKILL)
    with Ledger.open(path, read_only=True) as reader:
        assert reader.imported() == {"k": {"a": 1}}
    with Ledger.open(path) as writer:
        assert writer.imported() == {"k": {"a": 1}}


def test_reader_sees_commits_of_a_live_writer_and_cannot_write(ledger: Ledger, path: Path) -> None:
    ledger.start_attempt("t1", 1, {})
    with Ledger.open(path, read_only=True) as reader:
        assert reader.status("t1") == "running"
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._connection.execute("DELETE FROM trial")
        with pytest.raises(sqlite3.OperationalError):
            reader.register_trials([dataclasses.replace(TRIAL, trial_id="t2", seed=2)])
    assert ledger.trials() == [TRIAL]


def test_all_that_is_read_is_of_one_moment(ledger: Ledger, path: Path) -> None:
    with Ledger.open(path, read_only=True) as reader:
        before = reader.trials()
        ledger.register_trials([dataclasses.replace(TRIAL, trial_id="t2", seed=2)])
        ledger.start_attempt("t1", 1, {})
        assert reader.trials() == before
        assert reader.status("t1") == "planned"
    with Ledger.open(path, read_only=True) as reader:
        assert len(reader.trials()) == len(before) + 1
        assert reader.status("t1") == "running"


def test_read_only_open_changes_no_file(path: Path) -> None:
    with Ledger.open(path) as writer:
        writer.register_trials([TRIAL])
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    with Ledger.open(path, read_only=True) as reader:
        assert reader.trials() == [TRIAL]
        assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_missing_file_is_never_made_by_a_reader(path: Path) -> None:
    with pytest.raises(InputError, match="no such ledger"):
        Ledger.open(path, read_only=True)
    with Ledger.read_or_empty(path) as empty:
        assert empty.trials() == []
    assert not path.parent.exists()


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_is_no_ledger_is_refused_untouched(tmp_path: Path, read_only: bool) -> None:
    text, database = tmp_path / "text", tmp_path / "database"
    text.write_text("no database " * 500)
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()
    for file in (text, database):
        before = file.read_bytes()
        with pytest.raises(InputError, match=r"ledger.*name another file"):
            Ledger.open(file, read_only=read_only)
        assert file.read_bytes() == before


@pytest.mark.parametrize("read_only", [True, False])
def test_newer_version_is_refused(path: Path, read_only: bool) -> None:
    Ledger.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(InputError, match=r"newer lai-tune .*version 99"):
        Ledger.open(path, read_only=read_only)


def test_counts_per_document_are_read_apart(ledger: Ledger) -> None:
    counts = [{"task": "NER", "protocol": "pure", "labels": ["X"], "counts": [[1, 2, 1], [0, 0, 0]]}]
    ledger.register_trials([TRIAL])
    row = EvaluationRow(
        evaluation_id="e", trial_id=TRIAL.trial_id, upstream_trial_id=None, split="test",
        entities="predicted", scores=[], documents=counts,
    )  # fmt: skip
    for _ in range(2):
        ledger.record_evaluation(row)
    assert ledger.documents("e") == counts
    assert ledger.documents("other") == []
    assert [item.documents for item in ledger.evaluations()] == [[]]


def test_event_number_is_taken_once(ledger: Ledger) -> None:
    event = SearchEvent("s", 0, "begin", {}, {})
    ledger.record_search_event(event)
    with pytest.raises(sqlite3.IntegrityError):
        ledger.record_search_event(event)


def test_evaluations_come_by_trial_and_those_that_failed_by_their_error(ledger: Ledger) -> None:
    ledger.start_attempt("t1", 1, {})
    assert ledger.finish_attempt("t1", 1, "completed", evaluations=[EVALUATION])
    ledger.record_evaluation(dataclasses.replace(EVALUATION, evaluation_id="a0", scores=[], error="boom"))
    assert [item.evaluation_id for item in ledger.each_evaluation(by_trial=True)] == ["a0", "e1"]
    assert [(row.trial_id, row.error) for row in ledger.failed_evaluations()] == [("t1", "boom")]


def test_ledger_keeps_probes(tmp_path: Path) -> None:
    row = probe_row(Trial("t", "a", 0.3, 0.3), "A100")
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.record_probe(row)
        ledger.record_probe(row)
        assert ledger.probes() == {(row.shape_id, "A100"): row}

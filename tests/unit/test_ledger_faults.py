"""A ledger on a full disk, on a network, damaged, of an old version; and answers that come too late."""

import contextlib
import errno
import fcntl
import resource
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lai_net.config import TrialConfig
from lai_net.errors import DivergedError, InputError
from tests.benchmarks.simulated import Trial, probe_row
from tests.unit.rows import trial_row
from tune import fault_points
from tune.engine import Message, attempt_messages, failure
from tune.execution import Execution
from tune.ledger import file as ledger_file
from tune.ledger.file import MissingLedgerError, is_being_written, is_on_network
from tune.ledger.ledger import Ledger
from tune.ledger.rows import SearchEvent
from tune.planning.jobs import Training
from tune.planning.plan import IdentifiedTrial
from tune.task_spec import CorpusSource

ASSETS = Path(__file__).parents[1] / "assets"
TRIAL = trial_row(trial_id="t1", config_id="c1", spec_id="s1", dataset="toy", config={"phase": "NER"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with one finished trial."""
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        ledger.register_trials([TRIAL])
        ledger.start_attempt("t1", 1, {"host": "a"})
        for epoch in range(1, 60):
            ledger.record_epoch("t1", 1, epoch, {"epoch": epoch, "dev": {"f1": 0.5}, "text": "x" * 200})
        ledger.finish_attempt("t1", 1, "completed")
    return path


def sql(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


def journal_mode(path: Path) -> str:
    connection = sqlite3.connect(path)
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    return str(mode)


def test_a_full_disk_is_one_line_and_loses_nothing(path: Path) -> None:
    with Ledger.open(path) as ledger:
        (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
        ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(InputError, match=r"ledger\.sqlite: the disk is full; .* the same call resumes"):
            ledger.record_imported({str(number): {"text": "y" * 4000} for number in range(40)})
        assert ledger.imported() == {}
        ledger._connection.execute("PRAGMA max_page_count = 100000")
        ledger.record_imported({"k": {}})
    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.imported() == {"k": {}}
        assert ledger.status("t1") == "completed"


LIMIT = r"ledger\.sqlite: no room for more by a quota .*see df and quota, then the same call resumes"


@contextlib.contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """No file may grow beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_limit_to_a_files_size_is_one_line_and_loses_nothing(path: Path) -> None:
    with Ledger.open(path) as ledger:
        with (
            largest_file(path.stat().st_size),
            pytest.raises(InputError, match=LIMIT),
        ):
            ledger.record_imported({str(number): {"text": "y" * 4000} for number in range(40)})
        assert ledger.imported() == {}
        ledger.record_imported({"k": {}})
    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.imported() == {"k": {}}
        assert ledger.status("t1") == "completed"


def test_a_new_ledger_beyond_a_limit_to_a_files_size_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with largest_file(16384), pytest.raises(InputError, match=LIMIT):
        Ledger.open(path)
    with Ledger.open(path) as ledger:
        ledger.register_trials([TRIAL])


def test_a_quota_that_the_system_tells_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with monkeypatch.context() as refusing:
        refusing.setattr(ledger_file.os, "ftruncate", refuse)
        with pytest.raises(InputError, match=LIMIT):
            Ledger.open(tmp_path / "ledger.sqlite")
    Ledger.open(tmp_path / "ledger.sqlite").close()


def test_a_damaged_page_is_found_before_anything_is_written(path: Path) -> None:
    content = bytearray(path.read_bytes())
    (root,) = (
        sqlite3.connect(path).execute("SELECT rootpage FROM sqlite_schema WHERE name = 'epoch'").fetchone()
    )
    start = (root - 1) * 4096
    content[start : start + 200] = bytes(range(200))
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"ledger\.sqlite.*damaged.*\.recover"):
        Ledger.open(path)
    assert path.read_bytes() == content


def test_a_row_without_json_is_named(path: Path) -> None:
    sql(path, "UPDATE epoch SET report = '{\"epoch\": 7' WHERE epoch = 7")
    said = r"ledger\.sqlite: row trial_id t1, attempt 1, epoch 7: is damaged \(no JSON in report\)"
    with pytest.raises(InputError, match=said):
        Ledger.open(path)
    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.status("t1") == "completed"
        for read in (
            lambda: ledger.epochs("t1"),
            ledger.epoch_times,
            lambda: list(ledger.epoch_values(["dev.f1"])),
        ):
            with pytest.raises(InputError, match=said):
                read()


@pytest.mark.parametrize(
    ("table", "column", "read"),
    [("trial", "config", Ledger.trials), ("attempt", "provenance", Ledger.all_attempts)],
)
def test_other_tables_likewise(path: Path, table: str, column: str, read) -> None:
    sql(path, f"UPDATE {table} SET {column} = 'x'")
    with (
        Ledger.open(path, read_only=True) as ledger,
        pytest.raises(InputError, match=rf"row trial_id t1.*no JSON in {column}"),
    ):
        read(ledger)


def test_a_row_that_refers_to_nothing_is_found(path: Path) -> None:
    sql(path, "DELETE FROM trial")
    with pytest.raises(InputError, match="a row of attempt refers to a missing row of trial"):
        Ledger.open(path)


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_a_ledger_of_an_old_version_is_read_and_brought_up(tmp_path: Path, version: int) -> None:
    path, asset = tmp_path / "ledger.sqlite", ASSETS / f"ledger-v{version}.sqlite"
    shutil.copy(asset, path)

    def told(ledger: Ledger) -> tuple:
        return (
            ledger.trials(), ledger.all_attempts(), ledger.epochs("t1"), ledger.evaluations(),
            ledger.imported(), ledger.search_events("s"), ledger.documents("e1"),
            ledger.failed_evaluations(), ledger.probes(),
        )  # fmt: skip

    with Ledger.open(path, read_only=True) as old:
        before = told(old)
    assert path.read_bytes() == asset.read_bytes(), "a reader migrates nothing"
    assert [row.trial_id for row in before[0]] == ["t1", "t2"]
    assert before[1]["t2"][-1].status == "running"
    assert [event.kind for event in before[5]] == ([] if version == 1 else ["begin"])
    assert bool(before[6]) == (version >= 3)
    assert {item.failure for item in before[1]["t1"]} == {None}, "not recorded then"
    event, probe = SearchEvent("later", 0, "begin", {"spread": []}, {}), probe_row(Trial("t", "a", 0.3, 0.3))
    with Ledger.open(path) as new:
        assert told(new) == before
        assert new.next_attempt("t2") == 2
        new.record_search_event(event)
        new.record_probe(probe)
        assert new.search_events("later") == [event]
        assert probe in new.probes().values()
    assert schema(path) == schema_of_new(tmp_path)


def test_a_ledger_without_tables_is_one_that_nothing_was_recorded_in(tmp_path: Path) -> None:
    """Whoever is killed while it lays out a new file leaves that."""
    path = tmp_path / "ledger.sqlite"
    path.touch()
    with pytest.raises(
        MissingLedgerError, match=r"ledger\.sqlite: nothing was recorded in it yet; call `lai run`"
    ):
        Ledger.open(path, read_only=True)
    with Ledger.read_or_empty(path) as ledger:
        assert ledger.trials() == []
    assert path.read_bytes() == b""
    with Ledger.open(path) as ledger:
        ledger.register_trials([TRIAL])


def test_another_programs_file_without_tables_is_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    sql(path, "PRAGMA application_id = 7")
    content = path.read_bytes()
    for read_only in (True, False):
        with pytest.raises(InputError, match=r"other\.sqlite: an SQLite file, but not a ledger"):
            Ledger.open(path, read_only=read_only)
    assert path.read_bytes() == content


FULL = r"ledger\.sqlite: the disk is full; .* the same call resumes"


@pytest.mark.parametrize("point", ["ledger.create", "ledger.migrate"])
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_disk_that_is_full_when_a_ledger_is_laid_out_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, side: str
) -> None:
    path = tmp_path / "ledger.sqlite"
    if point == "ledger.migrate":
        shutil.copy(ASSETS / "ledger-v1.sqlite", path)
    with monkeypatch.context() as armed:
        armed.setattr(fault_points, "_visits", 0)
        armed.setenv(fault_points.VARIABLE, f"{point}.{side}_commit:raise-enospc")
        with pytest.raises(InputError, match=FULL):
            Ledger.open(path)
    Ledger.open(path).close()


@pytest.mark.parametrize("there", ["nothing", "lock", "ledger"])
def test_a_ledger_on_a_full_disk_is_one_line_and_the_same_call_resumes(
    mount_disk: Callable[..., Path], there: str
) -> None:
    disk = mount_disk("disk", 512)
    path, filler = disk / "ledger.sqlite", disk / "filler"
    if there == "lock":
        path.with_name("ledger.sqlite.lock").touch()
    if there == "ledger":
        Ledger.open(path).close()
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(InputError, match=FULL):
        Ledger.open(path)
    filler.unlink()
    with Ledger.open(path) as ledger:
        ledger.register_trials([TRIAL])


def schema(path: Path) -> list[tuple]:
    connection = sqlite3.connect(path)
    query = "SELECT t.name, c.* FROM pragma_table_list t, pragma_table_info(t.name) c ORDER BY t.name, c.cid"
    found = [*connection.execute(query), *connection.execute("PRAGMA user_version")]
    connection.close()
    return found


def schema_of_new(folder: Path) -> list[tuple]:
    Ledger.open(folder / "new.sqlite").close()
    return schema(folder / "new.sqlite")


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export {root} {kind} rw 0 0
/dev/sdb1 {root}/scratch ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("nfs4", True),
        ("cifs", True),
        ("fuse.sshfs", True),
        ("lustre", True),
        ("ext4", False),
        ("overlay", False),
    ],
)
def test_a_network_file_system_is_told_by_the_innermost_mount(tmp_path, monkeypatch, kind, expected) -> None:
    root = tmp_path / "a b"
    (root / "scratch").mkdir(parents=True)
    table = tmp_path / "mounts"
    table.write_text(MOUNTS.format(root=str(root).replace(" ", "\\040"), kind=kind))
    monkeypatch.setattr(ledger_file, "MOUNTS", table)
    assert is_on_network(root / "runs" / "ledger.sqlite") == expected
    assert not is_on_network(root / "scratch" / "ledger.sqlite")
    assert not is_on_network(tmp_path / "ledger.sqlite")
    table.unlink()
    assert not is_on_network(root / "ledger.sqlite"), "no Linux"


def test_on_a_network_a_ledger_has_no_wal_and_is_read_while_it_is_written(path: Path, monkeypatch) -> None:
    assert journal_mode(path) == "wal"
    monkeypatch.setattr(ledger_file, "is_on_network", lambda _: True)
    with Ledger.open(path) as writer:
        writer.record_imported({"a": {}})
        assert [file.name for file in path.parent.glob("*-wal")] == []
        with Ledger.open(path, read_only=True) as reader:
            assert reader.imported() == {"a": {}}
            writer.record_imported({"b": {}})
            assert reader.imported() == {"a": {}, "b": {}}, "what a writer adds is seen"
    assert journal_mode(path) == "delete"
    monkeypatch.setattr(ledger_file, "is_on_network", lambda _: False)
    Ledger.open(path).close()
    assert journal_mode(path) == "wal"


def test_a_commit_that_a_kill_cut_is_told_to_readers_and_taken_back_by_a_writer(path: Path, monkeypatch):
    monkeypatch.setattr(ledger_file, "is_on_network", lambda _: True)
    cut = path.with_name("cut.sqlite")
    with Ledger.open(path) as writer:
        before = writer.epochs("t1")
        writer._connection.execute("PRAGMA cache_size = 1")  # so that it begins to write before the commit
        writer._connection.execute("BEGIN IMMEDIATE")
        writer._connection.execute("UPDATE epoch SET report = json_set(report, '$.loss', 1)")
        for end in ("", "-journal"):
            shutil.copy(f"{path}{end}", f"{cut}{end}")
        writer._connection.execute("ROLLBACK")
    for _ in range(2):
        with pytest.raises(InputError, match=r"cut\.sqlite: its last writer was killed .*`lai run` again"):
            Ledger.open(cut, read_only=True)
    with Ledger.open(cut) as writer:
        assert writer.epochs("t1") == before
    with Ledger.open(cut, read_only=True) as reader:
        assert reader.epochs("t1") == before


def test_a_file_system_without_locks_is_refused(path: Path, monkeypatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(InputError, match=r"no locks \(No locks available\).*local disk"):
        Ledger.open(path)
    assert not is_being_written(path), "a reader is not bothered"


@pytest.fixture
def execution(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.register_trials([TRIAL])
        corpora = {("toy", None): CorpusSource(source="embedded", name="toy", content_id="x")}
        yield Execution(ledger, tmp_path, corpora, 0)


def completed(f1: float) -> Message:
    rows = [{"split": "test", "entities": "predicted", "scores": [{"f1": f1}], "coverage": {}}]
    return Message("completed", {"evaluations": rows, "cpu_s": 1.0, "wall_s": f1})


LATE = [
    Message("epoch", {"epoch": 1, "dev": {"f1": 0.9}}),
    completed(0.9),
    failure("late", retryable=True),
    Message("stopped"),
]


@pytest.mark.parametrize("late", LATE, ids=[message.event for message in LATE])
@pytest.mark.parametrize("is_over", [False, True], ids=["the later try runs", "the later try is done"])
def test_a_worker_that_answers_after_its_trial_was_given_away_is_not_heard(
    execution, tmp_path, late, is_over
) -> None:
    ledger, job = execution.ledger, Training(IdentifiedTrial(TRIAL, TrialConfig(phase="NER")))
    first = execution.make_task(job)
    execution.record(first, Message("started", {"pid": 1}))
    execution.record(first, failure("no word for 1 minutes", retryable=True))
    second = execution.make_task(job)
    execution.record(second, Message("started", {"pid": 2}))
    files = tmp_path / "artifacts" / "t1" / "attempt-2" / "best"
    files.mkdir(parents=True)
    if is_over:
        execution.record(second, completed(0.5))
    before = ledger.all_attempts(), ledger.epochs("t1"), ledger.evaluations()
    execution.record(first, late)
    assert (ledger.all_attempts(), ledger.epochs("t1"), ledger.evaluations()) == before
    assert files.exists()
    if not is_over:
        execution.record(second, completed(0.5))
    assert ledger.status("t1") == "completed"
    assert [row.scores for row in ledger.evaluations()] == [[{"f1": 0.5}]]


def test_a_diverged_training_has_no_score_and_is_not_tried_again() -> None:
    def diverge(_: str):
        yield Message("started")
        raise DivergedError("loss is nan at step 3 of epoch 1; lower the learning rates")

    last = Message.from_json(list(attempt_messages(diverge, ""))[-1])
    assert last.event == "failed"
    assert not last.content["retryable"]
    assert last.content["error"].strip().splitlines()[-1].endswith("lower the learning rates")


def test_want_of_device_memory_is_tried_again_whoever_names_it() -> None:
    def run_out(_: str):
        yield Message("started")
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")

    last = Message.from_json(list(attempt_messages(run_out, ""))[-1])
    assert (last.content["kind"], last.content["retryable"]) == ("memory", True)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_ledger_of_no_version_is_refused(tmp_path: Path, *, read_only: bool) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 0")
    connection.close()
    with pytest.raises(InputError, match="not a ledger"):
        Ledger.open(path, read_only=read_only)

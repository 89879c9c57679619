"""A search that is killed, paused, grown or tampered with: its log goes on, or says what is wrong."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from lai_net.errors import InputError
from tests.drills.playing import DRIVER
from tests.integration.searching import HEAD, SEARCH, attempts, events, folder, lai
from tests.integration.standing_in import drill, run, unwatched
from tune.commands.running import execute_study
from tune.engine import SerialEngine
from tune.ledger.ledger import Ledger
from tune.preparation import prepare
from tune.search.log import DecisionLog

pytestmark = pytest.mark.usefixtures("fast_search")


class Crash(Exception):
    pass


@pytest.mark.parametrize("moment", ["before the log", "after the log"])
def test_wherever_it_crashes_the_log_ends_as_that_of_an_unbroken_run(
    search_study, tmp_path, monkeypatch, moment
):
    unbroken = folder(tmp_path, "a")
    assert run(search_study, unbroken) == 0
    expected = events(search_study, unbroken)
    assert {event.kind for event in expected} == {"begin", "suggest", "epoch", "done", "choose", "confirm"}
    assert {event.decided.get("verdict") for event in expected} >= {"stop", "continue"}
    decide, broken = DecisionLog.decide, folder(tmp_path, "b")
    left = [0]

    def crash(log: DecisionLog, kind: str, **given: object) -> dict:
        left[0] -= 1
        if left[0] == 0 and moment == "before the log":
            raise Crash
        decided = decide(log, kind, **given)
        if left[0] == 0:
            raise Crash
        return decided

    monkeypatch.setattr(DecisionLog, "decide", crash)
    moments = random.Random(5)
    for _ in range(300):
        left[0] = moments.randint(1, 12)
        with contextlib.suppress(Crash):
            run(search_study, broken)
            break
    assert events(search_study, broken) == expected
    for statuses in attempts(broken).values():
        assert not {"completed", "pruned"} & set(statuses[:-1]), "nothing that had ended was trained again"
    assert max(map(len, attempts(broken).values())) > 1, "no crash hit a running trial"


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("engine", "kills", "trials"),
    [("serial", 4, 24), pytest.param("ray", 1, 8, marks=pytest.mark.ray)],
    ids=["serial", "ray"],
)
def test_killed_driver_goes_on_with_the_same_decisions(
    search_study, tmp_path, monkeypatch, engine, kills, trials
):
    search_study.write_text((HEAD + SEARCH).replace("trials = 24", f"trials = {trials}"))
    with tempfile.TemporaryDirectory(prefix="d", dir="/tmp", ignore_cleanup_errors=True) as short:
        monkeypatch.setenv("TMPDIR", short)
        ledger = folder(tmp_path, "b")
        moments = random.Random(20261122)
        for _ in range(kills):
            before = events(search_study, ledger)
            kill_after(
                start(search_study, ledger, engine),
                search_study,
                ledger,
                len(before) + moments.randint(5, 20),
            )
            assert events(search_study, ledger)[: len(before)] == before
        before = events(search_study, ledger)
        _, err = (process := start(search_study, ledger, engine)).communicate(timeout=90)
        assert process.returncode == 0, err
    assert events(search_study, ledger)[: len(before)] == before
    for statuses in attempts(ledger).values():
        assert not {"completed", "pruned"} & set(statuses[:-1])
    assert ", 0 differ" in lai("replay", search_study, "--ledger", ledger).stdout
    if engine == "serial":  # side by side, the order of arrival is chance
        unbroken = folder(tmp_path, "a")
        run(search_study, unbroken)
        assert events(search_study, ledger) == events(search_study, unbroken)


def start(study: Path, ledger: Path, engine: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(DRIVER), str(study), str(ledger), engine],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def kill_after(process: subprocess.Popen[str], study: Path, ledger: Path, length: int) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and len(events(study, ledger)) < length and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_finished_search_starts_nothing_and_a_larger_budget_goes_on(search_study, tmp_path, capsys):
    ledger = tmp_path / "ledger.sqlite"
    run(search_study, ledger)
    first = events(search_study, ledger)
    assert run(search_study, ledger, executor=lambda _: pytest.fail("a trial was started")) == 0
    assert events(search_study, ledger) == first
    search_study.write_text(
        (HEAD + SEARCH).replace("trials = 24", "trials = 30").replace("best = 2", "best = 3")
    )
    assert run(search_study, ledger) == 0
    grown = events(search_study, ledger)
    assert grown[: len(first)] == first
    assert [event.kind for event in grown].count("choose") == 2
    assert "confirmed: dev F1" in capsys.readouterr().out


def test_more_to_confirm_needs_no_further_suggestion(search_study, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    run(search_study, ledger)
    search_study.write_text((HEAD + SEARCH).replace("seeds = 3", "seeds = 4"))
    run(search_study, ledger)
    log = events(search_study, ledger)
    last = [event.kind for event in log][-3:]
    assert last == ["choose", "confirm", "confirm"]
    assert [event.decided["n"] for event in log[-2:]] == [4, 4]


@pytest.mark.parametrize(
    ("kind", "column", "old", "new", "said"),
    [
        ("epoch", "decided", '"continue"', '"stop"', "(epoch): was"),
        ("epoch", "given", '"score":0.', '"score":0.0', "score"),
        ("suggest", "given", '"training.head_lr":0.00', '"training.head_lr":0.000', "(suggest): params"),
        ("confirm", "decided", '"n":3', '"n":30', "(confirm)"),
        ("choose", "decided", '"reason":"trials"', '"reason":"epochs"', "(choose)"),
    ],
)
def test_replay_finds_what_was_changed_in_the_log(search_study, tmp_path, kind, column, old, new, said):
    ledger = tmp_path / "ledger.sqlite"
    run(search_study, ledger)
    assert ", 0 differ" in lai("replay", search_study, "--ledger", ledger).stdout
    connection = sqlite3.connect(ledger)
    (number,) = connection.execute(
        f"SELECT number FROM search_event WHERE kind = ? AND instr({column}, ?) ORDER BY number LIMIT 1",
        (kind, old),
    ).fetchone()
    connection.execute(
        f"UPDATE search_event SET {column} = replace({column}, ?, ?) WHERE number = ?", (old, new, number)
    )
    connection.commit()
    connection.close()
    result = lai("replay", search_study, "--ledger", ledger)
    assert result.exit_code == 1
    assert said in result.stdout
    if column == "decided":
        with pytest.raises(InputError, match="does not replay"):
            run(search_study, ledger)


def test_lost_event_is_noticed(search_study, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    run(search_study, ledger)
    connection = sqlite3.connect(ledger)
    connection.execute("DELETE FROM search_event WHERE number = 7")
    connection.commit()
    connection.close()
    assert "event 7 is missing" in lai("replay", search_study, "--ledger", ledger).stdout


def test_spent_wall_clock_pauses_a_search(search_study, tmp_path, capsys):
    ledger = tmp_path / "ledger.sqlite"
    with Ledger.open(ledger) as opened:
        make_engine = lambda: contextlib.nullcontext(SerialEngine(drill.execute))  # noqa: E731
        assert (
            execute_study(prepare(str(search_study), []), opened, tmp_path, make_engine, 0.0, unwatched) == 3
        )
    assert "the budget is spent" in capsys.readouterr().out
    assert run(search_study, ledger) == 0

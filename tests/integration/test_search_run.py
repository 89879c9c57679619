"""A search through the whole driver: kills, replays, what the ledger answers, what tables make of it."""

import contextlib
import importlib.util
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from typer.testing import CliRunner, Result

from analysis.frame import load
from lai_net.errors import InputError
from tune.cli import app
from tune.engine import SerialEngine
from tune.ledger import Ledger, SearchEvent
from tune.run_command import execute_study, prepare
from tune.search.log import DecisionLog
from tune.search.plan import plan_search
from tune.study import load_study

DRILL = Path(__file__).with_name("drill.py")
_spec = importlib.util.spec_from_file_location("drill", DRILL)
drill = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(drill)

HEAD = """
name = "drill"
seeds = [1, 2]
[[datasets]]
name = "demo"
corpus = "embedded"
[datasets.ner]
preset = "demo-ner"
set = { "training.epochs" = 5 }
"""
SEARCH = """
[search]
phase = "NER"
seeds_per_config = 2
[search.space]
"training.head_lr" = { log = [1e-4, 1e-2] }
"graph.layers" = { int = [0, 2] }
"graph.heads" = { choice = [1, 2, 4] }
[search.scheduler]
reduction_factor = 2
noise_margin = 0.5
[search.budget]
trials = 24
[search.confirm]
best = 2
seeds = 3
"""
GRID = """
[search]
phase = "NER"
sampler = "grid"
seeds_per_config = 2
[search.space]
"graph.layers" = { int = [0, 2] }
[search.scheduler]
noise_margin = 0.0
[search.confirm]
best = 1
seeds = 2
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(HEAD + SEARCH)
    return path


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "EPOCH_S", 0)
    monkeypatch.setattr(
        "tune.run_command.wait_for_orphans", lambda attempts: 0
    )  # it would wait for ourselves


def run(study: Path, ledger: Path, executor=drill.execute) -> int:
    with Ledger.open(ledger) as opened:
        engine = SerialEngine(executor, poll_s=0.001)
        return execute_study(
            prepare(str(study), []), opened, ledger.parent, lambda: contextlib.nullcontext(engine)
        )


def events(study: Path, ledger: Path) -> list[SearchEvent]:
    try:
        with Ledger.open(ledger, read_only=True) as opened:
            return opened.search_events(plan_search(load_study(study)).search_id)
    except (InputError, sqlite3.Error):  # not there yet, or just being created
        return []


def folder(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name / "ledger.sqlite"


def lai(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def attempts(ledger: Path) -> dict[str, list[str]]:
    with Ledger.open(ledger, read_only=True) as opened:
        return {
            row.trial_id: [item.status for item in opened.attempts(row.trial_id)] for row in opened.trials()
        }


class Crash(Exception):
    pass


@pytest.mark.parametrize("moment", ["before the log", "after the log"])
def test_wherever_it_crashes_the_log_ends_as_that_of_an_unbroken_run(study, tmp_path, monkeypatch, moment):
    unbroken = folder(tmp_path, "a")
    assert run(study, unbroken) == 0
    expected = events(study, unbroken)
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
            run(study, broken)
            break
    assert events(study, broken) == expected
    for statuses in attempts(broken).values():
        assert not {"completed", "pruned"} & set(statuses[:-1]), "nothing that had ended was trained again"
    assert max(map(len, attempts(broken).values())) > 1, "no crash hit a running trial"


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("engine", "kills"), [("serial", 4), pytest.param("ray", 1, marks=pytest.mark.ray)], ids=["serial", "ray"]
)
def test_killed_driver_goes_on_with_the_same_decisions(study, tmp_path, monkeypatch, engine, kills):
    with tempfile.TemporaryDirectory(prefix="d", dir="/tmp", ignore_cleanup_errors=True) as short:
        monkeypatch.setenv("TMPDIR", short)
        ledger = folder(tmp_path, "b")
        moments = random.Random(20261122)
        for _ in range(kills):
            before = events(study, ledger)
            kill_after(start(study, ledger, engine), study, ledger, len(before) + moments.randint(5, 20))
            assert events(study, ledger)[: len(before)] == before
        before = events(study, ledger)
        _, err = (process := start(study, ledger, engine)).communicate(timeout=90)
        assert process.returncode == 0, err
    assert events(study, ledger)[: len(before)] == before
    for statuses in attempts(ledger).values():
        assert not {"completed", "pruned"} & set(statuses[:-1])
    assert ", 0 differ" in lai("replay", study, "--ledger", ledger).stdout
    if engine == "serial":  # side by side, the order of arrival is chance
        unbroken = folder(tmp_path, "a")
        run(study, unbroken)
        assert events(study, ledger) == events(study, unbroken)


def start(study: Path, ledger: Path, engine: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(DRILL), str(study), str(ledger), engine],
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


def test_finished_search_starts_nothing_and_a_larger_budget_goes_on(study, tmp_path, capsys):
    ledger = tmp_path / "ledger.sqlite"
    run(study, ledger)
    first = events(study, ledger)
    assert run(study, ledger, executor=lambda _: pytest.fail("a trial was started")) == 0
    assert events(study, ledger) == first
    study.write_text((HEAD + SEARCH).replace("trials = 24", "trials = 30").replace("best = 2", "best = 3"))
    assert run(study, ledger) == 0
    grown = events(study, ledger)
    assert grown[: len(first)] == first
    assert [event.kind for event in grown].count("choose") == 2
    assert "confirmed: dev F1" in capsys.readouterr().out


def test_more_to_confirm_needs_no_further_suggestion(study, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    run(study, ledger)
    study.write_text((HEAD + SEARCH).replace("seeds = 3", "seeds = 4"))
    run(study, ledger)
    log = events(study, ledger)
    last = [event.kind for event in log][-3:]
    assert last == ["choose", "confirm", "confirm"]
    assert [event.decided["n"] for event in log[-2:]] == [4, 4]


def test_confirmation_takes_fresh_seeds_at_full_budget(study, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    run(study, ledger)
    log = events(study, ledger)
    searched = {seed for event in log if event.kind == "suggest" for seed, _ in event.given["trials"]}
    confirmed = [event for event in log if event.kind == "confirm"]
    assert len(confirmed) == 2
    for event in confirmed:
        assert not searched & {seed for seed, _ in event.given["scores"]}
        assert event.decided["ci_low"] < event.decided["mean"] < event.decided["ci_high"]
    with Ledger.open(ledger, read_only=True) as opened:
        fresh = [row for row in opened.trials() if row.seed not in searched]
        assert all(len(opened.epochs(row.trial_id)) == 5 for row in fresh)
        assert len(fresh) == 6


def test_trials_of_a_table_answer_a_search_at_once_and_the_other_way_round(tmp_path):
    table, grid, ledger = tmp_path / "table.toml", tmp_path / "grid.toml", tmp_path / "ledger.sqlite"
    table.write_text(HEAD + "[factors]\ngcn_layers = [0, 1, 2]\n")
    grid.write_text(HEAD + GRID)
    run(table, ledger)
    before = attempts(ledger)
    run(grid, ledger)
    log = events(grid, ledger)
    suggested = [event.decided for event in log if event.kind == "suggest"]
    assert [item["state"] for item in suggested] == ["complete"] * 3
    assert [event.kind for event in log].count("epoch") == 0
    after = attempts(ledger)
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + 2, "the confirmation alone was trained"
    assert run(table, ledger, executor=lambda _: pytest.fail("a trial was started")) == 0


def test_stopped_trial_is_no_cell_until_the_table_trains_it_to_its_end(tmp_path):
    table, grid, ledger = tmp_path / "table.toml", tmp_path / "grid.toml", tmp_path / "ledger.sqlite"
    table.write_text(HEAD + "[factors]\ngcn_layers = [0, 1, 2]\n")
    grid.write_text(HEAD + GRID)
    run(grid, ledger)
    frame = load(ledger, table)
    pruned = frame[frame["state"] == "pruned"]
    assert len(pruned) > 0
    assert pruned["f1"].isna().all()
    run(table, ledger)
    assert set(load(ledger, table)["state"]) == {"completed"}


def failing(spec: str) -> Iterator[object]:
    if json.loads(spec)["config"]["graph"]["layers"] == 2:
        raise ValueError("two layers cannot be trained")
    yield from drill.execute(spec)


def test_failed_config_is_named_told_as_no_result_and_counts(tmp_path, capsys):
    grid, ledger = tmp_path / "grid.toml", tmp_path / "ledger.sqlite"
    grid.write_text(HEAD + GRID)
    assert run(grid, ledger, executor=failing) == 1
    assert "two layers cannot be trained" in capsys.readouterr().err
    (failed,) = [event for event in events(grid, ledger) if event.kind == "failed"]
    assert run(grid, ledger) == 0, "one failure is less than the budget of failures"
    assert failed.decided == {"state": "failed"}
    assert failed.given["error"] == "ValueError: two layers cannot be trained"


@pytest.fixture
def finished(study, tmp_path) -> Path:
    """A ledger with a finished search without stops, so that many configs are complete."""
    study.write_text((HEAD + SEARCH).replace("[search.scheduler]", '[search.scheduler]\nname = "none"'))
    ledger = tmp_path / "ledger.sqlite"
    run(study, ledger)
    return ledger


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
def test_replay_finds_what_was_changed_in_the_log(study, tmp_path, kind, column, old, new, said):
    ledger = tmp_path / "ledger.sqlite"
    run(study, ledger)
    assert ", 0 differ" in lai("replay", study, "--ledger", ledger).stdout
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
    result = lai("replay", study, "--ledger", ledger)
    assert result.exit_code == 1
    assert said in result.stdout
    if column == "decided":
        with pytest.raises(InputError, match="does not replay"):
            run(study, ledger)


def test_lost_event_is_noticed(study, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    run(study, ledger)
    connection = sqlite3.connect(ledger)
    connection.execute("DELETE FROM search_event WHERE number = 7")
    connection.commit()
    connection.close()
    assert "event 7 is missing" in lai("replay", study, "--ledger", ledger).stdout


def test_importance_and_export(study, finished, tmp_path):
    shares = json.loads(lai("importance", study, "--ledger", finished, "--json").stdout)
    assert set(shares) == {"training.head_lr", "graph.layers", "graph.heads"}
    assert sum(shares.values()) == pytest.approx(1)
    journal = tmp_path / "journal.log"
    lai("export", study, journal, "--to", "optuna-journal", "--ledger", finished)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    read = optuna.load_study(study_name="drill", storage=storage)
    suggested = [event for event in events(study, finished) if event.kind == "suggest"]
    assert [trial.params for trial in read.trials] == [event.given["params"] for event in suggested]
    complete = [trial for trial in read.trials if trial.state.name == "COMPLETE"]
    assert len(complete) == 12
    assert read.best_value == max(trial.value for trial in complete)
    assert all(len(trial.intermediate_values) == 5 for trial in complete)
    with pytest.raises(InputError, match="is there already"):
        lai("export", study, journal, "--to", "optuna-journal", "--ledger", finished)


def test_importance_of_too_few_is_refused(tmp_path):
    grid, ledger = tmp_path / "grid.toml", tmp_path / "ledger.sqlite"
    grid.write_text(HEAD + GRID)
    run(grid, ledger)
    with pytest.raises(InputError, match="importance needs 10"):
        lai("importance", grid, "--ledger", ledger)


def test_status_and_results_of_a_search(study, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    assert "0 suggestions" in lai("status", study, "--ledger", ledger).stdout
    run(study, ledger)
    text = lai("status", study, "--ledger", ledger).stdout
    assert "confirmed: dev F1" in text
    rows = json.loads(lai("results", study, "--ledger", ledger, "--format", "json").stdout)
    assert {row["status"] for row in rows} == {"completed", "pruned"}
    assert all(row["f1"] is None for row in rows if row["status"] == "pruned")
    assert {row["seed"] for row in rows} == {1, 2, 3, 4, 5}


def test_search_of_re_reports_on_gold_entities(tmp_path):
    study, ledger = tmp_path / "re.toml", tmp_path / "ledger.sqlite"
    text = HEAD.replace("[datasets.ner]", "[datasets.re]").replace("demo-ner", "demo-re")
    study.write_text(text + GRID.replace('phase = "NER"', 'phase = "RE"'))
    assert run(study, ledger) == 0
    rows = json.loads(lai("results", study, "--ledger", ledger, "--format", "json").stdout)
    assert {row["entities"] for row in rows if row["status"] == "completed"} == {"gold"}


def test_plan_says_what_bounds_a_search_and_makes_up_nothing(study, tmp_path):
    content = json.loads(lai("plan", study, "--ledger", tmp_path / "none", "--json").stdout)
    assert content["search"]["space_size"] is None
    assert content["search"]["budget"]["trials"] == 24
    assert content["search"]["rungs"] == [[2, 4]]
    assert content["search"]["confirmation_trials"] == 6
    assert content["estimate"] == {"cpu_s": None, "wall_s": None, "measured": 0}
    assert (content["cells"], content["trials"]) == (0, 0)
    study.write_text(study.read_text().replace("seeds_per_config = 2", "seeds_per_config = 1"))
    assert "no config will be stopped early" in lai("plan", study, "--ledger", tmp_path / "none").stderr


def test_too_many_failures_end_the_search_without_a_confirmation(tmp_path, capsys):
    grid, ledger = tmp_path / "grid.toml", tmp_path / "ledger.sqlite"
    grid.write_text(
        HEAD + GRID.replace("[search.confirm]", "[search.budget]\nfailures = 1\n[search.confirm]")
    )
    assert run(grid, ledger, executor=failing) == 1
    assert "the bound of failures is reached" in capsys.readouterr().out
    assert events(grid, ledger)[-1].decided["chosen"] == []
    assert run(grid, ledger) == 1, "and it stays so until the bound is raised"


def test_spent_wall_clock_pauses_a_search(study, tmp_path, capsys):
    ledger = tmp_path / "ledger.sqlite"
    with Ledger.open(ledger) as opened:
        make_engine = lambda: contextlib.nullcontext(SerialEngine(drill.execute))  # noqa: E731
        assert execute_study(prepare(str(study), []), opened, tmp_path, make_engine, 0.0) == 3
    assert "the budget is spent" in capsys.readouterr().out
    assert run(study, ledger) == 0


def test_heads_that_cannot_divide_the_encoder_are_refused_before_anything_runs(study):
    study.write_text(study.read_text().replace("choice = [1, 2, 4] }", "int = [1, 6] }"))
    with pytest.raises(InputError, match="must divide the width 384 of encoder minilm, but may be 5"):
        prepare(str(study), [])

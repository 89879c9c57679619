"""How a search hands out trials and ends them: concurrency, stops of all seeds, files of what was stopped."""

import json
from pathlib import Path

import pytest

from lai_net.config import TrialConfig
from tests.unit.searching import STUDY, Bench
from tune.engine import Message, Task
from tune.ledger.ledger import Ledger
from tune.planning.jobs import Training
from tune.schedule import Schedule
from tune.search.report import most_trainings


@pytest.fixture
def bench(tmp_path: Path, ledger: Ledger) -> Bench:
    return Bench(tmp_path, ledger)


def test_seeds_of_a_config_go_before_the_next_config(bench):
    keys = [bench.source.next_task().key for _ in range(4)]
    assert keys == ["0.00-1", "0.00-2", "0.01-1", "0.01-2"]


def test_confirmation_chosen_anew_on_the_way_hands_no_trial_out_twice(tmp_path, ledger):
    """Killed in the confirmation, gone on with more to confirm: the old choice is queued, then the new."""
    bench, score, task = Bench(tmp_path, ledger), 0.5, None
    while not bench.source.search.chosen:
        score += 0.01
        if task is not None and bench.epochs(task, score):
            bench.finish(task)
        task = bench.start()
    assert task.key == "0.03-3"
    text = STUDY.replace("best = 1\nseeds = 2", "best = 2\nseeds = 3")
    again, tasks = Bench(tmp_path, ledger, text=text), []
    while (task := again.source.next_task()) is not None:
        again.tell(task, Message("started", {"device": "cpu"}))
        tasks.append(task)
    keys = [task.key for task in tasks]
    assert sorted(keys) == [f"0.0{number}-{seed}" for number in (2, 3) for seed in (3, 4, 5)]
    for task in tasks:
        again.epochs(task, 0.7)
        again.finish(task)
    assert again.source.is_done()
    confirmed = again.source.search.confirmed
    assert {number: found["seeds"] for number, found in confirmed.items()} == {2: [3, 4, 5], 3: [3, 4, 5]}


def confirm_on_three_seeds(tmp_path: Path, ledger: Ledger) -> None:
    """A search to its end: config 3 is confirmed on seeds 3, 4 and 5."""
    bench = Bench(tmp_path, ledger, text=STUDY.replace("seeds = 2\n", "seeds = 3\n"))
    for number in range(4):
        bench.complete_config(0.5 + number / 10)
    for _ in range(3):
        bench.complete_one(0.7)


def test_what_is_confirmed_on_more_seeds_is_not_confirmed_again(tmp_path, ledger):
    confirm_on_three_seeds(tmp_path, ledger)
    sizes = set()
    for _ in range(2):
        again = Bench(tmp_path, ledger)
        assert again.source.next_task() is None
        assert again.source.search.confirmed[3]["seeds"] == [3, 4, 5]
        sizes.add(again.source.log.size)
    assert len(sizes) == 1, "the new choice is logged once, and no confirmation"


def test_a_smaller_confirmation_on_other_seeds_is_logged_once(tmp_path, ledger):
    confirm_on_three_seeds(tmp_path, ledger)
    grown = STUDY.replace("seeds = [1, 2]", "seeds = [1, 2, 3, 4, 5]")
    again = Bench(tmp_path, ledger, text=grown)
    for _ in range(2):
        again.complete_one(0.6)
    assert again.source.is_done()
    ends = [Bench(tmp_path, ledger, text=grown) for _ in range(2)]
    assert {end.source.log.size for end in ends} == {again.source.log.size}
    assert ends[0].source.search.confirmed[3]["seeds"] == [3, 4, 5]
    assert most_trainings(ends[0].plan, ends[0].source.search) == 0


def test_stop_ends_every_seed_of_the_config_and_starts_no_other(bench, ledger, tmp_path):
    good, other = bench.start(), bench.start()
    for task in (good, other):
        bench.epochs(task, 0.9)
        bench.finish(task)
    bad, twin = bench.start(), bench.start()
    for task in (bad, twin):
        (tmp_path / "artifacts" / task.key / "attempt-1").mkdir(parents=True)
    assert bench.epochs(twin, 0.2, last=1), "no rung lies in the cold start"
    assert not bench.epochs(bad, 0.1)
    assert ledger.status(bad.key) == "pruned"
    assert len(ledger.epochs(bad.key)) == 2
    assert not bench.epochs(twin, 0.2, first=2), "its config is over"
    assert ledger.status(twin.key) == "pruned"
    assert list((tmp_path / "artifacts").iterdir()) == []
    assert bench.source.search.candidates[1].state == "pruned"


def test_seed_that_was_not_started_is_dropped_with_its_config(tmp_path, ledger):
    bench = Bench(tmp_path, ledger)
    bench.complete_config(0.9)
    assert not bench.epochs(bench.start(), 0.1)
    assert bench.start().key == "0.02-1"
    assert ledger.status("0.01-2") == "planned"
    assert "0.01-2" not in bench.source.jobs


def test_rebuilt_source_settles_what_was_stopped_but_not_recorded(tmp_path, ledger):
    """Killed between the decision in the log and the trial's final record."""
    bench = Bench(tmp_path, ledger)
    bench.complete_config(0.9)
    bad = bench.start()
    for epoch in (1, 2):
        message = Message("epoch", {"epoch": epoch, "dev": {"f1": 0.1}})
        bench.execution.record(bad, message)
        bench.source.goes_on(bad, message)
    assert ledger.status(bad.key) == "running"
    again = Bench(tmp_path, ledger)
    assert ledger.status(bad.key) == "pruned"
    assert again.source.search.candidates[1].state == "pruned"
    assert again.source.next_task().key == "0.02-1"


def test_rebuilt_source_leaves_what_another_study_trains_of_a_stopped_config(tmp_path, ledger):
    """A table may train a config to the full budget that a search has stopped; it goes on there."""
    bench = Bench(tmp_path, ledger)
    bench.complete_config(0.9)
    bad = bench.start()
    assert not bench.epochs(bad, 0.1)
    ledger.start_attempt(bad.key, 2, {"study": "table"})
    folder = tmp_path / "artifacts" / bad.key / "attempt-2"
    folder.mkdir(parents=True)
    Bench(tmp_path, ledger)
    assert ledger.status(bad.key) == "running"
    assert folder.is_dir()


def test_whole_search_by_hand(bench, ledger):
    score = 0.5
    while not bench.source.is_done():
        task = bench.start()
        score += 0.01
        if bench.epochs(task, score):
            bench.finish(task)
    search = bench.source.search
    assert [told.number for told in search.ranking()] == [3, 2, 1, 0]
    assert list(search.confirmed) == [3]
    assert search.confirmed[3]["seeds"] == [3, 4]
    assert bench.source.next_task() is None


def test_stopped_job_is_neither_completed_nor_left(bench):
    schedule = Schedule((), lambda job: Task(job.key, 1, "{}"))
    schedule.add(Training(bench.job(TrialConfig(phase="NER"), 1)))
    task = schedule.next_task()
    schedule.ended(task, Message("stopped"))
    assert (schedule.stopped, schedule.completed, schedule.remaining) == ({task.key}, set(), [])
    assert schedule.is_done()


def test_events_are_plain_json(bench, ledger):
    task = bench.start()
    bench.epochs(task, 0.5, last=2)
    for event in ledger.search_events(bench.plan.search_id):
        assert json.loads(json.dumps(event.given)) == event.given

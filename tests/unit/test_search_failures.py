"""What failures are to a search: the machine's are no word on a config, and the next call tries again."""

from pathlib import Path

import pytest

from tests.unit.searching import STUDY, Bench
from tune.engine import failure
from tune.ledger.ledger import Ledger


@pytest.fixture
def bench(tmp_path: Path, ledger: Ledger) -> Bench:
    return Bench(tmp_path, ledger)


def test_machines_fault_is_no_word_to_the_search_and_epochs_told_again_are_one(bench, ledger):
    bench.source.schedule.pause_s = 0
    task = bench.start()
    bench.epochs(task, 0.5, last=3)
    bench.tell(task, failure("OSError: disk full", retryable=True))
    retried = bench.start()
    assert (retried.key, retried.attempt) == (task.key, 2)
    size = bench.source.log.size
    bench.epochs(retried, 0.5, last=3)
    assert bench.source.log.size == size
    assert bench.source.search.used["epochs"] == 3
    assert bench.source.search.candidates[0].state == "running"


OUTAGE = failure("OSError: the storage does not answer", retryable=True)


STALL = failure("no word for 720 minutes", retryable=True, kind="stall")


@pytest.mark.parametrize("why", [OUTAGE, STALL], ids=["machine", "stall"])
def test_a_config_that_the_machine_failed_is_tried_again_by_the_next_call(tmp_path, ledger, why):
    bench, score = Bench(tmp_path, ledger), 0.5
    bench.source.schedule.max_attempts = 1
    unlucky = bench.start()
    bench.tell(unlucky, why)
    while not bench.source.is_done():
        task, score = bench.start(), score + 0.01
        if bench.epochs(task, score):
            bench.finish(task)
    assert bench.source.left == [unlucky.key]
    assert bench.source.next_task() is None
    states = [item.state for item in bench.source.search.candidates]
    assert states == ["running", "complete", "complete", "complete"]
    assert "failed" not in {event.kind for event in ledger.search_events(bench.plan.search_id)}
    again = Bench(tmp_path, ledger)
    assert again.source.left == []
    task = again.start()
    assert (task.key, task.attempt) == (unlucky.key, 2)
    again.epochs(task, 0.9)
    again.finish(task)
    while not again.source.is_done():
        task = again.start()
        again.epochs(task, 0.8)
        again.finish(task)
    assert again.source.is_over()
    assert again.source.search.chosen["numbers"] == [0]
    assert again.source.search.confirmed[0]["failed"] == 0


def test_an_outage_suggests_no_more_configs_than_may_fail(tmp_path, ledger):
    text = STUDY.replace("trials = 8", "epochs = 500\nfailures = 3")
    bench = Bench(tmp_path, ledger, text=text)
    bench.source.schedule.max_attempts = 1
    while not bench.source.is_done():
        task = bench.source.next_task()
        bench.tell(task, OUTAGE)
    assert bench.source.left == ["0.00-1", "0.00-2", "0.01-1", "0.01-2", "0.02-1"]
    again = Bench(tmp_path, ledger, text=text)
    keys = [again.source.next_task().key for _ in range(7)]
    assert keys == ["0.00-1", "0.00-2", "0.01-1", "0.01-2", "0.02-1", "0.02-2", "0.03-1"]


@pytest.mark.parametrize("error", ["ValueError: wrong", "torch.OutOfMemoryError: CUDA out of memory"])
def test_a_config_that_fails_by_itself_has_failed(bench, error):
    bench.source.schedule.max_attempts = 1
    bench.tell(bench.start(), failure(error, retryable=False))
    assert bench.source.search.candidates[0].state == "failed"
    assert bench.source.left == []


def test_a_confirmation_that_the_machine_failed_is_not_told(bench, ledger):
    bench.source.schedule.max_attempts = 1
    while not bench.source.is_done():
        task = bench.start()
        if int(task.key[-1]) in bench.plan.fresh_seeds:
            bench.tell(task, OUTAGE)
        elif bench.epochs(task, 0.5):
            bench.finish(task)
    assert bench.source.search.chosen
    assert len(bench.source.left) == 2
    assert bench.source.search.confirmed == {}

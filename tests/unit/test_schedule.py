"""Order, dependencies, retries, blocking and the budget of a run, without any engine."""

from dataclasses import dataclass

import pytest

from tune.engine import Message, Task, failure
from tune.schedule import Schedule

DONE = Message("completed")
MACHINE = failure("OSError: disk full", retryable=True)
CONFIG = failure("ValueError: wrong", retryable=False)


@dataclass(frozen=True)
class Job:
    key: str
    needs: tuple[str, ...] = ()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def schedule_of(*jobs: Job, **settings) -> Schedule:
    tries: dict[str, int] = {}

    def make_task(job: Job) -> Task:
        tries[job.key] = tries.get(job.key, 0) + 1
        return Task(job.key, tries[job.key], "{}")

    return Schedule(jobs, make_task, clock=settings.pop("clock", Clock()), **settings)


def drain(schedule: Schedule, outcome=lambda _: DONE) -> list[str]:
    order = []
    while (task := schedule.next_task()) is not None:
        order.append(task.key)
        schedule.ended(task, outcome(task))
    return order


def test_jobs_start_in_the_order_given():
    schedule = schedule_of(Job("b"), Job("a"), Job("c"))
    assert drain(schedule) == ["b", "a", "c"]
    assert schedule.is_done()


def test_empty_run_is_done():
    assert schedule_of().is_done()


def test_unlocked_job_goes_first():
    schedule = schedule_of(Job("ner"), Job("re"), Job("other"), Job("ner+re", ("ner", "re")))
    assert drain(schedule) == ["ner", "re", "ner+re", "other"]


def test_dependant_waits_for_the_running_job_without_the_run_being_done():
    schedule = schedule_of(Job("ner"), Job("eval", ("ner",)))
    task = schedule.next_task()
    assert schedule.next_task() is None
    assert not schedule.is_done()
    schedule.ended(task, DONE)
    assert schedule.next_task().key == "eval"


def test_job_is_taken_once():
    schedule = schedule_of(Job("a"))
    with pytest.raises(ValueError, match="a was added before"):
        schedule.add(Job("a"))
    assert drain(schedule) == ["a"]


def test_need_that_is_no_job_of_the_run_is_refused():
    with pytest.raises(ValueError, match="ner"):
        schedule_of(Job("eval", ("ner",)))


def test_failure_blocks_all_that_depends_on_it_and_the_run_ends():
    schedule = schedule_of(Job("a"), Job("b", ("a",)), Job("c", ("b",)), Job("d"))
    assert drain(schedule, lambda task: CONFIG if task.key == "a" else DONE) == ["a", "d"]
    assert schedule.failed == {"a": "ValueError: wrong"}
    assert schedule.blocked == {"b": "needs a, which failed", "c": "needs a, which failed"}
    assert schedule.is_done()
    assert schedule.remaining == []


def test_job_that_needs_two_failed_ones_is_blocked_once():
    schedule = schedule_of(Job("a"), Job("b"), Job("c", ("a", "b")))
    drain(schedule, lambda _: CONFIG)
    assert list(schedule.blocked) == ["c"]


def test_machines_fault_is_tried_again_after_a_doubling_pause():
    clock = Clock()
    schedule = schedule_of(Job("a"), clock=clock, max_attempts=3, pause_s=5)
    starts = []
    while not schedule.is_done():
        if (task := schedule.next_task()) is not None:
            starts.append((clock.now, task.attempt))
            schedule.ended(task, MACHINE)
        clock.now += 1
    assert starts == [(0, 1), (5, 2), (15, 3)]
    assert schedule.failed == {"a": "OSError: disk full"}


def test_dependant_of_a_retried_job_is_unlocked_by_the_later_try():
    clock = Clock()
    schedule = schedule_of(Job("a"), Job("b", ("a",)), clock=clock, pause_s=1)
    schedule.ended(schedule.next_task(), MACHINE)
    assert not schedule.is_done()
    clock.now = 1
    assert drain(schedule) == ["a", "b"]


def test_configs_fault_is_not_tried_again():
    schedule = schedule_of(Job("a"), max_attempts=3)
    assert drain(schedule, lambda _: CONFIG) == ["a"]


def test_second_word_about_an_ended_try_is_ignored():
    schedule = schedule_of(Job("a"), Job("b", ("a",)))
    task = schedule.next_task()
    schedule.ended(task, DONE)
    schedule.ended(task, CONFIG)
    assert schedule.completed == {"a"}
    assert not schedule.failed


def test_spent_budget_starts_nothing_new_and_lets_running_jobs_end():
    spent = []
    schedule = schedule_of(Job("a"), Job("b"), is_spent=lambda: bool(spent))
    task = schedule.next_task()
    spent.append(True)
    assert schedule.next_task() is None
    assert not schedule.is_done()
    schedule.ended(task, DONE)
    assert schedule.is_done()
    assert schedule.remaining == ["b"]

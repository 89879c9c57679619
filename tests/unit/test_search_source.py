"""How a search hands out trials and ends them: concurrency, stops of all seeds, files of what was stopped."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from lai_net.config import TrialConfig
from tune.engine import Message, Task, failure
from tune.execution import Execution, Training
from tune.ledger import Ledger, TrialRow
from tune.plan import Job
from tune.progress import ProgressSink
from tune.schedule import Schedule
from tune.search.known import ledger_spread, selected_score
from tune.search.plan import plan_search
from tune.search.source import SearchSource
from tune.study import load_study
from tune.task_spec import CorpusSource

STUDY = """
name = "s"
seeds = [1, 2]
[[datasets]]
name = "demo"
[datasets.ner]
preset = "demo-ner"
set = { "training.epochs" = 5 }
[search]
phase = "NER"
seeds_per_config = 2
SETTINGS
[search.space]
"graph.dropout" = { float = [0.0, 0.5] }
[search.scheduler]
reduction_factor = 2
noise_margin = 0.0
[search.budget]
trials = 8
[search.confirm]
best = 1
seeds = 2
"""


class Bench:
    """A search over a ledger, played by hand: config n has dropout n / 100."""

    def __init__(self, folder: Path, ledger: Ledger, settings: str = "") -> None:
        (folder / "s.toml").write_text(STUDY.replace("SETTINGS", settings))
        self.plan = plan_search(load_study(folder / "s.toml"))
        corpora = {("demo", None): CorpusSource(source="embedded", name="demo", content_id="x")}
        self.execution = Execution(ledger, folder, corpora, gpus=0)
        self.ledger = ledger
        self.source = SearchSource(
            plan=self.plan,
            suggest=lambda history: {"graph.dropout": len(history) / 100},
            identify=self.job,
            execution=self.execution,
        )

    def job(self, config: TrialConfig, seed: int) -> Job:
        name = f"{config.graph.dropout:.2f}"
        row = TrialRow(
            trial_id=f"{name}-{seed}",
            config_id=name,
            spec_id=name,
            dataset="demo",
            phase="NER",
            fold=None,
            seed=seed,
            config={"training": {"epochs": config.training.epochs, "selection": "dev"}},
            corpus_id="x",
            encoder_id="e",
        )
        return Job(row, config)

    def tell(self, task: Task, message: Message) -> bool:
        """As an engine delivers; False where the trial was stopped."""
        self.execution.record(task, message)
        if not message.is_final:
            if self.source.goes_on(task, message):
                return True
            message = Message("stopped")
            self.execution.record(task, message)
        self.source.ended(task, message)
        return False

    def start(self) -> Task:
        task = self.source.next_task()
        self.tell(task, Message("started", {"device": "cpu"}))
        return task

    def epochs(self, task: Task, score: float, first: int = 1, last: int = 5) -> bool:
        for epoch in range(first, last + 1):
            if not self.tell(task, Message("epoch", {"epoch": epoch, "dev": {"f1": score}, "wall_s": 1.0})):
                return False
        return True

    def finish(self, task: Task) -> None:
        self.tell(task, Message("completed", {"evaluations": [], "cpu_s": 1.0, "wall_s": 1.0}))


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as opened:
        yield opened


@pytest.fixture
def bench(tmp_path: Path, ledger: Ledger) -> Bench:
    return Bench(tmp_path, ledger)


def test_seeds_of_a_config_go_before_the_next_config(bench):
    keys = [bench.source.next_task().key for _ in range(4)]
    assert keys == ["0.00-1", "0.00-2", "0.01-1", "0.01-2"]


def test_concurrency_is_bounded(tmp_path, ledger):
    bench = Bench(tmp_path, ledger, "max_concurrent = 3")
    tasks = [bench.start() for _ in range(3)]
    assert bench.source.next_task() is None
    assert not bench.source.is_done()
    bench.epochs(tasks[0], 0.5)
    bench.finish(tasks[0])
    assert bench.source.next_task() is not None


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
    for _ in range(2):
        task = bench.start()
        bench.epochs(task, 0.9)
        bench.finish(task)
    assert not bench.epochs(bench.start(), 0.1)
    assert bench.start().key == "0.02-1"
    assert ledger.status("0.01-2") == "planned"
    assert "0.01-2" not in bench.source.jobs


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


def test_rebuilt_source_settles_what_was_stopped_but_not_recorded(tmp_path, ledger):
    """Killed between the decision in the log and the trial's final record."""
    bench = Bench(tmp_path, ledger)
    for _ in range(2):
        task = bench.start()
        bench.epochs(task, 0.9)
        bench.finish(task)
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


def test_spread_is_taken_from_equal_trainings_of_the_ledger(bench, ledger):
    for name, seed, score in (("a", 1, 0.4), ("a", 2, 0.6), ("b", 1, 0.9)):
        job = bench.job(TrialConfig(phase="NER"), seed)
        row = {**vars(job.row), "trial_id": f"{name}{seed}", "config_id": name, "spec_id": name}
        row["config"] = {"training": {"epochs": 5, "selection": "dev"}}
        ledger.register_trials([TrialRow(**row)])
        ledger.start_attempt(f"{name}{seed}", 1, {})
        ledger.record_epoch(f"{name}{seed}", 1, 2, {"epoch": 2, "dev": {"f1": score}})
    assert ledger_spread(ledger, bench.plan) == [(2, pytest.approx(0.02), 1)]


def test_score_is_that_of_the_selected_epoch():
    config = TrialConfig(phase="NER")  # ten epochs, five of them cold
    reports = [{"epoch": epoch, "dev": {"f1": score}} for epoch, score in [(5, 0.9), (6, 0.5), (7, 0.7)]]
    assert selected_score(config, reports) == 0.7


def test_stopped_job_is_neither_completed_nor_left(bench):
    schedule = Schedule((), lambda job: Task(job.key, 1, "{}"))
    schedule.add(Training(bench.job(TrialConfig(phase="NER"), 1)))
    task = schedule.next_task()
    assert schedule.num_running == 1
    schedule.ended(task, Message("stopped"))
    assert (schedule.stopped, schedule.completed, schedule.remaining) == ({task.key}, set(), [])
    assert schedule.is_done()


def test_progress_shows_stops_and_takes_jobs_that_come_later(bench):
    class Silent:
        def record(self, task: Task, message: Message) -> None:
            pass

    stream, jobs = io.StringIO(), {}
    sink = ProgressSink(Silent(), jobs, Console(file=stream, width=300, highlight=False))
    training = Training(bench.job(TrialConfig(phase="NER"), 1))
    jobs[training.key] = training
    with sink.live():
        sink.record(Task(training.key, 1, ""), Message("started"))
        sink.record(Task(training.key, 1, ""), Message("stopped"))
    assert stream.getvalue().startswith(f"stopped: {training} (0/1 jobs done, 0 running, ")
    assert "1 stopped early" in stream.getvalue()


def test_events_are_plain_json(bench, ledger):
    task = bench.start()
    bench.epochs(task, 0.5, last=2)
    for event in ledger.search_events(bench.plan.search_id):
        assert json.loads(json.dumps(event.given)) == event.given

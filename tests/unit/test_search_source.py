"""How a search hands out trials and ends them: concurrency, stops of all seeds, files of what was stopped."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from lai_net.config import TrialConfig
from tests.unit.rows import trial_row
from tune.commands.progress import ProgressSink
from tune.engine import Message, Task, failure
from tune.execution import Execution
from tune.ledger.ledger import Ledger
from tune.ledger.rows import TrialRow
from tune.planning.jobs import Training
from tune.planning.plan import IdentifiedTrial
from tune.schedule import Schedule
from tune.search.candidate import Suggestion
from tune.search.known import ledger_spread, selected_score
from tune.search.plan import plan_search
from tune.search.report import search_warnings
from tune.search.source import SearchSource
from tune.spec.study import load_study
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
"graph.dropout" = { uniform = [0.0, 0.5] }
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

    def __init__(self, folder: Path, ledger: Ledger, settings: str = "", text: str = STUDY) -> None:
        (folder / "s.toml").write_text(text.replace("SETTINGS", settings))
        self.plan = plan_search(load_study(folder / "s.toml"))
        corpora = {("demo", None): CorpusSource(source="embedded", name="demo", content_id="x")}
        self.execution = Execution(ledger, folder, corpora, gpus=0)
        self.ledger = ledger
        self.source = SearchSource(
            plan=self.plan,
            suggest=lambda history: Suggestion({"graph.dropout": len(history) / 100}),
            identify=self.job,
            execution=self.execution,
        )

    def job(self, config: TrialConfig, seed: int) -> IdentifiedTrial:
        name = f"{config.graph.dropout:.2f}"
        row = trial_row(
            trial_id=f"{name}-{seed}",
            config_id=name,
            spec_id=name,
            seed=seed,
            config={
                "training": {"epochs": config.training.epochs, "selection": "dev"},
                "encoder": {"name": config.encoder.name},
            },
        )
        return IdentifiedTrial(row, config)

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

    def complete_config(self, score: float) -> None:
        """Both seeds of the next one."""
        for _ in range(2):
            task = self.start()
            self.epochs(task, score)
            self.finish(task)


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


def test_a_retry_counts_against_the_bound_on_concurrency(tmp_path, ledger):
    bench, clock = Bench(tmp_path, ledger, "max_concurrent = 1"), [0.0]
    bench.source.schedule.clock = lambda: clock[0]
    first = bench.start()
    bench.tell(first, failure("OSError: disk full", retryable=True))
    other = bench.start()
    assert other.key != first.key, "another may start while the first pauses"
    clock[0] += bench.source.schedule.pause_s
    assert bench.source.next_task() is None
    bench.epochs(other, 0.5)
    bench.finish(other)
    assert bench.source.next_task().key == first.key


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


def store(bench: Bench, config_id: str, seed: int, score: float, encoder: str = "minilm") -> None:
    """One training of a table, of which the ledger has what both rungs' epoch scored."""
    config = {"training": {"epochs": 5, "selection": "dev"}, "encoder": {"name": encoder}}
    row = vars(bench.job(TrialConfig(phase="NER"), seed).row) | {"config": config}
    trial_id = f"{config_id}-{seed}"
    row |= {"trial_id": trial_id, "config_id": config_id, "spec_id": config_id}
    bench.ledger.register_trials([TrialRow(**row)])
    bench.ledger.start_attempt(trial_id, 1, {})
    bench.ledger.record_epoch(trial_id, 1, 2, {"epoch": 2, "dev": {"f1": score}})


def test_spread_is_taken_from_equal_trainings_of_the_ledger(bench, ledger):
    for config_id, seed, score in (("a", 1, 0.4), ("a", 2, 0.6), ("b", 1, 0.9)):
        store(bench, config_id, seed, score)
    for seed, score in ((1, 0.1), (2, 0.9)):
        store(bench, "c", seed, score, encoder="scibert")
    found = ledger_spread(ledger, bench.plan)
    assert found == {"spread": [(2, pytest.approx(0.02), 1)], "counted": [(2, "a")]}


def single_seed(margin: float = 1.0) -> str:
    text = STUDY.replace("seeds_per_config = 2", "").replace("noise_margin = 0.0", f"noise_margin = {margin}")
    assert text != STUDY
    return text


def test_search_without_a_spread_is_warned_of_before_it_begins_and_after(tmp_path, ledger):
    assert search_warnings(Bench(tmp_path, ledger, text=single_seed(0.0)).plan, ledger) == []
    bench = Bench(tmp_path, ledger, text=single_seed())
    store(bench, "a", 1, 0.4)
    store(bench, "a", 2, 0.6)
    (warning,) = search_warnings(bench.plan, ledger)
    assert "no config will be stopped early" in warning, "its log began without a spread"
    other = Bench(tmp_path, ledger, settings="seed = 7", text=single_seed())
    assert search_warnings(other.plan, ledger) == []


def test_a_search_says_what_its_base_sets_without_effect(tmp_path, ledger):
    idle = '"head.shortcut" = false, "graph.heads" = 2, "graph.layers" = 0'
    text = STUDY.replace('"training.epochs" = 5', idle).replace('"graph.dropout"', '"head.dropout"')
    layers = text.replace("[search.space]", '[search.space]\n"graph.layers" = { int = [0, 2] }')
    phase = "demo, NER: head.shortcut has no effect here (the phase is NER)"
    heads = "demo, NER: graph.heads has no effect here (graph.layers = 0)"
    assert search_warnings(Bench(tmp_path, ledger, text=text).plan, ledger) == [phase, heads]
    assert search_warnings(Bench(tmp_path, ledger, text=layers).plan, ledger) == [phase]


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

"""What a search takes from the ledger and says: spread, scores, warnings, progress."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from lai_net.config import TrialConfig
from tests.unit.searching import STUDY, Bench
from tune.commands.progress import ProgressSink
from tune.engine import Message, Task, failure
from tune.ledger.ledger import Ledger
from tune.ledger.rows import TrialRow
from tune.planning.jobs import Training
from tune.search.known import ledger_spread, selected_score
from tune.search.report import most_trainings, search_warnings


@pytest.fixture
def bench(tmp_path: Path, ledger: Ledger) -> Bench:
    return Bench(tmp_path, ledger)


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
    return text.replace("seeds = [1, 2]", "seeds = [1]")


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


def test_what_tables_alone_have_is_said_to_change_nothing(tmp_path, ledger):
    text = STUDY.replace("seeds = [1, 2]", 'seeds = [1, 2, 4]\nupstream = "changed"')
    assert search_warnings(Bench(tmp_path, ledger, text=text).plan, ledger) == [
        'upstream = "changed" has no effect here (in a search RE goes by the NER base)',
        "of 3 seeds the first 2 alone have an effect here (search.seeds_per_config)",
    ]


def test_the_most_trainings_count_confirmations_anew_where_the_search_goes_on(tmp_path, ledger):
    def most(bench: Bench) -> int | None:
        return most_trainings(bench.plan, bench.source.search)

    bench = Bench(tmp_path, ledger)
    assert most(bench) == 8 + 2
    for number in range(4):
        bench.complete_config(0.5 + number / 10)
    assert most(Bench(tmp_path, ledger)) == 2
    bench.complete_config(0.6)
    assert most(Bench(tmp_path, ledger)) == 0
    assert most(Bench(tmp_path, ledger, text=STUDY.replace("seeds = 2\n", "seeds = 3\n"))) == 1
    assert most(Bench(tmp_path, ledger, text=STUDY.replace("best = 1", "best = 2"))) == 2
    assert most(Bench(tmp_path, ledger, text=STUDY.replace("best = 1", "best = 9"))) == 3 * 2, (
        "of four configs"
    )
    assert most(Bench(tmp_path, ledger, text=STUDY.replace("trials = 8", "trials = 10"))) == 2 + 2


def test_a_search_that_ended_by_failures_has_no_training_left(tmp_path, ledger):
    bench = Bench(tmp_path, ledger, text=STUDY.replace("trials = 8", "trials = 8\nfailures = 1"))
    bench.tell(bench.start(), failure("ValueError: no", retryable=False))
    assert bench.source.next_task() is None
    assert bench.source.is_over()
    assert most_trainings(bench.plan, bench.source.search) == 0


def test_the_most_trainings_count_what_is_on_its_way(tmp_path, ledger):
    bench = Bench(tmp_path, ledger)
    bench.epochs(bench.start(), 0.5, last=1)
    epochs = Bench(tmp_path, ledger, text=STUDY.replace("trials = 8", "epochs = 1"))
    found = [most_trainings(item.plan, item.source.search) for item in (bench, epochs)]
    assert found == [8 + 2, 2 + 2], "of the first config both seeds are still to be trained"


def test_score_is_that_of_the_selected_epoch():
    config = TrialConfig(phase="NER")  # ten epochs, five of them cold
    reports = [{"epoch": epoch, "dev": {"f1": score}} for epoch, score in [(5, 0.9), (6, 0.5), (7, 0.7)]]
    assert selected_score(config, reports) == 0.7


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

"""Open jobs, their tasks, and what of a worker's words becomes a record."""

from dataclasses import replace
from pathlib import Path

import pytest

from lai_net.config import TrialConfig
from lai_net.errors import InputError
from tests.unit.rows import trial_row
from tune import fault_points
from tune.engine import Message, failure, is_out_of_memory
from tune.execution import Execution
from tune.fault_points import VARIABLE
from tune.ledger.ledger import Ledger
from tune.planning.jobs import Evaluating, Training, open_jobs
from tune.planning.plan import IdentifiedEvaluation, IdentifiedPlan, IdentifiedTrial
from tune.spec.identity import SEMANTICS, evaluation_id
from tune.task_spec import CorpusSource, spec_from_json


def job(trial_id: str, phase: str) -> IdentifiedTrial:
    row = trial_row(trial_id=trial_id, phase=phase)
    return IdentifiedTrial(row, TrialConfig(phase=phase))


def evaluation(trial_id: str, upstream: str | None, split: str, entities: str) -> IdentifiedEvaluation:
    name = evaluation_id(trial_id, upstream, split, entities)
    return IdentifiedEvaluation(name, trial_id, upstream, split, entities)


NER, RE = job("ner", "NER"), job("re", "RE")
JOBS = IdentifiedPlan(
    (NER, RE),
    tuple(
        evaluation(*place, split, entities)
        for split in ("dev", "test")
        for *place, entities in (("ner", None, "predicted"), ("re", None, "gold"), ("re", "ner", "predicted"))
    ),
)


def result(entities: str) -> Message:
    rows = [{"split": split, "entities": entities, "scores": [], "coverage": {}} for split in ("dev", "test")]
    return Message("completed", {"evaluations": rows, "cpu_s": 1.0, "wall_s": 2.0})


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as opened:
        opened.register_trials([NER.row, RE.row])
        yield opened


@pytest.fixture
def execution(ledger, tmp_path) -> Execution:
    corpora = {("demo", None): CorpusSource(source="embedded", name="demo", content_id="x")}
    return Execution(ledger, tmp_path, corpora, share=0)


def train(execution: Execution, trial: IdentifiedTrial, entities: str) -> None:
    task = execution.make_task(Training(trial))
    execution.record(task, Message("started", {"pid": 1}))
    execution.record(task, result(entities))


def test_open_jobs_join_the_splits_of_an_end_to_end_evaluation(ledger):
    assert open_jobs(JOBS, ledger) == [
        Training(NER),
        Training(RE),
        Evaluating(RE, "ner", "predicted", ("dev", "test"), needs=("re", "ner")),
    ]


def test_run_goes_from_trainings_to_their_evaluation_to_nothing(execution, ledger, tmp_path):
    train(execution, NER, "predicted")
    assert open_jobs(JOBS, ledger)[-1].needs == ("re",)
    train(execution, RE, "gold")
    (left,) = open_jobs(JOBS, ledger)
    assert left.needs == ()
    task = execution.make_task(left)
    spec = spec_from_json(task.spec)
    assert spec.model_dir == str(tmp_path / "artifacts" / "re" / "attempt-1" / "best")
    assert spec.upstream_dir == str(tmp_path / "artifacts" / "ner" / "attempt-1" / "best")
    execution.record(task, result("predicted"))
    assert open_jobs(JOBS, ledger) == []
    assert len(ledger.evaluations()) == 6


def test_a_selection_on_a_trial_that_is_not_there_is_refused_before_the_run(execution, ledger, tmp_path):
    training = replace(RE.config.training, selection_entities="ner")
    selected = Training(replace(RE, config=replace(RE.config, training=training)))
    execution.check([selected, Training(NER)])  # it is trained in this run
    with pytest.raises(InputError, match="trial ner is needed, but not completed in the ledger"):
        execution.check([selected])
    train(execution, NER, "predicted")
    place = tmp_path / "artifacts" / "ner" / "attempt-1" / "best"
    with pytest.raises(
        InputError, match=rf"trial ner: its model is no longer at {place}; restore that folder"
    ):
        execution.check([selected])
    place.mkdir(parents=True)
    execution.check([selected])


def test_jobs_on_other_entities_of_the_same_trials_have_other_names():
    keys = [
        Evaluating(RE, upstream, entities, ("dev",), ()).key
        for upstream, entities in (
            (None, "gold"), (None, "gold_typed_by_model"),
            ("ner", "gold_typed_by_model"), ("ner", "predicted"),
        )
    ]  # fmt: skip
    assert keys == ["re+gold", "re+gold_typed_by_model", "re+ner+gold_typed_by_model", "re+ner"]


def test_failed_try_is_a_record_and_the_next_has_the_next_number(execution, ledger):
    task = execution.make_task(Training(NER))
    execution.record(task, Message("started", {"pid": 1}))
    execution.record(task, failure("Traceback: disk full", retryable=True))
    assert ledger.attempts("ner")[0].error == "Traceback: disk full"
    assert ledger.status("ner") == "failed"
    assert execution.make_task(Training(NER)).attempt == 2


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (failure("Traceback …\nOSError: disk full", retryable=True), "machine"),
        (failure("Traceback …\nValueError: wrong", retryable=False), "config"),
        (failure("Traceback …\ntorch.OutOfMemoryError: 2 GiB", retryable=True), "memory"),
        (failure("no word for 9 minutes", retryable=True, kind="stall"), "stall"),
    ],
)
def test_ledger_keeps_what_kind_of_failure_it_was(execution, ledger, message, kind):
    execution.record(execution.make_task(Training(NER)), message)
    assert ledger.attempts("ner")[0].failure == kind


def test_worker_that_died_before_its_first_word_leaves_a_failed_attempt(execution, ledger):
    execution.record(execution.make_task(Training(NER)), failure("The actor died", retryable=True))
    (attempt,) = ledger.attempts("ner")
    assert (attempt.attempt, attempt.status, attempt.error) == (1, "failed", "The actor died")


def test_stale_files_go_only_after_the_final_record(execution, ledger, tmp_path):
    artifacts = tmp_path / "artifacts" / "ner"
    for number in (1, 2):
        (artifacts / f"attempt-{number}" / "best").mkdir(parents=True)
        task = execution.make_task(Training(NER))
        execution.record(task, Message("started", {"pid": 1}))
        if number == 1:
            execution.record(task, failure("died", retryable=True))
            assert (artifacts / "attempt-1" / "best").exists(), "the next attempt goes on from here"
    execution.record(task, result("predicted"))
    assert sorted(path.relative_to(artifacts).as_posix() for path in artifacts.rglob("*")) == [
        "attempt-2",
        "attempt-2/best",
    ]


def test_files_that_a_killed_driver_could_not_delete_go_later(execution, tmp_path):
    trial_dir = tmp_path / "artifacts" / "ner"
    task = execution.make_task(Training(NER))
    execution.record(task, Message("started", {"pid": 1}))
    execution.record(task, failure("died", retryable=True))
    train(execution, NER, "predicted")
    for name in ("attempt-1", "attempt-2/best"):
        (trial_dir / name).mkdir(parents=True)
    execution.delete_all_stale()
    assert sorted(path.relative_to(trial_dir).as_posix() for path in trial_dir.rglob("*")) == [
        "attempt-2",
        "attempt-2/best",
    ]


def test_files_of_a_pruned_trial_go_later_where_the_driver_was_killed_before(
    execution, tmp_path, monkeypatch
):
    files = tmp_path / "artifacts" / "ner" / "attempt-1"
    files.mkdir(parents=True)
    task = execution.make_task(Training(NER))
    execution.record(task, Message("started", {"pid": 1}))
    monkeypatch.setenv(VARIABLE, "files.delete:1:raise-enospc")
    monkeypatch.setattr(fault_points, "_visits", 0)
    with pytest.raises(OSError, match="No space"):
        execution.record(task, Message("stopped"))
    assert files.exists()
    execution.delete_all_stale()
    assert not files.parent.exists()


def test_failed_evaluation_is_a_record_that_gives_way_to_scores(execution, ledger):
    train(execution, NER, "predicted")
    train(execution, RE, "gold")
    (left,) = open_jobs(JOBS, ledger)
    execution.record(execution.make_task(left), failure("Traceback: KeyError", retryable=False))
    failed = [row for row in ledger.evaluations() if row.error is not None]
    assert [(row.trial_id, row.upstream_trial_id, row.error) for row in failed] == [
        ("re", "ner", "Traceback: KeyError")
    ] * 2
    assert sorted(row.split for row in failed) == ["dev", "test"]
    assert open_jobs(JOBS, ledger) == [left]
    execution.record(execution.make_task(left), result("predicted"))
    assert open_jobs(JOBS, ledger) == []
    execution.record(execution.make_task(left), failure("too late", retryable=False))
    assert [row.error for row in ledger.evaluations()] == [None] * 6


def test_raised_semantics_evaluate_trained_trials_again(execution, ledger, tmp_path, monkeypatch):
    train(execution, NER, "predicted")
    train(execution, RE, "gold")
    execution.record(execution.make_task(open_jobs(JOBS, ledger)[0]), result("predicted"))
    monkeypatch.setitem(SEMANTICS, "evaluation", 2)
    jobs = IdentifiedPlan(
        JOBS.trials,
        tuple(
            evaluation(row.trial_id, row.upstream_trial_id, row.split, row.entities)
            for row in JOBS.evaluations
        ),
    )
    left = {(job.upstream_trial_id, job.trial.row.trial_id): job for job in open_jobs(jobs, ledger)}
    assert left.keys() == {(None, "ner"), (None, "re"), ("ner", "re")}
    task = execution.make_task(left[None, "re"])
    spec = spec_from_json(task.spec)
    assert spec.model_dir == str(tmp_path / "artifacts" / "re" / "attempt-1" / "best")
    assert spec.upstream_dir is None
    execution.record(task, result("gold"))
    execution.record(execution.make_task(left[None, "ner"]), failure("boom", retryable=False))
    assert open_jobs(jobs, ledger) == [left[None, "ner"], left["ner", "re"]]
    assert {row.entities for row in ledger.evaluations() if row.error == "boom"} == {"predicted"}


def test_an_evaluation_alone_is_a_job_of_its_own_by_whose_entities_it_takes(execution, ledger, monkeypatch):
    train(execution, RE, "gold")
    monkeypatch.setitem(SEMANTICS, "evaluation", 2)
    sources = ("gold", "gold_typed_by_model")
    jobs = IdentifiedPlan((RE,), tuple(evaluation("re", None, "dev", entities) for entities in sources))
    left = open_jobs(jobs, ledger)
    assert [job.key for job in left] == ["re+gold", "re+gold_typed_by_model"]
    specs = [spec_from_json(execution.make_task(job).spec) for job in left]
    assert [spec.entities for spec in specs] == list(sources)
    execution.record(execution.make_task(left[1]), failure("boom", retryable=False))
    assert [row.entities for row in ledger.evaluations() if row.error == "boom"] == ["gold_typed_by_model"]


def test_jobs_are_told_by_the_cells_that_they_fill():
    told = str(Training(replace(NER, cells="gcn_layers 0, method w/o 2nd")))
    assert told == "demo NER seed 1, gcn_layers 0, method w/o 2nd (ner)"
    told = str(Evaluating(RE, "ner", "predicted", ("dev",), ()))
    assert told == "end-to-end evaluation of demo RE seed 1 (re+ner)"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("Traceback\n  x\ntorch.OutOfMemoryError: CUDA out of memory. Tried", True),
        ("torch.AcceleratorError: CUDA error: out of memory\nCUDA kernel errors", True),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", True),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling", True),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling", False),
        ("ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory", False),
        ("ValueError: OutOfMemoryError", False),
        ("torch.OutOfMemoryError: 2 GiB\n\nDuring handling …\n\nTraceback\n  x\nValueError: wrong", False),
        ("ValueError: wrong\n\nDuring handling …\n\nTraceback\n  x\ntorch.OutOfMemoryError: 2 GiB", True),
    ],
)
def test_which_errors_are_the_devices_memory(error: str, expected: bool) -> None:
    assert is_out_of_memory(error) is expected

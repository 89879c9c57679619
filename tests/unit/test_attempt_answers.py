"""What becomes of a worker's answers: those that come too late, and failures by their kind."""

from pathlib import Path

import pytest

from lai_net.config import TrialConfig
from lai_net.errors import DivergedError
from tests.unit.ledgers import TRIAL
from tune.engine import Message, attempt_messages, failure
from tune.execution import Execution
from tune.ledger.ledger import Ledger
from tune.planning.jobs import Training
from tune.planning.plan import IdentifiedTrial
from tune.task_spec import CorpusSource


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


@pytest.mark.parametrize("status", ["CUBLAS_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED"])
def test_want_of_device_memory_is_tried_again_whoever_names_it(status: str) -> None:
    def run_out(_: str):
        yield Message("started")
        raise RuntimeError(f"CUDA error: {status} when calling `cublasCreate(handle)`")

    last = Message.from_json(list(attempt_messages(run_out, ""))[-1])
    assert (last.content["kind"], last.content["retryable"]) == ("memory", True)


@pytest.mark.parametrize("kind", [RuntimeError, type("AcceleratorError", (RuntimeError,), {})])
def test_a_process_ends_with_its_device(kind: type[RuntimeError]) -> None:
    """Another one may have the trial: it is no fault of the config."""

    def fail(_: str):
        yield Message("started")
        raise kind("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`")

    with pytest.raises(kind, match="EXECUTION_FAILED"):
        list(attempt_messages(fail, ""))

"""`lai run` and `lai verify` before and after the training: what they refuse, plan and compare."""

from pathlib import Path

import pytest

from lai_net.errors import InputError
from tune.engine import Message, Task
from tune.execution import Execution, Training
from tune.ledger import Ledger
from tune.run_command import Prepared, execute_study, prepare
from tune.verify_command import _Repeated, compare

STUDY = """
name = "small"
seeds = [1]
[[datasets]]
name = "demo"
corpus = "embedded"
[datasets.ner]
preset = "demo-ner"
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def prepared(study: Path) -> Prepared:
    return prepare(str(study), [])


def test_dataset_without_a_corpus_is_named_with_the_flag(study):
    study.write_text(STUDY.replace('corpus = "embedded"\n', ""))
    with pytest.raises(InputError, match="--corpus demo=DIR"):
        prepare(str(study), [])
    assert prepare(str(study), ["demo=embedded"]).jobs.trials


@pytest.mark.parametrize(
    ("option", "said"), [("demo", "NAME=DIR"), ("other=x", "no dataset 'other'"), ("demo=", "NAME=DIR")]
)
def test_wrong_corpus_option_is_refused(study, option, said):
    with pytest.raises(InputError, match=said):
        prepare(str(study), [option])


def record(ledger: Ledger, prepared: Prepared, folder: Path) -> str:
    """One trained trial, as a worker would tell it."""
    execution = Execution(ledger, folder, prepared.corpora, gpus=0)
    ledger.register_trials([job.row for job in prepared.jobs.trials])
    (trial,) = prepared.jobs.trials
    task = execution.make_task(Training(trial))
    for message in TOLD:
        execution.record(task, message)
    return task.key


EPOCH = Message("epoch", {"epoch": 1, "loss": 0.5, "dev": {"f1": 0.25}, "wall_s": 3.0})
RESULT = Message(
    "completed",
    {
        "evaluations": [
            {"split": split, "entities": "predicted", "scores": [{"f1": 0.5}], "coverage": {}}
            for split in ("dev", "test")
        ],
        "cpu_s": 1.0,
        "wall_s": 1.0,
    },
)
TOLD = (Message("started", {"device": "cpu"}), EPOCH, RESULT)


def test_nothing_to_do_starts_no_engine(prepared, tmp_path, capsys):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        record(ledger, prepared, tmp_path)
        assert execute_study(prepared, ledger, tmp_path, lambda: pytest.fail("an engine was made")) == 0
    assert "0 of 1 trials to train" in capsys.readouterr().out


def test_spent_budget_starts_nothing_and_says_what_remains(prepared, tmp_path, capsys):
    import contextlib

    from tune.engine import SerialEngine

    engine = SerialEngine(lambda _: pytest.fail("a trial was started"))
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert execute_study(prepared, ledger, tmp_path, lambda: contextlib.nullcontext(engine), 0.0) == 0
    assert "1 remain; the budget is spent" in capsys.readouterr().out


def test_verify_tells_the_field_that_differs(prepared, tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        trial_id = record(ledger, prepared, tmp_path)
        same, other, short = _Repeated(), _Repeated(), _Repeated()
        task = Task(trial_id, 1, "")
        for message in TOLD:
            same.record(task, message)
        other.record(task, Message("epoch", EPOCH.content | {"loss": 0.5000001, "wall_s": 9.0}))
        other.record(task, RESULT)
        short.record(task, RESULT)
        assert compare(ledger, trial_id, same) == []
        assert compare(ledger, trial_id, other) == ["epoch 1 loss: was 0.5, is 0.5000001"]
        assert len(compare(ledger, trial_id, short)) == 1

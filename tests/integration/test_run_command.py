"""`lai run` and `lai verify` before and after the training: what they refuse, plan and compare."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import typer

from lai_net.errors import InputError
from tests.integration.standing_in import unwatched, written
from tune.commands.running import execute_study
from tune.commands.verify import _Repeated, compare, recorded, verify
from tune.engine import Message, SerialEngine, Task
from tune.execution import Execution
from tune.ledger.ledger import Ledger
from tune.planning.jobs import Training
from tune.preparation import Prepared, prepare
from tune.task_spec import spec_from_json

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
    return written(tmp_path, STUDY)


@pytest.fixture
def prepared(study: Path) -> Prepared:
    return prepare(str(study), [])


def test_dataset_without_a_corpus_is_named_with_the_flag(study):
    study.write_text(STUDY.replace('corpus = "embedded"\n', ""))
    with pytest.raises(InputError, match="--corpus demo=DIR"):
        prepare(str(study), [])
    assert prepare(str(study), ["demo=embedded"]).plan.trials


@pytest.mark.parametrize(
    ("option", "said"), [("demo", "NAME=DIR"), ("other=x", "no dataset 'other'"), ("demo=", "NAME=DIR")]
)
def test_wrong_corpus_option_is_refused(study, option, said):
    with pytest.raises(InputError, match=said):
        prepare(str(study), [option])


@pytest.mark.parametrize(("found", "folds"), [(2, 1), (2, 3), (0, 2)])
def test_folds_must_be_those_of_the_corpus(study, tmp_path, found, folds):
    names = [f"x_split_{k}_{part}.json" for k in range(found) for part in ("train", "test")]
    for name in names or ("train.json", "dev.json", "test.json"):
        (tmp_path / name).touch()
    study.write_text(STUDY.replace('corpus = "embedded"', f"folds = {folds}"))
    with pytest.raises(
        InputError, match=rf"folds = {folds}, but .* has {found or 1}; set folds = {found or 1}"
    ):
        prepare(str(study), [f"demo={tmp_path}"])


def encoder(folder: Path, content: str, *files: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(content)
    for name in files:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("content", "files", "said"),
    [
        (
            '{"hidden_size": 48}',
            ("model.safetensors", "vocab.txt"),
            r"study.toml: .*must divide the width 48 .*but got 5",
        ),
        ('{"hidden_size": 50}', ("model.safetensors",), r"has no tokenizer\.json and no vocab\.txt"),
        ('{"hidden_size": 50}', ("vocab.txt",), "has neither model.safetensors nor"),
        ("{}", ("model.safetensors", "vocab.txt"), "has no hidden_size"),
        ("[]", ("model.safetensors", "vocab.txt"), "has no hidden_size"),
        ("", ("model.safetensors", "vocab.txt"), "has no hidden_size"),
    ],
)
def test_encoder_is_looked_at_before_the_run(study, tmp_path, content, files, said):
    folder = encoder(tmp_path / "encoder", content, *files)
    study.write_text(
        f'{STUDY}set = {{ "encoder.name" = "{folder}", "graph.layers" = 1, "graph.heads" = 5 }}\n'
    )
    with pytest.raises(InputError, match=said):
        prepare(str(study), [])


def test_failures_are_told_by_factor_and_level(study, tmp_path):
    study.write_text(STUDY + "[factors]\ngcn_layers = [0, 1, 2]\nmethod = ['LAI-Net', 'w/o 2nd']\n")
    told = {str(Training(job)).rpartition(" (")[0] for job in prepare(str(study), []).plan.trials}
    assert told == {
        "demo NER seed 1, base",
        "demo NER seed 1, gcn_layers 0, method w/o 2nd",
        "demo NER seed 1, gcn_layers 2",
    }


def record(ledger: Ledger, prepared: Prepared, folder: Path) -> str:
    """One trained trial, as a worker would tell it."""
    execution = Execution(ledger, folder, prepared.corpora, share=0)
    ledger.register_trials([job.row for job in prepared.plan.trials])
    (trial,) = prepared.plan.trials
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
        make_engine = partial(pytest.fail, "an engine was made")
        assert execute_study(prepared, ledger, tmp_path, make_engine, None, unwatched) == 0
    assert "0 of 1 trials to train" in capsys.readouterr().out


def test_spent_budget_starts_nothing_and_says_what_remains(prepared, tmp_path, capsys):
    make_engine = partial(nullcontext, SerialEngine(lambda _: pytest.fail("a trial was started")))
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert execute_study(prepared, ledger, tmp_path, make_engine, 0.0, unwatched) == 3
    assert "1 remain; the budget is spent, resume with the same call" in capsys.readouterr().out


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
        stored = recorded(ledger, trial_id)
        assert compare(stored, same) == []
        assert compare(stored, other) == ["epoch 1 loss: was 0.5, is 0.5000001"]
        assert len(compare(stored, short)) == 1
        newer, worse = _Repeated(same.epochs), _Repeated(same.epochs)
        for repeated, f1 in ((newer, 0.5), (worse, 0.4)):
            row = RESULT.content["evaluations"][0] | {"scores": [{"f1": f1, "f1_overlap": 0.4}]}
            repeated.evaluations = [row, RESULT.content["evaluations"][1]]
        assert compare(stored, newer) == []
        assert compare(stored, worse) == ["dev (predicted entities) scores[0] f1: was 0.5, is 0.4"]


@pytest.mark.parametrize("has_new", [True, False], ids=["evaluated again", "not yet"])
def test_verify_compares_with_no_scores_of_other_semantics(prepared, tmp_path, has_new):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        trial_id = record(ledger, prepared, tmp_path)
        for row in ledger.evaluations():
            ledger.record_evaluation(
                replace(row, evaluation_id=f"~{row.evaluation_id}", scores=[{"f1": 0.1}])
            )
        if not has_new:
            ledger._connection.execute("DELETE FROM evaluation WHERE evaluation_id NOT LIKE '~%'")
        same = _Repeated()
        for message in TOLD:
            same.record(Task(trial_id, 1, ""), message)
        assert compare(recorded(ledger, trial_id), same) == []


@pytest.mark.parametrize(("loss", "code"), [(0.5, 0), (0.75, 1)], ids=["same", "other"])
def test_verify_trains_again_and_compares(prepared, study, tmp_path, monkeypatch, capsys, loss, code):
    import tune.trainable

    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        trial_id = record(ledger, prepared, tmp_path)
    before = path.read_bytes()
    again = (TOLD[0], Message("epoch", EPOCH.content | {"loss": loss}), RESULT)
    specs = []
    monkeypatch.setattr(tune.trainable, "execute", lambda spec: specs.append(spec) or iter(again))
    with pytest.raises(typer.Exit) as end:
        verify(str(study), ledger=path)
    assert end.value.exit_code == code
    assert [spec_from_json(spec).trial_id for spec in specs] == [trial_id]
    said = capsys.readouterr().out
    assert said.endswith("epoch 1 loss: was 0.5, is 0.75\n" if code else f"({trial_id}): identical\n")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "error",
    [
        OSError("no space left"),
        RuntimeError("CUDA error: an illegal access\nCompile with TORCH_USE_CUDA_DSA"),
    ],
    ids=["disk", "CUDA"],
)
def test_verify_tells_in_one_line_of_a_training_that_failed_and_compares_nothing(
    prepared, study, tmp_path, monkeypatch, capsys, error
):
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        trial_id = record(ledger, prepared, tmp_path)

    def execute(_: str) -> Iterator[Message]:
        yield TOLD[0]
        raise error

    monkeypatch.setattr("tune.trainable.execute", execute)
    with pytest.raises(typer.Exit) as end:
        verify(str(study), ledger=path)
    assert end.value.exit_code == 1
    (line,) = capsys.readouterr().out.splitlines()
    said = str(error).partition("\n")[0]
    assert line.endswith(f"({trial_id}): machine failure: {type(error).__name__}: {said}")


def test_verify_has_read_all_of_the_ledger_before_it_trains(prepared, study, tmp_path, monkeypatch, capsys):
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        record(ledger, prepared, tmp_path)
    monkeypatch.setattr("tune.trainable.execute", lambda _: path.write_bytes(b"") or iter(TOLD))
    with pytest.raises(typer.Exit) as end:
        verify(str(study), ledger=path)
    assert end.value.exit_code == 0
    assert capsys.readouterr().out.endswith("identical\n")


@pytest.mark.parametrize(("gpus", "counted"), [("", 0), ("gpus = 2", 2)])
def test_verify_counts_gpus_as_the_study_does(study, tmp_path, monkeypatch, gpus, counted):
    study.write_text(f"{STUDY}[resources]\ngpus_per_trial = 0.5\n{gpus}\n")
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        record(ledger, prepare(str(study), []), tmp_path)
    specs = []
    monkeypatch.setattr("tune.trainable.execute", lambda spec: specs.append(spec) or iter(TOLD))
    with pytest.raises(typer.Exit):
        verify(str(study), ledger=tmp_path / "ledger.sqlite")
    assert [(spec.share, spec.logical_gpus) for spec in map(spec_from_json, specs)] == [(0.5, counted)]


def test_verify_needs_a_completed_trial(study, tmp_path):
    Ledger.open(tmp_path / "ledger.sqlite").close()
    with pytest.raises(InputError, match="holds no completed trial"):
        verify(str(study), ledger=tmp_path / "ledger.sqlite")

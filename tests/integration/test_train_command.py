"""`lai train`: what it prints, an NER model beside RE, and what it refuses."""

import errno
import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from lai_net import pipeline
from lai_net.encoder_files import encoder_id
from lai_net.pipeline import EpochReport
from tests.integration.conftest import Run

DOCUMENT = {
    "doc_key": "d",
    "sentences": [["CRFs", "for", "parsing"], ["Parsing", "with", "CRFs"]],
    "ner": [[[0, 0, "Method"], [2, 2, "Task"]], [[3, 3, "Task"], [5, 5, "Method"]]],
    "relations": [[[0, 0, 2, 2, "USED-FOR"]], [[5, 5, 3, 3, "USED-FOR"]]],
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.json").write_text(json.dumps(DOCUMENT))
    return tmp_path


def words(phase: str, corpus: Path, encoder: str, *settings: str) -> list[str | Path]:
    own = ("filter.cold_epochs=1",) if phase == "ner" else ()
    all_settings = (f"encoder.name={encoder}", "training.epochs=2", *own, *settings)
    return [
        "train", phase, "--corpus", corpus, "--preset", f"demo-{phase}", "--seed", "1",
        "--out", corpus / phase, *(word for setting in all_settings for word in ("--set", setting)),
    ]  # fmt: skip


def test_a_trained_pair_is_evaluated_end_to_end_and_predicts(
    lai: Run, tiny_encoder: str, corpus: Path
) -> None:
    code, evaluations, message = lai(*words("ner", corpus, tiny_encoder))
    assert (code, [item["split"] for item in evaluations]) == (0, ["dev", "test"])
    assert [line.split(":")[0] for line in message.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert message.count(", filter's recall 75.00%") == 2
    assert all(item.keys() == {"split", "entities", "scores", "coverage"} for item in evaluations)
    assert all(item["coverage"]["sentences_cut"] == 0 for item in evaluations), "none is a count, too"
    code, evaluations, message = lai(*words("re", corpus, tiny_encoder), "--ner", corpus / "ner")
    assert code == 0
    assert "recall" not in message
    assert [(item["split"], item["entities"]) for item in evaluations] == [
        (split, entities)
        for split in ("dev", "test")
        for entities in ("gold", "gold_typed_by_model", "predicted")
    ]
    code, lines, message = lai("predict", "--ner", corpus / "ner", "--re", corpus / "re", "--text", "CRFs")
    assert (code, [line["tokens"] for line in lines], message) == (0, [["CRFs"]], "")


def test_an_empty_split_is_refused_before_training(lai: Run, tiny_encoder: str, corpus: Path) -> None:
    (corpus / "test.json").write_text(json.dumps(DOCUMENT | {"sentences": [], "ner": [], "relations": []}))
    code, evaluations, message = lai(*words("ner", corpus, tiny_encoder))
    assert (code, evaluations) == (2, [])
    assert message.startswith(f"{corpus}: test has no sentences; ")
    assert not (corpus / "ner").exists()


def test_re_that_types_its_objects_is_evaluated_with_its_types(
    lai: Run, tiny_encoder: str, corpus: Path
) -> None:
    code, evaluations, _ = lai(*words("re", corpus, tiny_encoder, 'head.object_typing="loss"'))
    assert (code, [item["entities"] for item in evaluations]) == (0, ["gold", "gold_typed_by_model"] * 2)


def test_the_phase_may_be_written_as_everywhere_else(lai: Run, tiny_encoder: str, corpus: Path) -> None:
    _, *options = words("ner", corpus, tiny_encoder)
    code, _, message = lai("train", "NER", *options[1:], "--device", "quantum")
    assert (code, message[:8]) == (2, "device '")


def test_a_doubtful_setting_is_said(lai: Run, tiny_encoder: str, corpus: Path) -> None:
    _, _, message = lai(*words("ner", corpus, tiny_encoder, "filter.threshold=0.1"), "--device", "quantum")
    assert message.startswith('warning: filter.threshold 0.1 with filter.stage = "text" loses gold spans')


@pytest.mark.parametrize("flags", [{}, {"avx512_bf16": True}, {"bf16": True}])
def test_a_processor_slow_in_bf16_is_said(
    lai: Run, tiny_encoder: str, corpus: Path, monkeypatch: pytest.MonkeyPatch, flags: dict[str, bool]
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    code, _, message = lai(*words("ner", corpus, tiny_encoder, 'training.precision="bf16"'))
    assert code == 0
    assert ("warning: cpu has no instructions for bf16" in message) == (not flags)
    code, _, message = lai(*words("ner", corpus, tiny_encoder), "--out", corpus / "fp32")
    assert code == 0
    assert "warning" not in message


def test_settings_without_effect_are_said_once_each(lai: Run, tiny_encoder: str, corpus: Path) -> None:
    idle = ("graph.layers=0", "graph.heads=2", "head.object_typing=types", "training.compile=true")
    code, _, message = lai(*words("ner", corpus, tiny_encoder, *idle))
    assert code == 0
    assert [line for line in message.splitlines() if not line.startswith("epoch")] == [
        "warning: graph.heads has no effect here (graph.layers = 0)",
        "warning: head.object_typing has no effect here (the phase is NER)",
        "warning: training.compile has no effect here (it acts on a CUDA device alone)",
    ]


@pytest.mark.parametrize(
    ("phase", "more", "reason"),
    [
        ("ner", ("--device", "quantum"), "device 'quantum' is not to be had"),
        ("ner", ("--device", "mps"), "' backend); give cpu, cuda or cuda:1"),
        ("ner", ("--device", "meta"), "device 'meta' is not to be had"),
        ("ner", ("--device", "cuda:99"), "device 'cuda:99' is not to be had"),
        ("ner", ("--seed", "-1"), "'--seed'"),
        ("ner", ("--out", "/proc/x"), "/proc/x: cannot be written"),
        ("ner", ("--set", "encoder.name=/proc"), "encoder '/proc': /proc has no config.json; give a folder"),
        ("ner", ("--fold", "3"), "the corpus has no folds; leave the fold out"),
        ("ner", ("--ner", "m"), "--ner joins RE with an NER model"),
        ("ner", ("--features", "f"), "--features keeps constant states, which this config has not"),
        ("re", ("--ledger", "l"), "--ledger names a trial for --ner"),
        ("re", ("--ner", "no/folder"), "'no/folder' is no folder, and no TRIAL_ID"),
        ("re", ("--ner", ".", "--ledger", "l"), "--ledger knows a TRIAL_ID, but folders are given"),
        ("ner", ("--set", "graph.layers=1", "--set", "graph.heads=5"), "graph.heads must divide"),
        ("ner", ("--device", "gpu"), "torch knows none of that name"),
        ("re", ("--set", "training.selection_entities=abc"), "give its model with --ner"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_no_folder(
    phase: str, more: tuple[str, ...], reason: str, lai: Run, tiny_encoder: str, corpus: Path
) -> None:
    code, lines, message = lai(*words(phase, corpus, tiny_encoder), *more)
    assert (code, lines, message.count("\n")) == (2, [], 1)
    assert reason in message
    assert not (corpus / phase).exists()


def test_a_refused_training_leaves_a_folder_that_was_there(lai: Run, tiny_encoder: str, corpus: Path) -> None:
    (corpus / "ner").mkdir()
    settings = ("graph.layers=1", "graph.heads=5")
    assert lai(*words("ner", corpus, tiny_encoder, *settings))[0] == 2
    assert (corpus / "ner").is_dir()


def test_an_ner_model_that_cannot_be_joined_is_told_before_the_training(
    lai: Run, tiny_encoder: str, corpus: Path, tmp_path: Path
) -> None:
    encoder = str(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    call = (*words("re", corpus, tiny_encoder), "--ner", corpus / "ner")
    assert lai(*words("ner", corpus, encoder))[0] == 0
    described = corpus / "ner" / "best" / "config.json"
    whole = described.read_text()

    def refusal() -> str:
        code, lines, message = lai(*call)
        assert (code, lines, message.count("\n"), (corpus / "re").exists()) == (2, [], 1, False)
        return message.removeprefix(f"{described.parent}: ")

    described.write_text(whole.replace('"Task"', '"Chore"'))
    assert refusal() == f"knows no entity type 'Task'; give an NER model of {corpus}\n"
    described.write_text(whole.replace('"phase": "NER"', '"phase": "RE"'))
    assert refusal() == "a model of phase NER is needed, but it is of RE; give another\n"
    described.write_text(whole)
    with (Path(encoder) / "vocab.txt").open("a") as vocabulary:
        vocabulary.write("more\n")
    encoder_id.cache_clear()
    assert refusal() == f"encoder {encoder!r} has changed since the training; restore it\n"


def test_an_interrupted_training_says_so_and_the_same_call_resumes(
    lai: Run, tiny_encoder: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, epochs = pipeline.train_trial, 0

    def interrupted(*args: object, **options: object) -> Iterator[EpochReport]:
        yield from islice(train(*args, **options), epochs)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "train_trial", interrupted)
        told = "interrupted at the start; the same call resumes\n"
        assert lai(*words("ner", corpus, tiny_encoder)) == (3, [], told)
        epochs = 1
        code, lines, message = lai(*words("ner", corpus, tiny_encoder))
        assert (code, lines) == (3, [])
        assert message.splitlines()[-1] == "interrupted after epoch 1; the same call resumes"
    code, lines, message = lai(*words("ner", corpus, tiny_encoder))
    assert (code, len(lines), message.count("\n")) == (0, 2, 2)


def test_a_second_call_in_one_folder_is_refused_and_the_first_goes_on(
    lai: Run, tiny_encoder: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = words("ner", corpus, tiny_encoder)
    train, refusals = pipeline.train_trial, list[tuple[int, str]]()

    def disturbed(*args: object, **options: object) -> Iterator[EpochReport]:
        for report in train(*args, **options):  # type: ignore[arg-type]
            code, _, message = lai(*call)
            refusals.append((code, message.splitlines()[-1]))  # after the first call's own lines
            yield report

    monkeypatch.setattr(pipeline, "train_trial", disturbed)
    code, evaluations, _ = lai(*call)
    assert (code, len(evaluations)) == (0, 2)
    out = corpus / "ner"
    told = f"{out}: another `lai train` is at work there; wait for it to end, or give another folder"
    assert refusals == [(2, told)] * 2
    monkeypatch.undo()
    assert lai(*call)[:2] == (0, evaluations)


def test_a_folder_without_locks_is_trained_in_with_a_warning(
    lai: Run, tiny_encoder: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    code, _, message = lai(*words("ner", corpus, tiny_encoder))
    assert code == 0
    assert "has no locks (No locks available); let no other `lai train` work there" in message


def test_a_training_that_diverges_is_one_line(lai: Run, tiny_encoder: str, corpus: Path) -> None:
    rates = ("training.encoder_lr=1e9", "training.head_lr=1e9", "training.clip=1e9", "training.epochs=9")
    code, lines, message = lai(*words("ner", corpus, tiny_encoder, *rates))
    assert (code, lines) == (1, [])
    last = message.splitlines()[-1]
    assert last.startswith("the training diverged: ")
    assert last.endswith("; lower training.encoder_lr or training.head_lr")
    assert " of epoch " in last


@pytest.mark.parametrize("full", ["checkpoints", "features"])
def test_a_full_disk_is_one_line_and_the_same_call_resumes(
    full: str, lai: Run, tiny_encoder: str, corpus: Path, mount_disk: Callable[..., Path]
) -> None:
    disk = mount_disk("disk", 64)
    call = words("ner", corpus, tiny_encoder)
    if full == "checkpoints":
        call += ["--out", disk / "out"]
    else:
        call = words("ner", corpus, tiny_encoder, "encoder.freeze=features", "graph.layers=0")
        (disk / "filler").write_bytes(bytes(60_000))
        call += ["--features", disk / "features"]
    code, lines, message = lai(*call)
    assert (code, lines, message.count("\n")) == (2, [], 1)
    assert message.startswith(f"{disk}/")
    assert message.endswith("No space left on device; make space there, then the same call resumes\n")
    mount_disk("disk", 64_000, "remount")
    (disk / "filler").unlink(missing_ok=True)
    assert lai(*call)[0] == 0


def test_an_ner_model_in_a_folder_that_cannot_be_written_is_evaluated_and_joins_re(
    lai: Run, tiny_encoder: str, corpus: Path, mount_disk: Callable[..., Path]
) -> None:
    code, evaluations, _ = lai(*words("ner", corpus, tiny_encoder))
    assert code == 0
    shared = mount_disk("shared", 64_000)
    shutil.copytree(corpus / "ner", shared / "ner")
    for path in (shared / "ner" / "best").glob("entities-*"):
        path.unlink()
    mount_disk("shared", 64_000, "remount", "ro")
    assert lai(*words("ner", corpus, tiny_encoder), "--out", shared / "ner")[:2] == (0, evaluations)
    call = words("re", corpus, tiny_encoder, "training.selection_entities=abc")
    _, writable, _ = lai(*call, "--ner", corpus / "ner")
    code, found, _ = lai(*call, "--out", corpus / "again", "--ner", shared / "ner")
    assert code == 0
    assert found == writable

"""`LaiNet` by itself, and `lai predict` and `lai save` around it, on models with random weights."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from lai_net import LaiNet, encoder_files
from lai_net.config import Phase, TrialConfig
from lai_net.encoder_files import encoder_id
from lai_net.errors import InputError
from lai_net.extraction import Extraction, Text
from lai_net.pipeline import _labels_to_dict, _task
from lai_net.schema import Labels
from lai_net.settings import with_settings
from lai_net.streams import Streams
from lai_net.training.checkpoint import save_model
from tests.integration.conftest import Run
from tune.ledger import Ledger, TrialRow

TEXTS: Sequence[Text] = [
    "Ada Lovelace wrote about the engine. Charles  Babbage built it in London.",
    ["Words", "are", "taken", "as", "they", "are."],
    [["A", "document"], [], ["of", "three", "sentences"]],
    "",
    [],
]
PHASES: tuple[Phase, ...] = ("NER", "RE")
LABELS = Labels(
    entities={"Person": "a person", "Place": "a place"},
    relations={"Near": "near to", "Born-In": "born in"},
    symmetric=frozenset(["Near"]),
)


def make_trial(folder: Path, phase: Phase, encoder: str, **settings: Any) -> Path:
    """What `lai train` leaves behind, but untrained."""
    changes = {key.replace("__", "."): value for key, value in settings.items()}
    config = with_settings(
        TrialConfig(phase=phase), {"encoder.name": encoder, "filter.threshold": 0.0} | changes
    )
    task = _task(config, LABELS, Streams(5, torch.device("cpu")), "cpu", ())
    with torch.no_grad():
        task.model.classifier.bias[0] = -9.0  # "none" is never the likeliest, so that something is found
    description = {
        "config": asdict(config),
        "labels": _labels_to_dict(LABELS),
        "encoder_id": encoder_id(encoder),
        "corpus": {"name": "c", "content_id": "0", "train": {}},
        "seed": 5,
    }
    folder.mkdir()
    (folder / "training.json").write_text("{}")
    save_model(task.model, folder / "best", description)
    return folder


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: str) -> dict[Phase, Path]:
    folder = tmp_path_factory.mktemp("trials")
    return {phase: make_trial(folder / phase, phase, tiny_encoder) for phase in PHASES}


@pytest.fixture(scope="module")
def model(trials: dict[Phase, Path]) -> LaiNet:
    return LaiNet.from_trials(trials["NER"], trials["RE"])


@pytest.fixture(scope="module")
def expected(model: LaiNet) -> list[Extraction]:
    found = model.extract(TEXTS)
    assert sum(len(item.entities) for item in found) > 5
    assert sum(len(item.relations) for item in found) > 0
    return found


@pytest.fixture(scope="module")
def saved_once(model: LaiNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def saved(saved_once: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(saved_once, tmp_path / "model"))


@pytest.fixture
def no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has no encoder, with every way to unpickle closed."""

    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("this must not be reached")

    monkeypatch.setattr(encoder_files, "encoder_folder", forbidden)
    monkeypatch.setattr("lai_net.model.encoder.encoder_folder", forbidden)
    monkeypatch.setattr("lai_net.inputs.tokenization.encoder_folder", forbidden)
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", forbidden)
    monkeypatch.setattr("transformers.AutoModel.from_pretrained", forbidden)
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", forbidden)
    monkeypatch.setattr("torch.load", forbidden)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)


def test_offsets_and_words_are_those_of_the_texts(expected: list[Extraction]) -> None:
    for text, found in zip(TEXTS, expected, strict=True):
        if isinstance(text, str):
            assert found.text == text
        for entity in found.entities:
            assert entity.text == found.text[entity.start_char : entity.end_char]
            assert entity.text.split() == " ".join(found.tokens[entity.start : entity.end]).split()
            assert 0 < entity.score <= 1
            assert any(first <= entity.start and entity.end <= end for first, end in found.sentences)
        assert all({item.subject, item.object} <= set(found.entities) for item in found.relations)
    assert expected[1].tokens == ("Words", "are", "taken", "as", "they", "are.")
    assert expected[2].sentences == ((0, 2), (2, 2), (2, 5))
    assert expected[3] == expected[4].__class__("", (), (), (), ())


def test_a_text_alone_gives_what_it_gives_among_others(model: LaiNet, expected: list[Extraction]) -> None:
    for text, among_others in zip(TEXTS, expected, strict=True):
        (alone,) = model.extract([text])
        for mine, theirs in (
            (alone.entities, among_others.entities), (alone.relations, among_others.relations)
        ):  # fmt: skip
            assert [item.type for item in mine] == [item.type for item in theirs]
            assert [item.score for item in mine] == pytest.approx([item.score for item in theirs], abs=1e-5)


def test_what_was_saved_finds_the_same_without_its_encoder(
    saved: Path, expected: list[Extraction], no_encoder: None
) -> None:
    assert LaiNet.from_pretrained(saved).extract(TEXTS) == expected


def test_saved_again_it_is_the_same_bytes(saved: Path, tmp_path: Path, no_encoder: None) -> None:
    again = tmp_path / "again"
    LaiNet.from_pretrained(saved).save_pretrained(again)
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(path.name for path in again.iterdir()) == names
    for name in names:
        assert (again / name).read_bytes() == (saved / name).read_bytes(), name


def test_loading_leaves_the_random_state_alone(saved: Path) -> None:
    before = torch.get_rng_state()
    LaiNet.from_pretrained(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_saving_replaces_its_files_and_no_others(model: LaiNet, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "config.json").write_text("old")
    model.save_pretrained(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "lai-net"
    with pytest.raises(InputError, match="cannot be written"):
        model.save_pretrained(tmp_path / "notes.txt")


def test_transformers_reads_the_tokenizer_files(saved: Path, tiny_encoder: str) -> None:
    text = "Unbelievable, naïve tokenisation."
    ids = [AutoTokenizer.from_pretrained(folder)(text).input_ids for folder in (saved, tiny_encoder)]
    assert ids[0] == ids[1]


def test_a_frozen_cut_encoder_and_another_tokenizer_are_included(
    trials: dict[Phase, Path], tiny_encoder: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    other = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    change(other / "tokenizer_config.json", "do_lower_case", value=False)
    settings = {"encoder__freeze": "all", "encoder__num_layers": 1, "graph__layers": 0}
    ner = make_trial(tmp_path / "ner", "NER", str(other), **settings)
    model = LaiNet.from_trials(ner, trials["RE"] / "best")
    expected = model.extract(TEXTS)
    model.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "ner" / "tokenizer.json").is_file()
    request.getfixturevalue("no_encoder")
    assert LaiNet.from_pretrained(tmp_path / "model").extract(TEXTS) == expected


def test_what_cannot_be_joined_or_read_is_said(
    model: LaiNet, trials: dict[Phase, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="a model of phase NER is needed, but got one of RE"):
        LaiNet.from_trials(trials["RE"], trials["NER"])
    with pytest.raises(InputError, match="no trained model there"):
        LaiNet.from_trials(tmp_path, trials["RE"])
    (tmp_path / "training.json").write_text("{}")
    with pytest.raises(InputError, match="its training is not finished"):
        LaiNet.from_trials(tmp_path, trials["RE"])
    with pytest.raises(InputError, match="device 'abacus' is not to be had"):
        LaiNet.from_trials(trials["NER"], trials["RE"], device="abacus")
    with pytest.raises(InputError, match="put the one text into a list"):
        model.extract("a text")
    with pytest.raises(InputError, match="a text must be a string"):
        model.extract([5])  # type: ignore[list-item]


def test_a_sentence_that_is_too_long_is_said(model: LaiNet) -> None:
    with pytest.warns(UserWarning, match="1 sentences were cut"):
        model.extract([["word"] * 400, "short"])


def change(path: Path, *keys: str, value: Any) -> None:
    content = json.loads(path.read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(content))


ENCODER = ("phases", "NER", "encoder")
SETTINGS = ("phases", "NER", "settings")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("model_type",), "bert"),
        (("format",), 2),
        (("auto_map",), {"AutoModel": "evil.Model"}),
        (("phases", "RE"), None),
        (("phases", "../../RE"), {}),
        (("phases", "NER", "labels", "entities"), {"Person": "a person"}),
        (("phases", "NER", "labels", "entities"), {}),
        (("phases", "NER", "labels", "entities", "Person"), 5),
        ((*ENCODER, "vocab_size"), 10**9),
        ((*ENCODER, "vocab_size"), 10),
        ((*ENCODER, "hidden_size"), 10**30),
        ((*ENCODER, "num_hidden_layers"), 10**9),
        ((*ENCODER, "num_attention_heads"), 5),
        ((*ENCODER, "layer_norm_eps"), float("nan")),
        ((*ENCODER, "hidden_act"), "__import__('os')"),
        ((*ENCODER, "model_path"), "/etc/passwd"),
        ((*SETTINGS, "graph", "layers"), 10**9),
        ((*SETTINGS, "graph", "layers"), 1),
        ((*SETTINGS, "input", "max_span_words"), 10**9),
        ((*SETTINGS, "input", "max_text_tokens"), 10**9),
        ((*SETTINGS, "graph"), [1]),
        ((*SETTINGS, "unknown"), {"a": 1}),
    ],
    ids=str,
)
def test_a_hostile_config_is_one_clear_error(
    keys: tuple[str, ...], value: Any, saved: Path, no_encoder: None
) -> None:
    change(saved / "config.json", *keys, value=value)
    with pytest.raises(InputError, match="model") as error:
        LaiNet.from_pretrained(saved)
    assert "\n" not in str(error.value)
    assert str(saved) in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b""),
        ("config.json", b"[" * 100_000),
        ("config.json", b"\xff\xfe"),
        ("model.safetensors", b"\x80\x04cos\nsystem\n"),
        ("model.safetensors", (2**60).to_bytes(8, "little")),
        ("tokenizer.json", b"{}"),
        ("tokenizer_config.json", b"[]"),
        ("tokenizer_config.json", b'{"unk_token": "../x"}'),
    ],
)
def test_a_damaged_file_is_named(name: str, content: bytes, saved: Path, no_encoder: None) -> None:
    (saved / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{saved / name}: .*; save the model again") as error:
        LaiNet.from_pretrained(saved)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_file_is_said(saved: Path) -> None:
    for name in ("tokenizer.json", "model.safetensors", "config.json"):
        (saved / name).unlink()
        with pytest.raises(InputError, match="save"):
            LaiNet.from_pretrained(saved)


def test_nothing_beside_its_own_files_is_read(
    saved: Path, expected: list[Extraction], no_encoder: None
) -> None:
    """Names and paths that `transformers` would follow, and pickles that it would open."""
    for name in ("pytorch_model.bin", "modeling.py", "adapter_config.json", "special_tokens_map.json"):
        (saved / name).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    for key, value in {
        "tokenizer_class": "EvilTokenizer",
        "auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]},
        "vocab_file": "/etc/passwd",
        "tokenizer_file": "/etc/passwd",
    }.items():
        change(saved / "tokenizer_config.json", key, value=value)
    change(saved / "config.json", *SETTINGS, "encoder", "name", value="../../../etc")
    assert LaiNet.from_pretrained(saved).extract(TEXTS) == expected


@pytest.fixture
def ledger(tmp_path: Path, trials: dict[Phase, Path]) -> Path:
    """A ledger with both trials completed."""
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path) as opened:
        for phase, trial_id in (("NER", "aa11"), ("RE", "bb22")):
            row = TrialRow(
                trial_id=trial_id, config_id=trial_id, spec_id=trial_id, dataset="d", phase=phase, fold=None,
                seed=0, config={}, corpus_id="c", encoder_id="e",
            )  # fmt: skip
            opened.register_trials([row])
            opened.start_attempt(trial_id, 1, {})
            opened.finish_attempt(trial_id, 1, "completed", artefacts={"best": f"artifacts/{trial_id}"})
            shutil.copytree(trials[phase] / "best", tmp_path / "artifacts" / trial_id)  # type: ignore[index]
    return path


def test_predict_takes_folders_trial_ids_and_a_saved_model(
    lai: Run, trials: dict[Phase, Path], ledger: Path, tmp_path: Path, expected: list[Extraction]
) -> None:
    text = ("--text", str(TEXTS[0]))
    answer = 0, [expected[0].as_dict()], ""
    assert lai("predict", "--ner", trials["NER"], "--re", trials["RE"], *text) == answer
    assert lai("predict", "--ner", "aa", "--re", "bb22", "--ledger", ledger, *text) == answer
    code, lines, message = lai("save", tmp_path / "m", "--ner", "aa", "--re", "b", "--ledger", ledger)
    assert (code, lines) == (0, [])
    assert message.startswith(f"{tmp_path / 'm'}: ")
    assert lai("predict", "--model", tmp_path / "m", *text) == answer


def test_predict_reads_files_and_streams_in_batches(
    lai: Run, saved: Path, tmp_path: Path, model: LaiNet
) -> None:
    expected = [found.as_dict() for found in model.extract(["First text .", "Second one ."])]
    lines = '{"text": "First text ."}\n{"tokens": ["Second", "one", "."]}\n'
    (tmp_path / "x.jsonl").write_text(lines)
    predict = ("predict", "--model", saved, "--batch-size", "1")
    for answer in (
        lai(*predict, "--input", tmp_path / "x.jsonl"),
        lai(*predict, "--input", "-", stdin=lines),
        lai(*predict, stdin=lines),
        lai(*predict, stdin="First text .\n\nSecond one .\n"),
    ):
        code, found, message = answer
        assert (code, message) == (0, "")
        assert [line["tokens"] for line in found] == [line["tokens"] for line in expected]
        for line, other in zip(found, expected, strict=True):
            scores = [item["score"] for item in line["entities"]]
            assert scores == pytest.approx([item["score"] for item in other["entities"]], abs=1e-5)


def test_predictions_of_a_corpus_can_be_scored(lai: Run, saved: Path, tmp_path: Path) -> None:
    gold = {
        "doc_key": "d",
        "sentences": [["Ada", "wrote", "it"], [], ["In", "London"]],
        "ner": [[[0, 0, "Person"]], [], [[4, 4, "Place"]]],
        "relations": [[], [], []],
    }
    (tmp_path / "gold.json").write_text(json.dumps(gold))
    code, (document,), _ = lai(
        "predict", "--model", saved, "--input", tmp_path / "gold.json", "--format", "dygie"
    )
    assert code == 0
    (tmp_path / "predicted.json").write_text(json.dumps(document))
    code, (scores,), _ = lai("score", tmp_path / "gold.json", tmp_path / "predicted.json", "--json")
    assert code == 0
    assert set(scores) == {"NER", "RE", "RE+"}


def test_a_sentence_that_is_cut_is_said_on_stderr(lai: Run, saved: Path) -> None:
    code, lines, message = lai("predict", "--model", saved, "--text", "word " * 400)
    assert (code, len(lines), len(lines[0]["tokens"])) == (0, 1, 400)
    assert message == "warning: 1 sentences were cut at the models' limit\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--text", "x"), "give --ner and --re, or --model"),
        (("--ner", "aa", "--text", "x"), "give --ner and --re, or --model"),
        (("--model", "m", "--ner", "aa", "--text", "x"), "--model holds both phases"),
        (("--ner", "aa", "--re", "cc", "--text", "x"), "'cc' is no folder, and as a TRIAL_ID: 0 trials"),
        (("--ner", "no/folder", "--re", "bb", "--text", "x"), "no/folder: no trained model there"),
        (("--model", "m", "--text", "x"), "m: no saved model there"),
        (("--model", "m", "--ledger", "l", "--text", "x"), "--ledger names trials for --ner and --re"),
        (("--ner", "aa", "--re", "bb"), "there is nothing to read"),
        (("--ner", "aa", "--re", "bb", "--text", "x", "--input", "y"), "give either --text or --input"),
        (("--ner", "aa", "--re", "bb", "--input", "y.json"), "y.json: cannot be read"),
    ],
)
def test_wrong_input_is_one_line_and_exits_with_2(
    words: tuple[str, ...], reason: str, lai: Run, ledger: Path
) -> None:
    named = () if "--model" in words else ("--ledger", ledger)
    code, lines, message = lai("predict", *named, *words)
    assert (code, lines, message.count("\n")) == (2, [], 1)
    assert reason in message


def test_a_bad_line_is_said_with_its_place_before_anything_is_printed(
    lai: Run, saved: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "fine"}\n{"text": 5}\n')
    code, lines, message = lai("predict", "--model", saved, "--input", tmp_path / "x.jsonl")
    assert (code, lines) == (2, [])
    assert message.startswith(f"{tmp_path / 'x.jsonl'}:2: text must be a string")
    code, _, message = lai("predict", "--model", saved, stdin='{"text": "fine"}\n{"text": 5}\n')
    assert code == 2
    assert message.startswith("<stdin>:2: ")


def test_lai_net_is_imported_without_torch() -> None:
    code = "import sys, lai_net; from lai_net import __version__; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

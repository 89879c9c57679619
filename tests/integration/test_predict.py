"""`lai predict` and `lai save` around `LaiNet`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lai_net import LaiNet
from lai_net.config import Phase
from lai_net.extractor import SentencesCut
from tests.integration.conftest import Run
from tests.integration.untrained import TEXTS, change
from tests.unit.rows import trial_row
from tune.ledger.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path, trials: dict[Phase, Path]) -> Path:
    """A ledger with both trials completed."""
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path) as opened:
        for phase, trial_id in (("NER", "aa11"), ("RE", "bb22")):
            row = trial_row(
                trial_id=trial_id, config_id=trial_id, spec_id=trial_id, dataset="d", phase=phase, seed=0
            )
            opened.register_trials([row])
            opened.start_attempt(trial_id, 1, {})
            opened.finish_attempt(trial_id, 1, "completed", artefacts={"best": f"artifacts/{trial_id}"})
            shutil.copytree(trials[phase] / "best", tmp_path / "artifacts" / trial_id)  # type: ignore[index]
    return path


def test_predict_takes_folders_trial_ids_and_a_saved_model(
    lai: Run, trials: dict[Phase, Path], ledger: Path, tmp_path: Path, model: LaiNet
) -> None:
    text = ("--text", str(TEXTS[0]))
    answer = 0, [model.extract([TEXTS[0]])[0].as_dict()], ""  # alone: other texts may change the last bit
    assert lai("predict", "--ner", trials["NER"], "--re", trials["RE"], *text) == answer
    assert lai("predict", "--ner", "aa", "--re", "bb22", "--ledger", ledger, *text) == answer
    code, lines, message = lai("save", tmp_path / "m", "--ner", "aa", "--re", "b", "--ledger", ledger)
    assert (code, lines) == (0, [])
    assert message == f"{tmp_path / 'm'}: NER and RE, encoder and tokenizer included\n"
    code, _, again = lai("save", tmp_path / "m", "--ner", "aa", "--re", "b", "--ledger", ledger)
    assert (code, again) == (0, message.replace("\n", "; the model that was there is replaced\n"))
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


def test_sentences_that_are_cut_are_named_on_stderr(lai: Run, saved: Path) -> None:
    long = "Word" + " word" * 399
    code, lines, message = lai("predict", "--model", saved, "--text", long)
    assert (code, len(lines), len(lines[0]["tokens"])) == (0, 1, 400)
    assert message == "warning: 1 sentence was cut at the models' limit: the text, sentence 0\n"
    code, lines, message = lai("predict", "--model", saved, stdin=f"So.\n\nSo. {long}. {long}.\n")
    assert (code, len(lines)) == (0, 2)
    assert [line["cut"] for line in lines] == [[], [1, 2]]
    places = "line 3, sentence 1; line 3, sentence 2"
    assert message == f"warning: 2 sentences were cut at the models' limit: {places}\n"


def test_the_warning_of_a_cut_sentence_names_text_and_sentence(model: LaiNet) -> None:
    with pytest.warns(SentencesCut, match="^1 sentence was cut .*: text 1, sentence 2$") as caught:
        model.extract(["So.", [["So"], [], ["word"] * 400]])
    assert [getattr(warning.message, "places", None) for warning in caught] == [[(1, 2)]]


@pytest.mark.parametrize("flags", [{}, {"avx512_bf16": True}])
def test_a_processor_slow_in_bf16_is_said_once(
    lai: Run,
    tmp_path: Path,
    trials: dict[Phase, Path],
    monkeypatch: pytest.MonkeyPatch,
    flags: dict[str, bool],
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    shutil.copytree(trials["NER"], tmp_path / "ner")
    change(tmp_path / "ner" / "best" / "config.json", "config", "training", "precision", value="bf16")
    words = ("predict", "--ner", tmp_path / "ner", "--re", trials["RE"], "--batch-size", "1")
    code, lines, message = lai(*words, stdin="First .\nSecond .\n")
    assert (code, len(lines)) == (0, 2)
    start = "warning: NER computes in bf16, but cpu has no instructions for bf16, which is slower there"
    assert (message.count("\n"), message.startswith(start)) == ((0, False) if flags else (1, True))


def test_an_answer_says_which_line_and_key_it_is_for(lai: Run, saved: Path, tmp_path: Path) -> None:
    lines = '{"doc_key": "A", "text": "x"}\n\n{"text": "y"}\n{"doc_key": "C", "sentences": []}\n'
    code, found, message = lai("predict", "--model", saved, stdin=lines)
    assert (code, message) == (0, "")
    assert [(line.get("doc_key"), line["line"], line["text"]) for line in found] == [
        ("A", 1, "x"), (None, 3, "y"), ("C", 4, ""),
    ]  # fmt: skip
    assert found[-1]["sentences"] == []
    code, found, _ = lai("predict", "--model", saved, "--format", "dygie", stdin=lines)
    assert [line["doc_key"] for line in found] == ["A", "3", "C"]
    (tmp_path / "x.json").write_text(
        json.dumps([{"tokens": ["x"], "entities": [], "relations": [], "orig_id": 7}])
    )
    code, (line,), _ = lai("predict", "--model", saved, "--input", tmp_path / "x.json")
    assert ("line" in line, line["doc_key"]) == (False, "7")


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ('{"doc_key": "A", "text": "x"}', '{"doc_key": "A", "text": "y"}', "doc_key 'A' was there before"),
        ('{"text": "x"}', '{"doc_key": "1", "text": "y"}', "doc_key '1' was there before"),
        (
            '{"doc_key": "3", "text": "x"}',
            '{"text": "y"}',
            "its line's number, which stands for a doc_key, '3' was there before",
        ),
    ],
)
def test_documents_of_one_name_which_could_not_be_scored_are_refused(
    lai: Run, saved: Path, tmp_path: Path, first: str, second: str, told: str
) -> None:
    lines, path = f"{first}\n\n{second}\n", tmp_path / "x.jsonl"
    path.write_text(lines)
    predict = ("predict", "--model", saved)
    ending = f":3: {told}; give each text a doc_key of its own\n"
    assert lai(*predict, "--format", "dygie", "--input", path) == (2, [], f"{path}{ending}")
    code, found, message = lai(*predict, "--format", "dygie", stdin=lines)
    assert (code, len(found), message) == (2, 1, f"<stdin>{ending}")
    code, found, message = lai(*predict, "--input", path)
    assert (code, len(found), message) == (0, 2, "")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--text", "x"), "give --ner and --re, or --model"),
        (("--ner", "aa", "--text", "x"), "give --ner and --re, or --model"),
        (("--model", "m", "--ner", "aa", "--text", "x"), "--model holds both phases"),
        (("--ner", "aa", "--re", "cc", "--text", "x"), "'cc' is no folder, and as a TRIAL_ID: 0 trials"),
        (("--ner", "zzzz", "--re", "bb", "--text", "x"), "'zzzz' is no folder, and no TRIAL_ID, which has"),
        (
            ("--model", "m", "--text", "x"),
            "m: no saved model there (No such file or directory); give a folder "
            "of `lai save` or `save_pretrained`",
        ),
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


def test_save_asks_for_no_option_that_it_lacks(lai: Run, tmp_path: Path) -> None:
    for words in ((), ("--ner", "aa")):
        said = "two models are needed: give --ner and --re\n"
        assert lai("save", tmp_path / "m", *words) == (2, [], said)


def test_a_folder_that_holds_no_whole_model_is_one_line_and_exits_with_2(
    lai: Run, saved: Path, trials: dict[Phase, Path], tiny_encoder: str
) -> None:
    text, re_model = ("--text", "x"), ("--re", trials["RE"])
    change(saved / "config.json", "format", value=2)
    later = lai("predict", "--model", saved, *text)
    (saved / "model.safetensors").unlink()
    change(saved / "config.json", "format", value=1)
    bare = lai("predict", "--model", saved, *text)
    encoder = lai("predict", "--ner", tiny_encoder, *re_model, *text)
    for (code, lines, message), reason in (
        (later, f"{saved}/config.json: format: Input should be 1; save the model again"),
        (bare, f"{saved}/model.safetensors: cannot be read (No such file"),
        (encoder, f"{tiny_encoder}: no trained model, but something else; give a folder of `lai train`"),
    ):
        assert (code, lines, message.count("\n")) == (2, [], 1)
        assert message.startswith(reason)


def command_line(saved: Path, *words: str | Path) -> list[str]:
    return [sys.executable, "-m", "analysis", "predict", "--model", str(saved), *map(str, words)]


def test_progress_is_on_the_terminal_and_a_pipe_holds_lines_alone(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("First text .\nSecond one .\n")
    terminal, stderr = os.openpty()
    done = subprocess.run(
        command_line(saved, "--input", tmp_path / "x.txt"),
        stdout=subprocess.PIPE, stderr=stderr, env={**os.environ, "TERM": "xterm"}, check=True,
    )  # fmt: skip
    os.close(stderr)
    shown = os.read(terminal, 10_000).decode()
    os.close(terminal)
    assert "2/2" in shown
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["First text .", "Second one ."]


def test_a_reader_that_has_enough_ends_it_without_a_word(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("A text .\n" * 500)
    words = command_line(saved, "--input", tmp_path / "x.txt", "--batch-size", "1")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert json.loads(running.stdout.readline())["text"] == "A text ."
        running.stdout.close()
        assert running.stderr is not None
        assert running.stderr.read() == b""
    assert running.returncode == 3


def test_a_bad_line_of_a_file_is_said_before_anything_is_printed(
    lai: Run, saved: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "fine"}\n{"text": 5}\n')
    code, lines, message = lai("predict", "--model", saved, "--input", tmp_path / "x.jsonl")
    assert (code, lines) == (2, [])
    assert message.startswith(f"{tmp_path / 'x.jsonl'}:2: text must be a string")


def test_what_is_before_a_bad_line_of_a_stream_is_answered(lai: Run, saved: Path) -> None:
    code, lines, message = lai("predict", "--model", saved, stdin='{"text": "fine"}\n{"text": 5}\n')
    assert (code, [line["text"] for line in lines], message.count("\n")) == (2, ["fine"], 1)
    assert message.startswith("<stdin>:2: text must be a string")

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from lai_net.cli import app
from lai_net.errors import InputError

RECORD = {
    "doc_key": "a",
    "sentences": [["A", "b", "c"]],
    "ner": [[[0, 0, "X[i]"], [1, 2, "Y"]]],
    "relations": [[[0, 0, 1, 2, "R"]]],
}


def run(*args):
    return CliRunner().invoke(app, ["corpus", "check", *map(str, args)])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(RECORD))
    return path


def test_json_is_alone_on_stdout(path):
    result = run(path, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["splits"]["train"]["entity_labels"] == {"X[i]": 1, "Y": 1}
    assert not result.stderr


def test_table_names_labels_and_oddities(path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    path.write_text(json.dumps({**RECORD, "ner": [[[0, 0, "X[i]"], [0, 1, "Y"]]], "key": 0}))
    result = run(path)
    assert result.exit_code == 0
    for part in ("x.json (dygie)", "X[i]", "pairs of overlapping entities", "unknown key 'key'"):
        assert part in result.stdout
    assert "relations listed again" not in result.stdout
    assert "first of pairs of overlapping entities: train, document 'a', sentence 0" in result.stdout


def test_labels_that_may_be_slips_are_named(tmp_path):
    for split, label in (("train", "X"), ("dev", "x"), ("test", "[b]")):
        record = {**RECORD, "doc_key": split, "ner": [[[0, 0, "X"], [1, 2, label]]]}
        (tmp_path / f"{split}.json").write_text(json.dumps(record))
    printed = run(tmp_path).stdout
    assert "labels of entities that train lacks: [b], x\n" in printed
    assert "labels of entities that differ by case alone: X and x\n" in printed


def test_folds_have_a_table_each(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for fold in (0, 1):
        for part in ("train", "test"):
            record = {"tokens": ["a"], "entities": [], "relations": []}
            (tmp_path / f"ade_split_{fold}_{part}.json").write_text(json.dumps([record]))
    result = run(tmp_path)
    assert "(spert, fold 0)" in result.stdout
    assert "(spert, fold 1)" in result.stdout
    assert "documents in both splits of train+test: 1" in result.stdout


def test_what_cannot_be_trained_with_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    empty = {"doc_key": "e", "sentences": [], "ner": [], "relations": []}
    for split in ("train", "dev", "test"):
        record = empty if split == "dev" else {**RECORD, "doc_key": split}
        (tmp_path / f"{split}.json").write_text(json.dumps(record))
    assert "\ndev has no sentences, without which nothing is trained\n" in run(tmp_path).stdout
    for part in ("train", "test"):
        record = {"tokens": ["a"], "entities": [], "relations": []}
        (tmp_path / f"ade_split_0_{part}.json").write_text(json.dumps([record] * 5))
    assert "train has too few documents to cut dev from: 5; " in run(tmp_path).stdout


def test_embedded_is_a_corpus():
    result = run("embedded", "--json")
    assert json.loads(result.stdout)["splits"]["train"]["sentences"] == 160


@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["table", "json"])
def test_bad_file_is_an_input_error_and_prints_nothing(path, as_json):
    path.write_text(json.dumps(RECORD) + "\n{")
    result = run(path, *as_json)
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"{path}:2: bad JSON")
    assert not result.stdout


def test_format_is_obeyed_and_checked(path):
    assert isinstance(run(path, "--format", "spert").exception, InputError)
    assert run(path, "--format", "dygie").exit_code == 0
    assert run(path, "--format", "conll").exit_code == 2


def test_checking_and_scoring_load_no_torch():
    code = (
        "import sys, lai_net.cli, lai_net.corpora.check, lai_net.corpora.predictions;"
        "import lai_net.metrics.scoring;"
        "print(*sorted({'torch', 'transformers', 'ray'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert loaded.split() == []

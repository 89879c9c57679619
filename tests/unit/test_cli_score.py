import json

import pytest
from typer.testing import CliRunner

from lai_net.cli import app
from lai_net.errors import InputError

DOCUMENT = {
    "doc_key": "a",
    "sentences": [["A", "b"], ["C", "d", "e"]],
    "ner": [[[0, 0, "Task"]], [[2, 2, "Method"], [3, 4, "Task"]]],
    "relations": [[], [[2, 2, 3, 4, "COMPARE"]]],
}
PREDICTED = {
    "doc_key": "a",
    "sentences": DOCUMENT["sentences"],
    "predicted_ner": [[], [[2, 2, "Method", 0.7], [3, 4, "Task", 0.9]]],
    "predicted_relations": [[], [[3, 4, 2, 2, "COMPARE", 0.5]]],
}


def run(*args):
    return CliRunner().invoke(app, ["score", *map(str, args)])


@pytest.fixture
def gold(tmp_path):
    path = tmp_path / "gold.json"
    path.write_text(json.dumps(DOCUMENT))
    return path


@pytest.fixture
def predicted(tmp_path):
    path = tmp_path / "predicted.json"
    path.write_text(json.dumps(PREDICTED))
    return path


PERFECT = {"precision": 1.0, "recall": 1.0, "f1": 1.0}
NOTHING = dict.fromkeys(PERFECT, 0.0)
ENTITIES = {"precision": 1.0, "recall": 2 / 3, "f1": 0.8}


@pytest.mark.parametrize(("protocol", "relations"), [("pure", NOTHING), ("plmarker", PERFECT)])
def test_json_scores(gold, predicted, protocol, relations):
    result = run(gold, predicted, "--protocol", protocol, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"NER": ENTITIES, "RE": relations, "RE+": relations}
    assert list(json.loads(result.stdout)) == ["NER", "RE", "RE+"]


def test_pure_and_micro_are_the_defaults(gold, predicted):
    spelled_out = run(gold, predicted, "--protocol", "pure", "--averaging", "micro", "--json")
    assert run(gold, predicted, "--json").stdout == spelled_out.stdout


def test_macro(gold, predicted):
    scores = json.loads(run(gold, predicted, "--averaging", "macro", "--json").stdout)
    assert scores["NER"] == {"precision": 1.0, "recall": 0.75, "f1": pytest.approx((1 + 2 / 3) / 2)}


def test_table_is_in_percent(gold, predicted):
    result = run(gold, predicted)
    assert "NER    100.00%    66.67%    80.00%" in result.stdout


def test_plmarker_output_beside_its_ner_output(gold, predicted, tmp_path):
    relations = tmp_path / "re.json"
    relations.write_text(json.dumps({"0": [[1, [[[2, 2], [3, 4], "COMPARE"]]]]}))
    result = run(gold, relations, "--ner", predicted, "--json")
    assert json.loads(result.stdout) == {"NER": ENTITIES, "RE": PERFECT, "RE+": PERFECT}


def test_spert_gold(tmp_path):
    gold = tmp_path / "gold.json"
    entities = [{"type": "Drug", "start": 0, "end": 1}]
    gold.write_text(json.dumps([{"tokens": ["A", "b"], "entities": entities, "relations": []}]))
    predicted = tmp_path / "predicted.json"
    predicted.write_text(
        json.dumps({"doc_key": "x", "sentences": [["A", "b"]], "predicted_ner": [[[0, 0, "Drug"]]]})
    )
    result = run(gold, predicted, "--json")
    assert json.loads(result.stdout)["NER"] == PERFECT
    assert "holds no relation" in result.stderr


def test_plmarker_needs_to_know_the_symmetric_relations(gold, predicted, tmp_path):
    own = tmp_path / "own.toml"
    text = gold.read_text().replace("COMPARE", "like")
    gold.write_text(text)
    predicted.write_text(predicted.read_text().replace("COMPARE", "like"))
    result = run(gold, predicted, "--protocol", "plmarker")
    assert isinstance(result.exception, InputError)
    assert "'like'" in str(result.exception)
    own.write_text('symmetric = ["like"]\n[entities]\nTask = "t"\nMethod = "m"\n[relations]\nlike = "l"\n')
    result = run(gold, predicted, "--protocol", "plmarker", "--annotations", own, "--json")
    assert json.loads(result.stdout)["RE"] == PERFECT


def test_annotations_without_their_protocol_are_refused(gold, predicted):
    result = run(gold, predicted, "--annotations", "scierc")
    assert isinstance(result.exception, InputError)
    assert "--annotations names symmetric relations, which pure has not" in str(result.exception)


def test_spert_as_predictions_is_one_short_line(gold, tmp_path):
    path = tmp_path / "spert.json"
    entity = {"type": "T", "start": 0, "end": 1, "more": "x" * 500}
    path.write_text(json.dumps([{"tokens": ["w"] * 99, "entities": [entity] * 99, "relations": []}] * 9))
    result = run(gold, path)
    assert isinstance(result.exception, InputError)
    assert str(result.exception).endswith(
        "is one JSON list, as SpERT writes; give DyGIE JSON lines with predicted_ner"
    )


def test_gold_as_predictions_is_an_input_error(gold):
    result = run(gold, gold)
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"{gold}:1: the document has no 'predicted_ner'")

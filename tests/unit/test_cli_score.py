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


@pytest.mark.parametrize("line", [1, 2])
def test_relations_of_some_documents_alone_are_refused(gold, predicted, line):
    documents = [PREDICTED | {"doc_key": key} for key in "ab"]
    gold.write_text("\n".join(json.dumps(DOCUMENT | {"doc_key": key}) for key in "ab"))
    del documents[line - 1]["predicted_relations"]
    predicted.write_text("\n".join(map(json.dumps, documents)))
    assert str(run(gold, predicted).exception) == (
        f"{predicted}:{line}: the document has no 'predicted_relations', though others do; add it, with an "
        "empty list a sentence where none are predicted, or leave it out everywhere"
    )
    documents[2 - line].pop("predicted_relations")
    predicted.write_text("\n".join(map(json.dumps, documents)))
    result = run(gold, predicted, "--json")
    assert json.loads(result.stdout) == {"NER": ENTITIES, "RE": NOTHING, "RE+": NOTHING}
    assert "holds no relation" in result.stderr


@pytest.fixture
def unknown(gold, predicted):
    """Both files with a relation type that no shipped annotations have."""
    for path in (gold, predicted):
        path.write_text(path.read_text().replace("COMPARE", "like"))


def test_plmarker_needs_to_know_the_symmetric_relations(gold, predicted, unknown, tmp_path):
    own = tmp_path / "own.toml"
    result = run(gold, predicted, "--protocol", "plmarker")
    assert isinstance(result.exception, InputError)
    assert str(result.exception) == (
        "no shipped annotations say which relation types of 'like' are symmetric; give --symmetric LABEL for "
        'each that is (--symmetric "" if none is), or the corpus\' --annotations'
    )
    own.write_text('symmetric = ["like"]\n[entities]\nTask = "t"\nMethod = "m"\n[relations]\nlike = "l"\n')
    result = run(gold, predicted, "--protocol", "plmarker", "--annotations", own, "--json")
    assert json.loads(result.stdout)["RE"] == PERFECT


@pytest.mark.parametrize(("label", "relations"), [("like", PERFECT), ("", NOTHING)])
def test_symmetric_relations_may_be_named(gold, predicted, unknown, label, relations):
    result = run(gold, predicted, "--protocol", "plmarker", "--symmetric", label, "--json")
    assert json.loads(result.stdout)["RE"] == relations


def test_a_relation_that_is_predicted_alone_may_be_named_too(gold, predicted, unknown):
    more = [[[0, 0, 1, 1, "near"]], *PREDICTED["predicted_relations"][1:]]
    predicted.write_text(json.dumps(PREDICTED | {"predicted_relations": more}).replace("COMPARE", "like"))
    named = ("--symmetric", "like", "--symmetric", "near")
    result = run(gold, predicted, "--protocol", "plmarker", *named, "--json")
    assert json.loads(result.stdout)["RE"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3)}


def test_entity_types_do_not_matter_to_plmarker(gold, predicted):
    for path in (gold, predicted):
        path.write_text(path.read_text().replace("Task", "Chore"))
    result = run(gold, predicted, "--protocol", "plmarker", "--json")
    assert json.loads(result.stdout) == {"NER": ENTITIES, "RE": PERFECT, "RE+": PERFECT}


def test_without_relations_plmarker_asks_for_none(gold, predicted):
    gold.write_text(json.dumps(DOCUMENT | {"relations": [[], []]}))
    predicted.write_text(json.dumps(PREDICTED | {"predicted_relations": [[], []]}).replace("Task", "Chore"))
    result = run(gold, predicted, "--protocol", "plmarker", "--json")
    assert json.loads(result.stdout)["RE"] == NOTHING


def test_relations_that_are_predicted_alone_are_looked_up(gold, predicted, unknown):
    gold.write_text(json.dumps(DOCUMENT | {"relations": [[], []]}))
    result = run(gold, predicted, "--protocol", "plmarker")
    assert "relation types of 'like'" in str(result.exception)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--annotations", "scierc"), "--annotations names symmetric relations, which pure has not"),
        (("--symmetric", "COMPARE"), "--symmetric names symmetric relations, which pure has not"),
        (
            ("--protocol", "plmarker", "--annotations", "scierc", "--symmetric", "COMPARE"),
            "--annotations and --symmetric both name symmetric relations; give one",
        ),
        (
            ("--protocol", "plmarker", "--symmetric", "Compare"),
            "--symmetric 'Compare' is no relation type of these files, which have 'COMPARE'; mend",
        ),
    ],
)
def test_options_that_name_no_symmetric_relation_here_are_refused(gold, predicted, options, reason):
    result = run(gold, predicted, *options)
    assert isinstance(result.exception, InputError)
    assert reason in str(result.exception)


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

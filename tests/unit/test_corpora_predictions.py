import json
import re

import pytest

from lai_net.corpora.dygie import read_dygie
from lai_net.corpora.loading import read_corpus_file
from lai_net.corpora.predictions import align, read_predictions
from lai_net.errors import InputError
from lai_net.schema import Entity, Relation, Span


def ner_document(key="a", **changes):
    return {
        "doc_key": key,
        "sentences": [["A", "b"], ["C", "d", "e"]],
        "ner": [[], []],
        "relations": [[], []],
        "predicted_ner": [[], [[2, 2, "X"], [3, 4, "Y"]]],
        **changes,
    }


def write(path, *documents):
    path.write_text("\n".join(json.dumps(document) for document in documents))
    return path


def test_plmarker_relations_join_its_entities(tmp_path):
    ner = write(tmp_path / "ner.json", ner_document(), ner_document("b"))
    relations = tmp_path / "re.json"
    relations.write_text(json.dumps({"1": [[1, [[[3, 4], [2, 2], "R"], [[2, 2], [3, 3], "S"]]]]}))
    first, second = read_predictions(relations, ner)
    x, y = Entity(Span(0, 1), "X"), Entity(Span(1, 3), "Y")
    assert second.sentences[1].entities == (x, y)
    assert second.sentences[1].relations == (
        Relation(y, x, "R"), Relation(x, Entity(Span(1, 2), ""), "S"),
    )  # fmt: skip
    assert not first.sentences[1].relations


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "PL-Marker's RE output must be an object"),
        ({"1": []}, "document '1' is not among the 1 of"),
        ({"00": []}, "document '00' is not among"),
        ({"0": {}}, "document 'a' must be a list"),
        ({"0": [[1]]}, "a row must be [sentence, pairs]"),
        ({"0": [[True, []]]}, "a row must be [sentence, pairs]"),
        ({"0": [[2, []]]}, "has no sentence 2"),
        ({"0": [[1, {}]]}, "the pairs must be a list"),
        ({"0": [[1, [[[2, 2], "R"]]]]}, "a pair must be"),
        ({"0": [[1, [[[2], [3, 4], "R"]]]]}, "a pair must be"),
        ({"0": [[1, [[2, [3, 4], "R"]]]]}, "a pair must be"),
        ({"0": [[1, [[[2, 2], [3, 4], 5]]]]}, "a pair's type must be a label"),
        ({"0": [[1, [[[2, 2], [3, 5], "R"]]]]}, "document 'a', sentence 1: span [3, 5] is outside"),
        ({"0": [[0, [[[0, 0], [2, 2], "R"]]]]}, "span [2, 2] is not inside"),
    ],
)
def test_malformed_plmarker_output_is_refused(tmp_path, value, message):
    ner = write(tmp_path / "ner.json", ner_document())
    path = tmp_path / "re.json"
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match=re.escape(f"{path}:1: ")) as caught:
        read_predictions(path, ner)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["{}", '{"0": []}', '{\n "0": []\n}'])
def test_plmarker_relations_without_its_entities_are_refused(tmp_path, text):
    path = tmp_path / "re.json"
    path.write_text(text)
    with pytest.raises(InputError, match="give its NER output, too, with --ner FILE"):
        read_predictions(path)


def aligned(tmp_path, gold, predicted):
    gold_path = write(tmp_path / "gold.json", *gold)
    path = write(tmp_path / "pred.json", *predicted)
    return align(read_dygie(gold_path), read_predictions(path), gold_path, path)


def test_documents_are_paired_by_key(tmp_path):
    other = {"sentences": [["Z"], []], "predicted_ner": [[[0, 0, "Z"]], []]}
    documents = [ner_document("a"), ner_document("b", **other)]
    gold, predicted = aligned(tmp_path, documents, documents[::-1])
    assert [s.words for s in gold] == [s.words for s in predicted]
    assert [len(s.entities) for s in predicted] == [0, 2, 1, 0]


@pytest.mark.parametrize(
    ("gold", "predicted", "message"),
    [
        (["a", "b"], ["a"], "has no document 'b'"),
        (["a"], ["a", "b"], "has an unknown document 'b'"),
    ],
)
def test_documents_must_match(tmp_path, gold, predicted, message):
    with pytest.raises(InputError, match=message):
        aligned(tmp_path, map(ner_document, gold), map(ner_document, predicted))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sentences": [["A", "b"]], "predicted_ner": [[]]}, "has 1 sentences, but .* has 2"),
        ({"sentences": [["A", "b"], ["C", "d", "f"]]}, "sentence 1 of the file is 'C d f', but .* 'C d e'"),
    ],
    ids=["number", "words"],
)
def test_sentences_must_match(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        aligned(tmp_path, [ner_document()], [ner_document(**changes)])


def test_spert_records_are_paired_by_order(tmp_path):
    gold_path = tmp_path / "gold.json"
    records = [
        {"tokens": [word], "entities": [], "relations": [], "orig_id": 7 - i} for i, word in enumerate("xy")
    ]
    gold_path.write_text(json.dumps(records))
    one = {"doc_key": "any", "sentences": [["x"], ["y"]], "predicted_ner": [[], [[1, 1, "X"]]]}
    path = write(tmp_path / "pred.json", one)
    _, predicted = align(read_corpus_file(gold_path), read_predictions(path), gold_path, path)
    assert predicted[1].entities == (Entity(Span(0, 1), "X"),)

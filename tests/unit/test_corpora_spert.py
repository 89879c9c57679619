import json
import re

import pytest

from lai_net.corpora.spert import read_spert
from lai_net.errors import InputError
from lai_net.schema import Entity, Relation, Sentence, Span


def record(**changes):
    value = {
        "tokens": ["A", "b", "c"],
        "entities": [{"type": "X", "start": 0, "end": 2}, {"type": "Y", "start": 2, "end": 3}],
        "relations": [{"type": "R", "head": 1, "tail": 0}],
        "orig_id": 5,
    }
    value.update(changes)
    return {key: item for key, item in value.items() if item is not None}


def test_record_becomes_a_document_of_one_sentence(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps([record()]))
    [read] = read_spert(path).documents
    x, y = Entity(Span(0, 2), "X"), Entity(Span(2, 3), "Y")
    assert read.key == "5"
    assert read.sentences == (Sentence(("A", "b", "c"), (x, y), (Relation(y, x, "R"),)),)


def entity(**changes):
    return record(entities=[{"type": "X", "start": 0, "end": 1, **changes}], relations=[])


def relation(**changes):
    return record(relations=[{"type": "R", "head": 0, "tail": 1, **changes}])


MALFORMED = {
    "no object": (7, "record 1 must be an object"),
    "no tokens": (record(tokens=None), "no 'tokens'"),
    "DyGIE in a list": ({"doc_key": "a", "sentences": []}, "is a DyGIE document in a list"),
    "no entities": (record(entities=None), "no 'entities'"),
    "no relations": (record(relations=None), "no 'relations'"),
    "tokens is text": (record(tokens="A b"), "tokens must be a list"),
    "word is null": (record(tokens=["A", None, "c"]), "must hold words"),
    "entities is an object": (record(entities={}), "entities must be a list"),
    "entity is a list": (record(entities=[[0, 1, "X"]]), "an entity must be an object"),
    "entity without a type": (record(entities=[{"start": 0, "end": 1}]), "no 'type'"),
    "entity without an end": (record(entities=[{"type": "X", "start": 0}]), "no 'end'"),
    "start is a bool": (entity(start=False), "must be an integer"),
    "end is a float": (entity(end=1.0), "must be an integer"),
    "label is null": (entity(type=None), "type must be a label"),
    "empty span": (entity(start=1, end=1), "ends before it starts"),
    "end before start": (entity(start=2, end=1), "[2, 1) ends before it starts"),
    "negative start": (entity(start=-1, end=1), "outside the sentence"),
    "end outside": (entity(end=4), "[0, 4) is outside the sentence of 3 words"),
    "relation is a list": (record(relations=[[0, 1, "R"]]), "a relation must be an object"),
    "relation without a tail": (record(relations=[{"type": "R", "head": 0}]), "no 'tail'"),
    "head outside": (relation(head=2), "head 2 is outside the 2 entities"),
    "negative tail": (relation(tail=-1), "tail -1 is outside"),
    "tail is a bool": (relation(tail=True), "must be an integer"),
    "orig_id is a list": (record(orig_id=[]), "orig_id must be a number or text"),
    "orig_id is a bool": (record(orig_id=True), "orig_id must be a number or text"),
    "half a surrogate pair in an orig_id": (record(orig_id="\ud800"), "orig_id holds half a surrogate pair"),
    "half a surrogate pair in a label": (relation(type="\ud800"), "type holds half a surrogate pair"),
    "infinity": (record(weight=float("-inf")), "bad JSON (-Infinity is no JSON)"),
    "orig_id twice": (record(orig_id="0"), "orig_id '0' was there before"),
}


@pytest.mark.parametrize("case", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("indent", [None, 1], ids=["one line", "pretty"])
def test_malformed_record_is_refused_with_its_line(tmp_path, case, indent):
    bad, message = case
    path = tmp_path / "x.json"
    first = json.dumps(record(orig_id=0), indent=indent)
    path.write_text("[\n" + first + ",\n" + json.dumps(bad, indent=indent) + "\n]\n")
    line = first.count("\n") + 3
    with pytest.raises(InputError, match=re.escape(f"{path}:{line}: ")) as caught:
        read_spert(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


BROKEN = {
    "object": ('{"tokens": []}', 1, "bad JSON ([ expected"),
    "never closed": ("[\n" + json.dumps(record()) + "\n", 3, "bad JSON (, or ] expected, but got the end"),
    "no comma": ("[\n{}\n{}]", 2, "no 'tokens'"),
    "cut in a record": ('[\n{"tokens":\n', 3, "bad JSON"),
    "comma at the end": ("[" + json.dumps(record()) + ",\n]", 2, "bad JSON"),
    "text after": ("[" + json.dumps(record()) + "]\n\nx", 3, "text after the list"),
    "too deep": ("[\n\n" + "[" * 100_000, 3, "bad JSON"),
    "empty": ("", 1, "the file is empty"),
    "empty list": ("\n[ ]", 2, "the list is empty"),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN.keys())
def test_broken_file_is_refused_with_its_line(tmp_path, case):
    text, line, message = case
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(f"{path}:{line}: ")) as caught:
        read_spert(path)
    assert message in str(caught.value)


def test_wrong_encoding_is_refused_with_its_line(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b'[\n\n"\xff"]')
    with pytest.raises(InputError, match=re.escape(f"{path}:3: the text is not UTF-8")):
        read_spert(path)


VALID_ODD = {
    "no orig_id": record(orig_id=None),
    "no annotation": record(entities=[], relations=[]),
    "no word": record(tokens=[], entities=[], relations=[]),
    "relation of an entity with itself": relation(tail=0),
    "relation twice": record(relations=[{"type": "R", "head": 0, "tail": 1}] * 2),
    "text orig_id": record(orig_id="x"),
    "unknown key": record(dep=[1]),
}


@pytest.mark.parametrize("value", VALID_ODD.values(), ids=VALID_ODD.keys())
def test_odd_but_valid_record_keeps_all_it_has(tmp_path, value):
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps([value]).encode() + b"\r\n\r\n")
    file = read_spert(path)
    [sentence] = file.documents[0].sentences
    assert len(sentence.words) == len(value["tokens"])
    assert len(sentence.entities) == len(value["entities"])
    assert len(sentence.relations) == len(value["relations"])
    assert file.unknown_keys == ({"dep": 1} if "dep" in value else {})


def test_records_without_orig_id_are_told_apart(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps([record(orig_id=None), record(orig_id=None)]))
    assert [document.key for document in read_spert(path).documents] == ["#0", "#1"]

import json
import re
from pathlib import Path

import pytest

from lai_net.corpora.dygie import read_dygie, read_dygie_predictions
from lai_net.errors import InputError
from lai_net.schema import Entity, Relation, Sentence, Span


def document(**changes):
    """Two sentences, of words 0 to 2 and 3 to 5."""
    record = {
        "doc_key": "a",
        "sentences": [["A", "b", "c"], ["D", "e", "f"]],
        "ner": [[[0, 0, "X"]], [[3, 4, "X"], [5, 5, "Y"]]],
        "relations": [[], [[3, 4, 5, 5, "R"]]],
    }
    record.update(changes)
    return {key: value for key, value in record.items() if value is not None}


def write(path: Path, *records, text: str | None = None) -> Path:
    lines = [json.dumps(record) for record in records]
    path.write_bytes("\n".join(lines).encode() if text is None else text.encode())
    return path


def test_offsets_become_half_open_and_per_sentence(tmp_path):
    [read] = read_dygie(write(tmp_path / "x.json", document())).documents
    x, y = Entity(Span(0, 2), "X"), Entity(Span(2, 3), "Y")
    assert read.key == "a"
    assert read.sentences == (
        Sentence(("A", "b", "c"), (Entity(Span(0, 1), "X"),)),
        Sentence(("D", "e", "f"), (x, y), (Relation(x, y, "R"),)),
    )


MALFORMED = {
    "no object": ("[1]", 2, "a document must be an object"),
    "bad JSON": ('{"doc_key": ', 2, "bad JSON"),
    "two values in a line": ("{} {}", 2, "bad JSON (Extra data)"),
    "too deep": ("[" * 100_000, 2, "bad JSON"),
    "number of too many digits": ('{"doc_key": ' + "9" * 5000 + "}", 2, "bad JSON"),
    "no doc_key": (document(doc_key=None), 2, "no 'doc_key'"),
    "no sentences": (document(sentences=None), 2, "no 'sentences'"),
    "no ner": (document(ner=None), 2, "no 'ner'"),
    "no relations": (document(relations=None), 2, "no 'relations'"),
    "doc_key is a number": (document(doc_key=7), 2, "doc_key must be text"),
    "sentences is text": (document(sentences="A b"), 2, "sentences must be a list"),
    "sentence is text": (document(sentences=["A b", "D"]), 2, "sentences[0] must be a list"),
    "word is a number": (document(sentences=[["A", 1, "c"], ["D", "e", "f"]]), 2, "must hold words"),
    "half a surrogate pair": (document(sentences=[["A", "\ud800", "c"], ["D", "e", "f"]]), 2, "surrogate"),
    "half a surrogate pair in a key": (document(doc_key="\ud800"), 2, "doc_key holds half a surrogate pair"),
    "half a surrogate pair in a label": (
        document(ner=[[[0, 0, "X\udfff"]], []]), 2, "an entity's type holds half a surrogate pair",
    ),
    "half a surrogate pair in an unknown key": (
        json.dumps(document())[:-1] + ', "\\ud800": 1}', 2, "a key of a document holds half a surrogate pair",
    ),
    "NaN": (json.dumps(document())[:-1] + ', "x": NaN}', 2, "bad JSON (NaN is no JSON)"),
    "ner is an object": (document(ner={}), 2, "ner must be a list"),
    "ner of one sentence is null": (document(ner=[None, []]), 2, "ner[0] must be a list"),
    "ner too short": (document(ner=[[]]), 2, "'ner' has 1 lists for 2 sentences"),
    "relations too long": (document(relations=[[], [], []]), 2, "'relations' has 3 lists for 2 sentences"),
    "entity is no list": (document(ner=[["X"], []]), 2, "sentence 0: an entity must be a list"),
    "entity too short": (document(ner=[[[0, 0]], []]), 2, "must be 2 offsets and a label"),
    "entity with a score": (document(ner=[[[0, 0, "X", 0.5]], []]), 2, "must be 2 offsets and a label"),
    "entity's label is a number": (document(ner=[[[0, 0, 1]], []]), 2, "type must be a label"),
    "entity's label is empty": (document(ner=[[[0, 0, ""]], []]), 2, "type must be a label"),
    "offset is a bool": (document(ner=[[[False, True, "X"]], []]), 2, "must be an integer, but is False"),
    "offset is a float": (document(ner=[[[0.0, 0, "X"]], []]), 2, "must be an integer"),
    "offset is text": (document(ner=[[["0", 0, "X"]], []]), 2, "must be an integer"),
    "end before start": (document(ner=[[[2, 1, "X"]], []]), 2, "span [2, 1] ends before it starts"),
    "negative offset": (document(ner=[[[-1, 0, "X"]], []]), 2, "outside the document"),
    "offset outside the document": (document(ner=[[], [[5, 6, "X"]]]), 2, "outside the document of 6 words"),
    "entity across sentences": (document(ner=[[[2, 3, "X"]], []]), 2, "span [2, 3] is not inside"),
    "entity of another sentence": (document(ner=[[[3, 3, "X"]], []]), 2, "words 0 to 2"),
    "relation outside": (document(relations=[[], [[3, 4, 6, 6, "R"]]]), 2, "outside the document"),
    "relation across sentences": (document(relations=[[], [[0, 0, 5, 5, "R"]]]), 2, "[0, 0] is not inside"),
    "relation ends before it starts": (document(relations=[[], [[4, 3, 5, 5, "R"]]]), 2, "ends before"),
    "relation too short": (document(relations=[[], [[3, 4, 5, "R"]]]), 2, "must be 4 offsets and a label"),
    "entity in an empty sentence": (
        document(sentences=[[], ["D"]], ner=[[[0, 0, "X"]], []], relations=[[], []]), 2, "not inside",
    ),
    "key twice": (document(doc_key="first"), 2, "doc_key 'first' was there before"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_document_is_refused_with_its_line(tmp_path, case):
    record, line, message = case
    bad = record if isinstance(record, str) else json.dumps(record)
    path = write(tmp_path / "x.json", text=json.dumps(document(doc_key="first")) + "\n" + bad + "\n")
    with pytest.raises(InputError, match=re.escape(f"{path}:{line}: ")) as caught:
        read_dygie(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"\n \r\n", b"\xef\xbb\xbf"], ids=["no byte", "blank lines", "only BOM"]
)
def test_empty_file_is_refused(tmp_path, data):
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match=re.escape(f"{path}:1: the file is empty")):
        read_dygie(path)


def test_wrong_encoding_is_refused_with_its_line(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(json.dumps(document()).encode() + b'\n{"doc_key": "\xe9"}')
    with pytest.raises(InputError, match=re.escape(f"{path}:2: the text is not UTF-8")):
        read_dygie(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_dygie(tmp_path / "no.json")


VALID_ODD = {
    "CRLF": lambda line: line.replace("\n", "\r\n"),
    "byte order mark": lambda line: "\ufeff" + line,
    "no last newline": lambda line: line.rstrip("\n"),
    "blank lines": lambda line: "\n" + line + "\n  \n\n",
    "line separator in a word": lambda line: line.replace('"b"', '"b\u2028\x85"'),
    "accents and emoji": lambda line: line.replace('"b"', '"é😀"'),
    "empty word": lambda line: line.replace('"b"', '""'),
    "unknown key": lambda line: line.replace('{"doc_key"', '{"dataset": "s", "doc_key"'),
    "clusters": lambda line: line.replace('{"doc_key"', '{"clusters": [], "doc_key"'),
}


@pytest.mark.parametrize("change", VALID_ODD.values(), ids=VALID_ODD.keys())
def test_odd_but_valid_file_is_read(tmp_path, change):
    path = write(tmp_path / "x.json", text=change(json.dumps(document(), ensure_ascii=False) + "\n"))
    [read] = read_dygie(path).documents
    assert [len(sentence.entities) for sentence in read.sentences] == [1, 2]


ODD_DOCUMENTS = {
    "no annotation": document(ner=[[], []], relations=[[], []]),
    "no sentence": document(sentences=[], ner=[], relations=[]),
    "empty sentence": document(
        sentences=[[], ["A"], []], ner=[[], [[0, 0, "X"]], []], relations=[[], [], []]
    ),
    "entity twice": document(ner=[[[0, 0, "X"], [0, 0, "X"]], []], relations=[[], []]),
    "overlap": document(ner=[[[0, 1, "X"], [1, 2, "X"]], []], relations=[[], []]),
    "empty key": document(doc_key=""),
}


@pytest.mark.parametrize("record", ODD_DOCUMENTS.values(), ids=ODD_DOCUMENTS.keys())
def test_odd_but_valid_document_keeps_all_it_has(tmp_path, record):
    [read] = read_dygie(write(tmp_path / "x.json", record)).documents
    assert [len(s.words) for s in read.sentences] == [len(words) for words in record["sentences"]]
    assert [len(s.entities) for s in read.sentences] == [len(rows) for rows in record["ner"]]


def test_unknown_keys_are_counted(tmp_path):
    records = [document(), document(doc_key="b", dataset="s"), document(doc_key="c", dataset="s", weight=1)]
    file = read_dygie(write(tmp_path / "x.json", *records))
    assert file.unknown_keys == {"dataset": 2, "weight": 1}


def test_relation_argument_takes_the_last_type_or_none(tmp_path):
    record = document(ner=[[], [[3, 4, "X"], [3, 4, "Y"]]])
    [read] = read_dygie(write(tmp_path / "x.json", record)).documents
    [relation] = read.sentences[1].relations
    assert (relation.subject.type, relation.object.type) == ("Y", "")


def test_predictions_may_end_in_scores_and_lack_relations(tmp_path):
    first = document(
        predicted_ner=[[[0, 0, "X", 3.5, 0.9]], []], predicted_relations=[[[0, 0, 1, 1, "R", 2]], []]
    )
    second = document(doc_key="b", ner=None, relations=None, predicted_ner=[[], [[3, 3, "Y"]]])
    (scored,) = read_dygie_predictions(write(tmp_path / "x.json", first)).documents
    (plain,) = read_dygie_predictions(write(tmp_path / "y.json", second)).documents
    x = Entity(Span(0, 1), "X")
    assert scored.sentences[0].entities == (x,)
    assert scored.sentences[0].relations == (Relation(x, Entity(Span(1, 2), ""), "R"),)
    assert plain.sentences[1] == Sentence(("D", "e", "f"), (Entity(Span(0, 1), "Y"),))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "no 'predicted_ner'"),
        ({"predicted_ner": [[]]}, "'predicted_ner' has 1 lists"),
        ({"predicted_ner": [[[0, 0, "X", "high"]], []]}, "2 offsets and a label"),
        ({"predicted_ner": [[[0, 0, "X", True]], []]}, "2 offsets and a label"),
        ({"predicted_ner": [[], []], "predicted_relations": [[[0, 0, 4, 4, "R"]], []]}, "not inside"),
    ],
    ids=["none", "unequal", "text score", "bool score", "across sentences"],
)
def test_malformed_predictions_are_refused(tmp_path, changes, message):
    path = write(tmp_path / "x.json", document(**changes))
    with pytest.raises(InputError, match=re.escape(f"{path}:1: ")) as caught:
        read_dygie_predictions(path)
    assert message in str(caught.value)

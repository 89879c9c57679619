"""Texts to read with a model, from files and streams."""

import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lai_net.cli import app
from lai_net.corpora.texts import TextRecord, iterate_texts, read_texts
from lai_net.errors import InputError

JSON_LINES = (
    b'{"text": "A b. C", "id": 3}\n\n{"tokens": ["A", "b."]}\r\n{"doc_key": "k", "sentences": [["A"], []]}'
)
RECORDS = [
    TextRecord("A b. C", line=1, id=3),
    TextRecord(("A", "b."), line=3),
    TextRecord([("A",), ()], "k", line=4),
]


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x"])
def test_json_lines(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + JSON_LINES)
    assert read_texts(path) == RECORDS


@pytest.mark.parametrize("name", ["x.txt", "x"])
def test_plain_lines(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(" A b.\n\nüber {5}\n", encoding="utf-8")
    assert read_texts(path) == [TextRecord(" A b.", line=1), TextRecord("über {5}", line=3)]


def test_a_text_file_may_begin_with_a_brace(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("{5} is a set")
    assert read_texts(path) == [TextRecord("{5} is a set", line=1)]


@pytest.mark.parametrize(
    ("name", "content", "is_told"),
    [
        ("x.txt", '\n{"text": "A b."}\n', True),
        ("x.txt", '\ufeff{"doc_key": "k", "sentences": []}', True),
        ("x.jsonl", '{"text": "A b."}', False),
        ("x", '{"text": "A b."}', False),
        ("x.txt", "{5} is a set", False),
        ("x.txt", '{"a": 1}', False),
        ("x.txt", "[" * 100_000, False),
        ("x.txt", 'So.\n{"text": "A b."}', False),
    ],
)
def test_json_in_a_text_file_is_told(name: str, content: str, is_told: bool, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content)
    no_model = ["predict", "--model", str(tmp_path / "none"), "--input", str(path)]
    result = CliRunner().invoke(app, no_model)
    line = 1 + content.startswith("\n")
    said = "JSON, but a line of a .txt file is read as text; name the file .jsonl if it is not meant so"
    assert result.stderr == (f"warning: {path}:{line}: {said}\n" if is_told else "")


def test_spert_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"tokens": ["A", "b"], "entities": [], "relations": [], "orig_id": 7}]))
    assert read_texts(path) == [TextRecord([("A", "b")], "7")]


def test_an_empty_word_of_a_spert_file_is_told_by_its_record(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"tokens": ["A", ""], "entities": [], "relations": [], "orig_id": 7}]))
    with pytest.raises(InputError, match=r"x.json: text 7: sentence 1: word 2 is empty"):
        read_texts(path)


def test_an_answer_is_joined_by_line_and_key() -> None:
    assert [record.origin for record in RECORDS] == [
        {"id": 3, "line": 1}, {"line": 3}, {"doc_key": "k", "line": 4},
    ]  # fmt: skip
    assert [record.name for record in RECORDS] == ["1", "3", "k"]
    assert TextRecord("A").origin == {}
    assert TextRecord(["A"], "").origin == {"doc_key": ""}


def test_a_stream_is_read_line_by_line() -> None:
    class Endless(io.BytesIO):
        def __next__(self) -> bytes:
            line = super().readline()
            assert line, "was read beyond what is asked for"
            return line

    texts = iterate_texts(Endless(b"first\nsecond\n"), Path("<stdin>"))
    assert [next(texts).text, next(texts).text] == ["first", "second"]


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        (b'{"text": "a"}\nno', 2, "bad JSON"),
        (b'{"text": "a"}\n{"text": 5}', 2, "text must be a string, but is 5"),
        (b'{"tokens": "a"}', 1, "tokens must be a list"),
        (b'{"tokens": [["a"]]}', 1, "tokens must hold words"),
        (b'{"sentences": ["a"]}', 1, r"sentences\[0\] must be a list"),
        (b'{"tokens": ["a", ""]}', 1, "sentence 1: word 2 is empty; leave it out"),
        (b'{"sentences": [["a"], [""]]}', 1, "sentence 2: word 1 is empty"),
        (b'\n{"words": []}', 2, "one of text, tokens, sentences, but has none"),
        (b'{"text": "a", "tokens": []}', 1, "but has text and tokens"),
        (b'{"text": "a", "doc_key": 5}', 1, "doc_key must be text, but is 5"),
        (b'{"text": "a", "doc_key": null}', 1, "doc_key must be text, but is None"),
        (b'{"text": "\\ud800"}', 1, "half a surrogate pair"),
        (b'{"text": "a", "id": "\\ud800"}', 1, "id holds half a surrogate pair"),
        (b'{"text": "a", "id": [{"\\ud800": 1}]}', 1, "id holds half a surrogate pair"),
        (b'{"text": "a", "doc_key": "\\ud800"}', 1, "doc_key holds half a surrogate pair"),
        (b'{"text": "a", "\\ud800": 1}', 1, "a key of a line holds half a surrogate pair"),
        (b'{"text": "a", "id": NaN}', 1, r"bad JSON \(NaN is no JSON\)"),
        (b'{"text": "a", "id": 1e999}', 1, "id is no JSON"),
        (b'{"text": "a"}\n[1]', 2, "a line must be an object"),
        (b'{"text": "a"}\n{"text": "\xff"}', 2, "not UTF-8"),
        (b"[" * 100_000, 1, "bad JSON"),
        (b" \n", 1, "there is no text"),
        (b"", 1, "there is no text"),
    ],
)
def test_a_bad_line_is_one_line_with_its_place(
    content: bytes, place: int, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"x.jsonl:{place}: .*{reason}") as error:
        list(iterate_texts(io.BytesIO(content), path))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for name in ("x.txt", "x.json"):
        with pytest.raises(InputError, match=f"{name}: cannot be read"):
            read_texts(tmp_path / name)

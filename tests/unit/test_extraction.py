"""Texts as sentences of words, and what is found in them with offsets of the text."""

import pytest

from lai_net.errors import InputError
from lai_net.extraction import Text, TextFrame, cut_text
from lai_net.schema import Entity, Relation, Span
from lai_net.training.task import PredictedSentence


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ("A b.  C", TextFrame("A b.  C", ((0, 1), (2, 3), (3, 4), (6, 7)), ((0, 3), (3, 4)))),
        (["A", "b."], TextFrame("A b.", ((0, 1), (2, 4)), ((0, 2),))),
        ([["A", "b"], [], ("C",)], TextFrame("A b C", ((0, 1), (2, 3), (4, 5)), ((0, 2), (2, 2), (2, 3)))),
        ("", TextFrame("", (), ())),
        ([], TextFrame("", (), ())),
        ([[]], TextFrame("", (), ((0, 0),))),
    ],
)
def test_frames(text: Text, frame: TextFrame) -> None:
    assert cut_text(text) == frame


@pytest.mark.parametrize("text", [5, None, [5], ["a", ["b"]], [["a", 5]], {"a": 1}, b"a"])
def test_anything_else_is_refused(text: Text) -> None:
    with pytest.raises(InputError, match="a text must be a string"):
        cut_text(text)


@pytest.mark.parametrize("text", ["a \udcff", ["a", "\udcff"], [["a"], ["\udcff"]]])
def test_what_utf_8_cannot_hold_is_refused(text: Text) -> None:
    with pytest.raises(InputError, match="half a surrogate pair at character 2; give it as UTF-8"):
        cut_text(text)


@pytest.mark.parametrize("text", [["a", ""], [["a", ""], ["b"]]])
def test_an_empty_word_is_refused(text: Text) -> None:
    with pytest.raises(InputError, match="a text: sentence 1: word 2 is empty; leave it out"):
        cut_text(text)


X, Y = {"type": "X", "score": 0.5}, {"type": "Y", "score": 0.25}


@pytest.fixture
def found() -> list[PredictedSentence]:
    """Two entities in the second sentence, related from right to left."""
    first, second = Entity(Span(0, 2), "X"), Entity(Span(3, 4), "Y")
    relation = Relation(second, first, "R")
    return [
        PredictedSentence(("Hm", ".")),
        PredictedSentence(("Big", "cat", "sees", "dogs"), ((first, 0.5), (second, 0.25)), ((relation, 1.0),)),
    ]


def test_offsets_count_in_the_whole_text(found: list[PredictedSentence]) -> None:
    values = cut_text("Hm.   Big  cat sees dogs").extraction(found, cut=[1]).as_dict()
    assert values == {
        "text": "Hm.   Big  cat sees dogs",
        "tokens": ["Hm", ".", "Big", "cat", "sees", "dogs"],
        "sentences": [[0, 2], [2, 6]],
        "entities": [
            {"start": 2, "end": 4, "start_char": 6, "end_char": 14, "text": "Big  cat"} | X,
            {"start": 5, "end": 6, "start_char": 20, "end_char": 24, "text": "dogs"} | Y,
        ],
        "relations": [{"subject": 1, "object": 0, "type": "R", "score": 1.0}],
        "cut": [1],
    }  # fmt: skip


def test_as_dygie_document(found: list[PredictedSentence]) -> None:
    assert cut_text("Hm. Big cat sees dogs").extraction(found).as_dygie("d") == {
        "doc_key": "d",
        "sentences": [["Hm", "."], ["Big", "cat", "sees", "dogs"]],
        "predicted_ner": [[], [[2, 3, "X", 0.5], [5, 5, "Y", 0.25]]],
        "predicted_relations": [[], [[5, 5, 2, 3, "R", 1.0]]],
    }

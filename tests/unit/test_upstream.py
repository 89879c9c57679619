"""Entities stored beside an NER model."""

from dataclasses import replace
from pathlib import Path

import pytest

from lai_net.schema import Corpus, Sentence
from lai_net.upstream import with_entities


def _bare(corpus: Corpus) -> list[Sentence]:
    return [replace(sentence, entities=()) for sentence in corpus.sentences("dev")]


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"[[[0, 1, ",
        b"\xff",
        b"{}",
        b"5",
        b"[[[0, 1]]]",
        b'[[["0", 1, "X"]]]',
        b'[[[0, 999, "X"]]]',
    ],
)
def test_a_damaged_file_is_computed_and_written_anew(tmp_path: Path, corpus: Corpus, damaged: bytes) -> None:
    bare = _bare(corpus)
    assert with_entities(tmp_path, corpus, "dev", "predicted", lambda: bare) == bare
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damaged)

    assert with_entities(tmp_path, corpus, "dev", "predicted", lambda: bare) == bare
    assert path.read_bytes() == whole
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_a_whole_file_is_taken_without_the_model(tmp_path: Path, corpus: Corpus) -> None:
    gold = corpus.sentences("dev")
    with_entities(tmp_path, corpus, "dev", "predicted", lambda: gold)

    again = with_entities(tmp_path, corpus, "dev", "predicted", lambda: pytest.fail("computed again"))

    assert again == gold


def test_a_file_of_another_format_is_not_taken(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = _bare(corpus)
    with_entities(tmp_path, corpus, "dev", "predicted", lambda: corpus.sentences("dev"))
    monkeypatch.setattr("lai_net.upstream.FORMAT", 2)

    assert with_entities(tmp_path, corpus, "dev", "predicted", lambda: bare) == bare
    assert with_entities(tmp_path, corpus, "dev", "predicted", lambda: pytest.fail("computed again")) == bare

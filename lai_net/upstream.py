"""What an NER trial gives to RE: the entities that it predicts, or gold spans with its types.

Kept as files beside its model, so that it is computed once for all RE trials that are joined with it.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from lai_net.config import EntitySource
from lai_net.files import new_file
from lai_net.schema import Corpus, Entity, Sentence, Span

FORMAT = 1
"""Raised by hand whenever a trained model would give other entities, or they would be stored otherwise."""
_NAMES = {"predicted": "entities", "gold_typed_by_model": "types"}
_Row = tuple[int, int, str]
"""An entity's first and last word, and its type."""


def store_entities(
    model_dir: Path, corpus: Corpus, split: str, source: EntitySource, found: Iterable[Sentence]
) -> None:
    """Write a split's entities, as the NER model in `model_dir` gives them, whole or not at all.

    Not where the model's folder cannot be written: it may be another's, to read.
    """
    _write(_path(model_dir, corpus, split, source), _rows(found))


def with_entities(
    model_dir: Path, corpus: Corpus, split: str, source: EntitySource, find: Callable[[], Iterable[Sentence]]
) -> list[Sentence]:
    """A split's sentences with the entities that an NER trial gives: stored before, else those of `find`.

    Those of `find` are stored as by `store_entities`, also in place of a file that is damaged.
    """
    path = _path(model_dir, corpus, split, source)
    sentences = corpus.sentences(split)
    with contextlib.suppress(OSError, ValueError, TypeError):  # not there; cut, or not what is written here
        return _joined(sentences, json.loads(path.read_text()))
    rows = _rows(find())
    _write(path, rows)
    return _joined(sentences, rows)


def _joined(sentences: Sequence[Sentence], rows: Sequence[Sequence[_Row]]) -> list[Sentence]:
    """The sentences with a row of entities each.

    Raises:
        ValueError, TypeError: the rows are not of these sentences.
    """
    found = []
    for sentence, row in zip(sentences, rows, strict=True):
        entities = tuple(Entity(Span(start, end), name) for start, end, name in row)
        for entity in entities:
            if not 0 <= entity.span.start < entity.span.end <= len(sentence.words):
                raise ValueError(f"{entity} is not in a sentence of {len(sentence.words)} words")
        found.append(replace(sentence, entities=entities))
    return found


def _rows(sentences: Iterable[Sentence]) -> list[list[_Row]]:
    return [
        [(entity.span.start, entity.span.end, entity.type) for entity in sentence.entities]
        for sentence in sentences
    ]


def _write(path: Path, rows: list[list[_Row]]) -> None:
    with contextlib.suppress(OSError), new_file(path, by_several=True) as new:
        new.write_text(json.dumps(rows))


def _path(model_dir: Path, corpus: Corpus, split: str, source: EntitySource) -> Path:
    number = "" if FORMAT == 1 else f"-{FORMAT}"  # the first files are older than this number
    return model_dir / f"{_NAMES[source]}-{split}-{corpus.content_id[:12]}{number}.json"

"""What an NER trial gives to RE: the entities that it predicts, or gold spans with its types.

Kept as files beside its model, so that it is computed once for all RE trials that are joined with it.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from lai_net.config import EntitySource
from lai_net.files import new_file
from lai_net.schema import Corpus, Entity, Sentence, Span

_NAMES = {"predicted": "entities", "gold_typed_by_model": "types"}


def store_entities(
    model_dir: Path, corpus: Corpus, split: str, source: EntitySource, found: Iterable[Sentence]
) -> None:
    """Write a split's entities, as the NER model in `model_dir` gives them, whole or not at all."""
    path = _path(model_dir, corpus, split, source)
    rows = [
        [[entity.span.start, entity.span.end, entity.type] for entity in sentence.entities]
        for sentence in found
    ]
    with new_file(path) as new:
        new.write_text(json.dumps(rows))


def with_entities(
    model_dir: Path, corpus: Corpus, split: str, source: EntitySource, find: Callable[[], Iterable[Sentence]]
) -> list[Sentence]:
    """A split's sentences with the entities that an NER trial gives: stored before, else those of `find`."""
    path = _path(model_dir, corpus, split, source)
    if not path.is_file():
        store_entities(model_dir, corpus, split, source, find())
    rows = json.loads(path.read_text())
    return [
        replace(sentence, entities=tuple(Entity(Span(start, end), name) for start, end, name in row))
        for sentence, row in zip(corpus.sentences(split), rows, strict=True)
    ]


def _path(model_dir: Path, corpus: Corpus, split: str, source: EntitySource) -> Path:
    return model_dir / f"{_NAMES[source]}-{split}-{corpus.content_id[:12]}.json"

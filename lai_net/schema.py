"""The one schema that every corpus format is read into. Word indices are half-open and per sentence."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lai_net.errors import InputError


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Words `start` (inclusive) to `end` (exclusive) of one sentence."""

    start: int
    end: int

    def overlaps(self, other: "Span") -> bool:
        """Whether the two spans share a word."""
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True, order=True)
class Entity:
    """A typed span. `type` is empty where only the boundaries are known."""

    span: Span
    type: str


@dataclass(frozen=True, slots=True, order=True)
class Relation:
    """A typed, directed relation between two entities of one sentence."""

    subject: Entity
    object: Entity
    type: str

    @property
    def is_overlapping(self) -> bool:
        """Whether its arguments are two spans that share a word, such as one inside the other."""
        subject, target = self.subject.span, self.object.span
        return subject != target and subject.overlaps(target)


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words with their entities and relations, gold or predicted.

    Where it stands in a document, `document` holds all words of that and `offset` counts those before the
    sentence. They are surroundings, not content: sentences that differ in nothing else are equal.
    """

    words: tuple[str, ...]
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    document: tuple[str, ...] = field(default=(), compare=False, repr=False)
    offset: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Document:
    """Sentences in order; `key` is unique within a file."""

    key: str
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """A corpus' label inventory with the phrase that annotates each label (paper, Section 3.2).

    Attributes:
        entities: entity type -> phrase, in inventory order.
        relations: relation type -> phrase, in inventory order.
        symmetric: relation types whose arguments may be swapped.
    """

    entities: Mapping[str, str]
    relations: Mapping[str, str]
    symmetric: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Documents by split (`train`, `dev`, `test`) and their labels.

    `content_id` identifies what is in the splits, whatever file format, folder or name it came from.
    """

    name: str
    splits: Mapping[str, tuple[Document, ...]]
    labels: Labels

    def sentences(self, split: str) -> list[Sentence]:
        """All sentences of a split, in document order.

        Raises:
            InputError: the corpus has no such split, or it is empty.
        """
        found = list(iterate_sentences(self.splits.get(split, ())))
        if not found:
            raise InputError(
                f"corpus {self.name} has no sentences in {split}; give one with train, dev and test"
            )
        return found

    @property
    def content_id(self) -> str:
        """SHA-256 (hex) over the canonical JSON of all splits; keys of documents do not count."""
        digest = hashlib.sha256()
        for split in sorted(self.splits):
            digest.update(split.encode())
            for document in self.splits[split]:
                rows = [
                    [
                        sentence.words,
                        [_entity_row(entity) for entity in sentence.entities],
                        [
                            [*_entity_row(r.subject), *_entity_row(r.object), r.type]
                            for r in sentence.relations
                        ],
                    ]
                    for sentence in document.sentences
                ]
                digest.update(json.dumps(rows, ensure_ascii=True, separators=(",", ":")).encode())
        return digest.hexdigest()


def iterate_sentences(documents: Sequence[Document]) -> Iterator[Sentence]:
    """Yield the sentences of documents in order, each with where it stands in its document."""
    for document in documents:
        words = tuple(word for sentence in document.sentences for word in sentence.words)
        offset = 0
        for sentence in document.sentences:
            yield replace(sentence, document=words, offset=offset)
            offset += len(sentence.words)


def _entity_row(entity: Entity) -> tuple[int, int, str]:
    return (entity.span.start, entity.span.end, entity.type)

"""Reader of DyGIE JSON lines: one document a line, offsets count words of the whole document, ends inclusive.

Gold annotations are in `ner` and `relations`; predictions, as PURE, DyGIE++ and PL-Marker's NER write
them, are in `predicted_ner` and `predicted_relations`, whose rows may end in scores.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lai_net.corpora.records import (
    CorpusFile,
    Location,
    field,
    integer_at,
    key_at,
    label_at,
    list_at,
    object_at,
    parse_json,
    read_text,
    shown,
    words_at,
)
from lai_net.schema import Document, Entity, Relation, Sentence, Span

_KNOWN_KEYS = {"doc_key", "sentences", "ner", "relations", "clusters"}


@dataclass(frozen=True, slots=True)
class SentenceFrame:
    """One sentence inside its document: word `first` (inclusive) to `end` (exclusive) of `num_words`."""

    place: Location
    name: str
    first: int
    end: int
    num_words: int

    def span(self, start: Any, last: Any) -> Span:
        """The span of this sentence that document-wide, inclusive offsets name."""
        what = f"{self.name}: offset"
        start, last = integer_at(start, self.place, what), integer_at(last, self.place, what)
        here = f"{self.name}: span [{start}, {last}]"
        if last < start:
            raise self.place.error(f"{here} ends before it starts", "give the first word, then the last")
        if start < 0 or last >= self.num_words:
            raise self.place.error(
                f"{here} is outside the document of {self.num_words} words",
                "count words from 0, end inclusive",
            )
        if start < self.first or last >= self.end:
            raise self.place.error(
                f"{here} is not inside the sentence, which has words {self.first} to {self.end - 1}",
                "list annotations under their sentence, within its bounds",
            )
        return Span(start - self.first, last + 1 - self.first)


def read_dygie(path: Path) -> CorpusFile:
    """Read gold documents.

    Raises:
        InputError: with `path:line` for whatever the contract refuses.
    """
    return _read(path, prefix="")


def read_dygie_predictions(path: Path) -> CorpusFile:
    """Read predicted annotations; gold ones in the same file are not looked at.

    Where no document has `predicted_relations` (an NER run's output) there are no relations.

    Raises:
        InputError: with `path:line` for what is malformed, also where some documents have that field alone.
    """
    return _read(path, prefix="predicted_")


def _read(path: Path, *, prefix: str) -> CorpusFile:
    documents: dict[str, Document] = {}
    without: list[Location] = []
    unknown: Counter[str] = Counter()
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        place = Location(path, line)
        record = object_at(parse_json(text, place), place, "a document")
        document = _document(record, place, prefix)
        if document.key in documents:
            raise place.error(f"doc_key {shown(document.key)} was there before", "give each document its own")
        documents[document.key] = document
        if f"{prefix}relations" not in record:
            without.append(place)
        unknown.update(record.keys() - _KNOWN_KEYS)
    if without and len(without) < len(documents):
        raise without[0].error(
            f"the document has no '{prefix}relations', though others do",
            "add it, with an empty list a sentence where none are predicted, or leave it out everywhere",
        )
    return CorpusFile("dygie", tuple(documents.values()), dict(sorted(unknown.items())))


def _document(record: Mapping[str, Any], place: Location, prefix: str) -> Document:
    key = key_at(field(record, "doc_key", place, "the document"), place, "doc_key")
    words = _words(record, place)
    entities = _rows(record, f"{prefix}ner", place, len(words))
    if prefix and f"{prefix}relations" not in record:
        relations: list[list[Any]] = [[] for _ in words]
    else:
        relations = _rows(record, f"{prefix}relations", place, len(words))
    parts = zip(sentence_frames(words, place), words, entities, relations, strict=True)
    return Document(key, tuple(_sentence(*part, allows_scores=bool(prefix)) for part in parts))


def _rows(record: Mapping[str, Any], name: str, place: Location, num_sentences: int) -> list[list[Any]]:
    """A field's rows, sentence by sentence."""
    values = list_at(field(record, name, place, "the document"), place, name)
    if len(values) != num_sentences:
        raise place.error(
            f"{name!r} has {len(values)} lists for {num_sentences} sentences", "give one list a sentence"
        )
    return [list_at(rows, place, f"{name}[{index}]") for index, rows in enumerate(values)]


def _words(record: Mapping[str, Any], place: Location) -> list[tuple[str, ...]]:
    """The document's sentences as words."""
    sentences = list_at(field(record, "sentences", place, "the document"), place, "sentences")
    return [words_at(words, place, f"sentences[{index}]") for index, words in enumerate(sentences)]


def sentence_frames(
    sentences: Sequence[Sequence[str]], place: Location, prefix: str = ""
) -> list[SentenceFrame]:
    """Where each sentence lies in its document; messages name it `<prefix>sentence <index>`."""
    num_words = sum(map(len, sentences))
    frames, first = [], 0
    for index, words in enumerate(sentences):
        end = first + len(words)
        frames.append(SentenceFrame(place, f"{prefix}sentence {index}", first, end, num_words))
        first = end
    return frames


def _sentence(
    frame: SentenceFrame,
    words: tuple[str, ...],
    entity_rows: list[Any],
    relation_rows: list[Any],
    *,
    allows_scores: bool,
) -> Sentence:
    entities = []
    for row in entity_rows:
        start, last, label = _row(frame, row, "an entity", 2, allows_scores=allows_scores)
        entities.append(Entity(frame.span(start, last), label))
    relations = []
    for row in relation_rows:
        *offsets, label = _row(frame, row, "a relation", 4, allows_scores=allows_scores)
        relations.append(join_relation(frame, entities, offsets, label))
    return Sentence(words, tuple(entities), tuple(relations))


def join_relation(
    frame: SentenceFrame, entities: Sequence[Entity], offsets: Sequence[Any], label: str
) -> Relation:
    """A relation between two spans, typed by the entities there.

    Where a span has several types the last one listed counts (so do PL-Marker's scorers); a span that is
    no entity has the empty type.
    """
    types = {entity.span: entity.type for entity in entities}
    spans = [frame.span(*offsets[:2]), frame.span(*offsets[2:])]
    subject, object_ = (Entity(span, types.get(span, "")) for span in spans)
    return Relation(subject, object_, label)


def _row(frame: SentenceFrame, row: Any, what: str, num_offsets: int, *, allows_scores: bool) -> list[Any]:
    """The offsets and the label of a row; trailing scores are dropped where they may stand."""
    what = f"{frame.name}: {what}"
    values = list_at(row, frame.place, what)
    num_fields = num_offsets + 1
    has_scores = allows_scores and all(type(score) in (int, float) for score in values[num_fields:])
    if len(values) < num_fields or (len(values) > num_fields and not has_scores):
        raise frame.place.error(
            f"{what} must be {num_offsets} offsets and a label, but is {shown(values)}", "mend that row"
        )
    label_at(values[num_offsets], frame.place, f"{what}'s type")
    return values[:num_fields]

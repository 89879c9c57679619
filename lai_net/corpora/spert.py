"""Reader of SpERT JSON: one list of sentences; offsets count words of the sentence, ends exclusive."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lai_net.corpora.records import (
    CorpusFile,
    Location,
    bad_json,
    field,
    integer_at,
    key_at,
    label_at,
    list_at,
    object_at,
    read_text,
    refuse_constant,
    shown,
    words_at,
)
from lai_net.schema import Document, Entity, Relation, Sentence, Span

_KNOWN_KEYS = {"tokens", "entities", "relations", "orig_id"}


def read_spert(path: Path) -> CorpusFile:
    """Read a file in which every record is a document of one sentence.

    The key is `orig_id`, or `#` and the record's index where a record has none.

    Raises:
        InputError: with `path:line` (the line on which the record begins) for whatever the contract refuses.
    """
    documents: dict[str, Document] = {}
    unknown: Counter[str] = Counter()
    for index, (place, value) in enumerate(_records(path)):
        name = f"record {index}"
        record = object_at(value, place, name)
        if "sentences" in record and "tokens" not in record:
            raise place.error(
                f"{name} is a DyGIE document in a list, which SpERT's format is",
                "write a document a line, without the list",
            )
        key = _key(record, index, place)
        if key in documents:
            raise place.error(f"{name}: orig_id {shown(key)} was there before", "give each record its own")
        documents[key] = Document(key, (_sentence(record, place, name),))
        unknown.update(record.keys() - _KNOWN_KEYS)
    return CorpusFile("spert", tuple(documents.values()), dict(sorted(unknown.items())))


def _records(path: Path) -> Iterator[tuple[Location, Any]]:
    """The list's values one after the other, each with the line on which it begins."""
    text = read_text(path)
    decoder = json.JSONDecoder(parse_constant=refuse_constant)
    cursor = _Cursor(path, text)
    cursor.take("[")
    if cursor.peek() == "]":
        raise cursor.place.error("the list is empty", "give a file with at least one record")
    while True:
        cursor.peek()
        place = cursor.place
        try:
            value, cursor.position = decoder.raw_decode(text, cursor.position)
        except (ValueError, RecursionError) as error:
            line = error.lineno if isinstance(error, json.JSONDecodeError) else place.line
            raise bad_json(error, Location(path, line)) from error
        yield place, value
        if cursor.take(",]") == "]":
            break
    if cursor.peek():
        raise cursor.place.error("bad JSON (text after the list)", "keep one list a file")


class _Cursor:
    """A position in the text that knows its line."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._line = 1
        self._counted = 0
        self.position = 0

    @property
    def place(self) -> Location:
        self._line += self._text.count("\n", self._counted, self.position)
        self._counted = self.position
        return Location(self._path, self._line)

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while self.position < len(self._text) and self._text[self.position] in " \t\r\n":
            self.position += 1
        return self._text[self.position : self.position + 1]

    def take(self, expected: str) -> str:
        """Step over the next character, which must be one of `expected`."""
        found = self.peek()
        if not found or found not in expected:
            wanted = " or ".join(expected)
            got = shown(found) if found else "the end of the file"
            raise self.place.error(
                f"bad JSON ({wanted} expected, but got {got})", "write one list of records"
            )
        self.position += 1
        return found


def _key(record: dict[str, Any], index: int, place: Location) -> str:
    key = record.get("orig_id", f"#{index}")
    if type(key) not in (int, str):
        raise place.error(
            f"record {index}: orig_id must be a number or text, but is {shown(key)}", "mend or remove it"
        )
    return key_at(str(key), place, f"record {index}: orig_id")


def _sentence(record: dict[str, Any], place: Location, name: str) -> Sentence:
    words = words_at(field(record, "tokens", place, name), place, f"{name}: tokens")
    entities = [
        _entity(object_at(value, place, f"{name}: an entity"), len(words), place, name)
        for value in list_at(field(record, "entities", place, name), place, f"{name}: entities")
    ]
    relations = [
        _relation(object_at(value, place, f"{name}: a relation"), entities, place, name)
        for value in list_at(field(record, "relations", place, name), place, f"{name}: relations")
    ]
    return Sentence(words, tuple(entities), tuple(relations))


def _entity(value: dict[str, Any], num_words: int, place: Location, name: str) -> Entity:
    what = f"{name}: an entity"
    label = label_at(field(value, "type", place, what), place, f"{what}'s type")
    start, end = (
        integer_at(field(value, key, place, what), place, f"{what}'s {key}") for key in ("start", "end")
    )
    if end <= start:
        raise place.error(
            f"{what} [{start}, {end}) ends before it starts", "the end is exclusive: start < end"
        )
    if start < 0 or end > num_words:
        raise place.error(
            f"{what} [{start}, {end}) is outside the sentence of {num_words} words", "count words from 0"
        )
    return Entity(Span(start, end), label)


def _relation(value: dict[str, Any], entities: list[Entity], place: Location, name: str) -> Relation:
    what = f"{name}: a relation"
    label = label_at(field(value, "type", place, what), place, f"{what}'s type")
    ends = []
    for key in ("head", "tail"):
        index = integer_at(field(value, key, place, what), place, f"{what}'s {key}")
        if not 0 <= index < len(entities):
            raise place.error(
                f"{what}'s {key} {index} is outside the {len(entities)} entities", "count entities from 0"
            )
        ends.append(entities[index])
    return Relation(ends[0], ends[1], label)

"""Texts to read with a trained model: plain text, a text a line, or JSON lines; from a file or a stream.

A JSON line is `{"text": "…"}`, `{"tokens": [words]}`, or `{"sentences": [[words], …]}` as in a DyGIE
document; of its other keys only `doc_key` and `id` are read. A SpERT file (one list of records) is read, too.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from lai_net.corpora.loading import detect_format
from lai_net.corpora.records import (
    Location,
    field,
    id_at,
    key_at,
    list_at,
    object_at,
    parse_json,
    shown,
    words_at,
)
from lai_net.corpora.spert import read_spert
from lai_net.extraction import Text, check_words
from lai_net.files import unreadable

_JSON_SUFFIXES = (".json", ".jsonl")
_PLAIN_SUFFIX = ".txt"
_KINDS = ("text", "tokens", "sentences")


@dataclass(frozen=True, slots=True)
class TextRecord:
    """A text, and where it comes from.

    Attributes:
        text: what there is to read.
        key: the document's, where it has one.
        line: the number of its line, where a line is a text.
        id: what its line gives under this name, of whatever kind.
    """

    text: Text
    key: str | None = None
    line: int | None = None
    id: Any = None

    @property
    def name(self) -> str:
        """Its key, or what tells it from the other texts of its source."""
        return self.key if self.key is not None else str(self.line or 1)

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return "the text" if self.line is None else f"line {self.line}"

    @property
    def origin(self) -> dict[str, Any]:
        """What an answer is joined to its text by: `doc_key`, `id` and `line`, as far as there are such."""
        given = {"doc_key": self.key, "id": self.id, "line": self.line}
        return {name: value for name, value in given.items() if value is not None}


def read_texts(path: Path) -> list[TextRecord]:
    """All texts of a file.

    Raises:
        InputError: with `path:line` for what is malformed.
    """
    if path.suffix in _JSON_SUFFIXES and detect_format(path) == "spert":
        records = []
        for document in read_spert(path).documents:
            sentences = [sentence.words for sentence in document.sentences]
            check_words(sentences, f"{path}: text {document.key}")
            records.append(TextRecord(sentences, document.key))
        return records
    try:
        with path.open("rb") as file:
            return list(iterate_texts(file, path))
    except OSError as error:
        raise unreadable(path, error) from error


def iterate_texts(stream: IO[bytes], path: Path) -> Iterator[TextRecord]:
    """The texts of a stream, each as soon as its line is there; empty lines are skipped.

    Args:
        stream: of UTF-8. Lines are JSON if `path` ends in .json or .jsonl, or if the first one begins with a
            brace and `path` does not end in .txt.
        path: names the stream in messages.

    Raises:
        InputError: with `path:line` for what is malformed; also if there is no text at all.
    """
    lines = _lines(stream, path)
    first = next(lines, None)
    if first is None:
        raise Location(path, 1).error("there is no text", "give at least one line")
    is_json = path.suffix in _JSON_SUFFIXES or (
        path.suffix != _PLAIN_SUFFIX and first[1].lstrip().startswith("{")
    )
    for place, line in chain([first], lines):
        yield _record(line, place) if is_json else TextRecord(line, line=place.line)


def is_json_as_text(path: Path, texts: Sequence[TextRecord]) -> bool:
    """Whether a file's texts begin with a JSON line, which its name has made prose."""
    try:
        first = json.loads(str(texts[0].text)) if path.suffix == _PLAIN_SUFFIX else None
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and not first.keys().isdisjoint(_KINDS)


def distinctly_named(records: Iterable[TextRecord], path: Path) -> Iterator[TextRecord]:
    """The texts, each with a name of its own, as documents of one file must have.

    Args:
        records: of one source; a record of a SpERT file has a key of its own.
        path: names the source in messages.

    Raises:
        InputError: with `path:line` for a text whose name another had before.
    """
    names: set[str] = set()
    for record in records:
        if record.name in names:
            what = "doc_key" if record.key is not None else "its line's number, which stands for a doc_key,"
            raise Location(path, record.line or 1).error(
                f"{what} {shown(record.name)} was there before", "give each text a doc_key of its own"
            )
        names.add(record.name)
        yield record


def _lines(stream: IO[bytes], path: Path) -> Iterator[tuple[Location, str]]:
    for number, data in enumerate(stream, start=1):
        place = Location(path, number)
        try:
            line = data.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise place.error("the text is not UTF-8", "save it as UTF-8") from error
        if line.strip():
            yield place, line


def _record(line: str, place: Location) -> TextRecord:
    record = object_at(parse_json(line, place), place, "a line")
    given = [name for name in _KINDS if name in record]
    if len(given) != 1:
        raise place.error(
            f"a line must have one of {', '.join(_KINDS)}, but has {' and '.join(given) or 'none'}",
            "give one of them",
        )
    key = key_at(record["doc_key"], place, "doc_key") if "doc_key" in record else None
    text = _text(field(record, given[0], place, "a line"), given[0], place)
    return TextRecord(text, key, place.line, id_at(record.get("id"), place, "id"))


def _text(value: Any, kind: str, place: Location) -> Text:
    if kind == "tokens":
        words = words_at(value, place, kind)
        check_words([words], str(place))
        return words
    if kind == "sentences":
        given = list_at(value, place, kind)
        sentences = [words_at(words, place, f"{kind}[{index}]") for index, words in enumerate(given)]
        check_words(sentences, str(place))
        return sentences
    if not isinstance(value, str):
        raise place.error(f"text must be a string, but is {shown(value)}", "give the text as a string")
    return words_at([value], place, kind)[0]

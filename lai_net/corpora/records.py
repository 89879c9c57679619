"""JSON records and their fields, read strictly: whatever is wrong is said with its `path:line`."""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lai_net.errors import InputError, first_line
from lai_net.files import unreadable
from lai_net.schema import Document

_SHOWN = 120
Format = Literal["dygie", "spert"]


@dataclass(frozen=True, slots=True)
class Location:
    """Where a record stands: the 1-based line on which it begins."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"

    def error(self, wrong: str, remedy: str) -> InputError:
        """The one line for the user: place, what is wrong, what to do."""
        return InputError(f"{self}: {wrong}; {remedy}")


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """What one file holds; `unknown_keys` counts the records' keys that are not read."""

    format: Format
    documents: tuple[Document, ...]
    unknown_keys: Mapping[str, int]


def read_text(path: Path) -> str:
    """The file's text without a byte order mark.

    Raises:
        InputError: it cannot be read, is not UTF-8, or is empty.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise Location(path, line).error("the text is not UTF-8", "save the file as UTF-8") from error
    if not text.strip():
        raise Location(path, 1).error("the file is empty", "give a file with at least one document")
    return text


def parse_json(text: str, place: Location) -> Any:
    """The value of one line of JSON; Python alone would take NaN and Infinity for some."""
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise bad_json(error, place) from error


def refuse_constant(name: str) -> Any:
    """What a JSON decoder is to do with NaN, Infinity and -Infinity."""
    raise ValueError(f"{name} is no JSON")


def bad_json(error: Exception, place: Location) -> InputError:
    """The error for text that is no JSON; a message of more than one line is cut to its first."""
    reason = error.msg if isinstance(error, json.JSONDecodeError) else first_line(error)
    return place.error(f"bad JSON ({reason})", "mend or remove this record")


def shown(value: object) -> str:
    """A short, one-line picture of a value for a message."""
    text = reprlib.repr(value)  # of which a nested value's may still be long
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def object_at(value: Any, place: Location, what: str) -> dict[str, Any]:
    """`value` if it is a JSON object with keys that Unicode can encode."""
    if not isinstance(value, dict):
        raise place.error(f"{what} must be an object, but is {shown(value)}", "write it as {...}")
    _check_encodable("".join(value), place, f"a key of {what}")
    return value


def list_at(value: Any, place: Location, what: str) -> list[Any]:
    """`value` if it is a JSON list."""
    if not isinstance(value, list):
        raise place.error(f"{what} must be a list, but is {shown(value)}", "write it as [...]")
    return value


def integer_at(value: Any, place: Location, what: str) -> int:
    """`value` if it is an integer; a bool is none."""
    if type(value) is not int:
        raise place.error(f"{what} must be an integer, but is {shown(value)}", "give a whole number")
    return value


def label_at(value: Any, place: Location, what: str) -> str:
    """`value` if it is a label: text that is not empty."""
    if not isinstance(value, str) or not value:
        raise place.error(f"{what} must be a label, but is {shown(value)}", "give a text that is not empty")
    _check_encodable(value, place, what)
    return value


def key_at(value: Any, place: Location, what: str) -> str:
    """`value` if it is text that can name a document."""
    if not isinstance(value, str):
        raise place.error(f"{what} must be text, but is {shown(value)}", "give the key as text")
    _check_encodable(value, place, what)
    return value


def id_at(value: Any, place: Location, what: str) -> Any:
    """`value`, of whatever kind, if it can be written again."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError) as error:  # a number that is too large for a float; nested too deep
        raise place.error(f"{what} is no JSON ({first_line(error)})", "mend or remove it") from error
    _check_encodable(text, place, what)
    return value


def words_at(value: Any, place: Location, what: str) -> tuple[str, ...]:
    """`value` if it is a list of words that Unicode can encode."""
    words = list_at(value, place, what)
    for word in words:
        if not isinstance(word, str):
            raise place.error(f"{what} must hold words, but holds {shown(word)}", "give every word as text")
    _check_encodable("".join(words), place, what)
    return tuple(words)


def field(record: Mapping[str, Any], name: str, place: Location, what: str) -> Any:
    """The value of a required field."""
    if name not in record:
        raise place.error(f"{what} has no {name!r}", f"add the field {name!r}")
    return record[name]


def _check_encodable(text: str, place: Location, what: str) -> None:
    """Refuse half a surrogate pair, which JSON can escape and no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise place.error(f"{what} holds half a surrogate pair", "save the text as UTF-8") from error

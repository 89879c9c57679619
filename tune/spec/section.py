"""What the sections of a study file share: a strict base class, kinds of values, how a slip is told."""

import datetime as dt
import reprlib
from collections.abc import Iterator
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
_INTEGER_END = 2**63
_FORMS = {
    "tuple_type": ("a list", "[[{}]]"),
    "model_type": ("a table", "[{}]"),
    "dict_type": ("a table", "[{}]"),
}
"""What a value of pydantic's error must be, and the header under which it stands in a file."""


class Section(BaseModel):
    """A table of a study file: unknown keys are refused, values have their exact type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def first_problem(error: ValidationError, root: type[BaseModel]) -> str:
    """The most telling of what is wrong with a table of type `root`: its place, and what is known there."""
    # An unknown key first: where a key is misspelled, a missing one is only the consequence.
    problems = error.errors(include_url=False)
    problem = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    *parents, last = problem["loc"] or ("",)
    if problem["type"] == "extra_forbidden":
        return f"{_place(parents)}unknown key {last!r}; known: {', '.join(_known_keys(root, parents))}"
    if problem["type"] == "missing":
        return f"{_place(parents)}key {last!r} is missing"
    return f"{_place(problem['loc'])}{_wrong(problem)}"


def _wrong(problem: ErrorDetails) -> str:
    """What is wrong with a value, in TOML's words where pydantic's are of Python and JSON."""
    got, kind, limits = problem["input"], problem["type"], problem.get("ctx", {})
    if kind == "too_short":
        return f"needs at least {'one' if limits['min_length'] == 1 else limits['min_length']}"
    if kind == "too_long":
        return f"takes at most {limits['max_length']}, but has {limits['actual_length']}"
    message = problem["msg"].removeprefix("Value error, ")
    message = f"{message[:1].lower()}{message[1:]}"
    if kind in _FORMS:
        form, header = _FORMS[kind]
        message = f"must be {form}"
        if len(problem["loc"]) == 1 and isinstance(got, dict | list):
            return f"{message}: write {header.format(*problem['loc'])}"
    return message if isinstance(got, dict) else f"{message}, but got {reprlib.repr(got)}"


def unfit_values(value: Any, location: tuple[str | int, ...] = ()) -> Iterator[tuple[str, str]]:
    """What TOML can say and no key takes, with its place: a date or a time, an integer beyond 64 bits."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from unfit_values(item, (*location, key))
    elif isinstance(value, dt.date | dt.time):
        yield _place(location), f"no key takes a date or a time, but got {value}; put it in quotes"
    elif isinstance(value, int) and not -_INTEGER_END <= value < _INTEGER_END:
        yield _place(location), f"an integer must have at most 64 bits, but got {reprlib.repr(value)}"


def _place(location: Any) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return f"{text.lstrip('.')}: " if text else ""


def _known_keys(section: Any, location: Any) -> list[str]:
    for part in location:
        if part in section.model_fields:  # not an index, nor a key of a mapping
            section = next(
                kind
                for kind in _leaves(section.model_fields[part].annotation)
                if isinstance(kind, type) and issubclass(kind, BaseModel)
            )
    return sorted(item.alias or name for name, item in section.model_fields.items())


def _leaves(annotation: Any) -> list[Any]:
    inner = get_args(annotation)
    return [leaf for part in inner for leaf in _leaves(part)] if inner else [annotation]

"""A study: the TOML file that says which corpora, phases, tables and seeds, on what resources.

    name = "mine"                       # letters, digits, `.`, `_`, `-`
    seeds = [1, 2]                      # or a count: 10 means 0 to 9
    upstream = "base"                   # end-to-end RE: on the entities of the base NER trial, or of the
                                        # "changed" one: the NER cell of the same factor and level

    [[datasets]]
    name = "SciERC"                     # the `dataset` column of results
    corpus = "data/scierc"              # relative to this file; "embedded"; or left to `lai run --corpus`
    annotations = "scierc"              # shipped name or TOML file; default: found by the corpus' labels
    folds = 1                           # 10 in ADE
    averaging = "micro"                 # which F1 the tables show
    [datasets.ner]                      # either phase may be left out
    preset = "paper-scierc-ner"         # shipped name or TOML file
    set = { "graph.layers" = 1 }
    [datasets.re]
    preset = "paper-scierc-re"

    [factors]                           # levels to compare, the base's among them; none: the base alone
    gcn_layers = [0, 1, 2]              # also gcn_heads, entity_filter, method, mask

    [resources]                         # cpus_per_trial, gpus_per_trial, gpus, max_concurrent
    [budget]                            # hours, max_attempts, disk_gib
    [report]                            # split, entities, protocol: what the tables show
    [search]                            # in place of factors: see `tune.search_section`

This is the one place where a study is parsed; every error is one line with file and place.
"""

import json
import reprlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from lai_net.errors import InputError
from tune.search_section import SearchSpec
from tune.section import Positive, Section, Slug

FOLDER = Path(__file__).parent / "studies"
MAX_SEEDS, MAX_FOLDS = 10_000, 1_000
"""Beyond these a number is a slip, and a plan of it would fill the memory."""


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("must be distinct")
    return values


def _count_to_seeds(value: Any) -> Any:
    if type(value) is int:
        if value > MAX_SEEDS:
            raise ValueError(f"must be at most {MAX_SEEDS}")
        return tuple(range(value))
    return tuple(value) if isinstance(value, list) else value  # a tuple, since this leaves JSON mode


def _beside_study(value: str, info: ValidationInfo) -> str:
    """Resolve a path relative to the study's folder."""
    folder: Path = (info.context or {})["file"].parent.absolute()
    try:
        return str((folder / Path(value).expanduser()).resolve())
    except (OSError, RuntimeError) as error:  # no such user, or a loop of links
        raise ValueError(f"is no path ({error})") from error


def _corpus(value: str, info: ValidationInfo) -> str:
    return value if value == "embedded" else _beside_study(value, info)


def _name_or_file(value: str, info: ValidationInfo) -> str:
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    return _beside_study(value, info) if value.endswith(".toml") else value


NameOrFile = Annotated[str, AfterValidator(_name_or_file)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Method = Literal["LAI-Net", "w/o 2nd", "w/o 1st"]
Mask = Literal["Inv.", "Vis.", "Full"]


class PhaseSpec(Section):
    """The base of one phase: a preset and what is changed in it."""

    preset: NameOrFile
    settings: dict[str, Any] = Field(default={}, alias="set")


class DatasetSpec(Section):
    """A corpus and its bases. `corpus` is an absolute path, `embedded`, or None: to be given at the run."""

    name: Slug
    corpus: Annotated[str, AfterValidator(_corpus)] | None = None
    annotations: NameOrFile | None = None
    folds: Annotated[int, Field(ge=1, le=MAX_FOLDS)] = 1
    averaging: Literal["micro", "macro"] = "micro"
    ner: PhaseSpec | None = None
    re: PhaseSpec | None = None

    @property
    def fold_numbers(self) -> tuple[int | None, ...]:
        """The folds by number from 0; a single None without folds."""
        return (None,) if self.folds == 1 else tuple(range(self.folds))

    @model_validator(mode="after")
    def _has_a_phase(self) -> "DatasetSpec":
        if self.ner is None and self.re is None:
            raise ValueError("needs a phase: [datasets.ner], [datasets.re], or both")
        return self


class Factors(Section):
    """The levels of each table's factors, spelled as in the paper."""

    gcn_layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], AfterValidator(_distinct)] = ()
    gcn_heads: Annotated[tuple[Annotated[int, Field(ge=1)], ...], AfterValidator(_distinct)] = ()
    entity_filter: Annotated[tuple[Literal["with", "without"], ...], AfterValidator(_distinct)] = ()
    method: Annotated[tuple[Method, ...], AfterValidator(_distinct)] = ()
    mask: Annotated[tuple[Mask, ...], AfterValidator(_distinct)] = ()


class Resources(Section):
    """What a trial takes, and, where Ray should not find out, how many GPUs there are."""

    cpus_per_trial: Positive = 1
    gpus_per_trial: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    gpus: Annotated[int, Field(ge=0)] | None = None
    max_concurrent: Annotated[int, Field(ge=1)] | None = None


class Budget(Section):
    """When to stop: wall-clock hours, tries at a trial, GiB of artefacts."""

    hours: Positive | None = None
    max_attempts: Annotated[int, Field(ge=1)] = 3
    disk_gib: Positive | None = None


class Report(Section):
    """Which of the evaluations the tables show."""

    split: Literal["dev", "test"] = "test"
    entities: Literal["predicted", "gold"] = "predicted"
    protocol: Literal["pure", "plmarker"] = "pure"


class Study(Section):
    """A whole study."""

    name: Slug
    seeds: Annotated[
        tuple[Seed, ...],
        Field(min_length=1, max_length=MAX_SEEDS),
        AfterValidator(_distinct),
        BeforeValidator(_count_to_seeds),
    ]
    upstream: Literal["base", "changed"] = "base"
    datasets: Annotated[tuple[DatasetSpec, ...], Field(min_length=1)]
    factors: Factors = Factors()
    resources: Resources = Resources()
    budget: Budget = Budget()
    report: Report = Report()
    search: SearchSpec | None = None
    _file: Path = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Keep the file's path."""
        self._file = context["file"]

    @property
    def file(self) -> Path:
        """Where the study was read, for messages."""
        return self._file

    @model_validator(mode="after")
    def _names_are_distinct(self) -> "Study":
        names = [dataset.name for dataset in self.datasets]
        if len(set(names)) != len(names):
            raise ValueError(f"datasets must have distinct names, but got {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _has_tables_or_a_search(self) -> "Study":
        if self.search is not None and self.factors != Factors():
            raise ValueError("a study has [factors] or a [search]; the ledger shares trials between studies")
        return self


def study_names() -> list[str]:
    """The studies that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def study_file(name: str | Path) -> Path:
    """The file of a study: a path, or a bare name of one that ships unless there is such a file."""
    is_shipped = str(name) in study_names() and not Path(name).is_file()
    return FOLDER / f"{name}.toml" if is_shipped else Path(name)


def load_study(name: str | Path) -> Study:
    """Read a study file, or a shipped study by its name.

    Raises:
        InputError: one line with the file, the place, and what is known there.
    """
    path = study_file(name)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such study; a file, or one of {', '.join(study_names())}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {error}") from error
    try:
        # By way of JSON, since pydantic's strict Python mode takes no list where a tuple is meant.
        text = json.dumps(content, default=str)
        return Study.model_validate_json(text, context={"file": path})
    except ValidationError as error:
        raise InputError(f"{path}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    # An unknown key first: where a key is misspelled, a missing one is only the consequence.
    problems = error.errors(include_url=False)
    problem = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    *parents, last = problem["loc"] or ("",)
    if problem["type"] == "extra_forbidden":
        return f"{_place(parents)}unknown key {last!r}; known: {', '.join(_known_keys(parents))}"
    if problem["type"] == "missing":
        return f"{_place(parents)}key {last!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    got = problem["input"]
    shown = "" if isinstance(got, dict) else f", but got {reprlib.repr(got)}"
    return f"{_place(problem['loc'])}{message[:1].lower()}{message[1:]}{shown}"


def _place(location: Any) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return f"{text.lstrip('.')}: " if text else ""


def _known_keys(location: Any) -> list[str]:
    section: Any = Study
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

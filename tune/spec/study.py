"""A study: the TOML file that says which corpora, phases, tables and seeds, on what resources.

    name = "mine"                       # letters, digits, `.`, `_`, `-`
    seeds = [1, 2]                      # or a count: 10 means 0 to 9
    upstream = "base"                   # end-to-end RE: on the entities of the base NER trial, or of the
                                        # "changed" one: the NER cell of the same factor and level

    [[datasets]]
    name = "SciERC"                     # the `dataset` column of results
    corpus = "data/scierc"              # relative to this file; "embedded"; or left to `lai run --corpus`
    annotations = "scierc"              # shipped name or TOML file; default: found by the corpus' labels
    folds = 1                           # 10 in ADE; only_folds = [0] takes some of them alone
    overlapping_relations = "keep"      # or "drop": those between spans that share a word, as 120 of ADE's
    averaging = "micro"                 # which F1 the tables show
    [datasets.ner]                      # either phase may be left out
    preset = "paper-scierc-ner"         # shipped name or TOML file
    set = { "graph.layers" = 1 }
    [datasets.re]
    preset = "paper-scierc-re"
    [datasets.re.plmarker]              # the level PL-Marker of `model`, here and below [datasets.ner];
    preset = "plmarker-scierc-re"       # left out: the base with PL-Marker's architecture

    [factors]                           # levels to compare, the base's among them; none: the base alone
    gcn_layers = [0, 1, 2]              # also gcn_heads, entity_filter, method, mask, model, representation

    [resources]                         # cpus_per_trial, gpus_per_trial (a number, or "measured"), gpus,
                                        # max_concurrent
    [budget]                            # hours, max_attempts, disk_gib, keep_models, stall_minutes
    [report]                            # split, entities, protocol: what the tables show; interval: t or bca
    [decide]                            # max_seeds, step, min_effect: how `--until-decided` adds seeds
    [search]                            # in place of factors: see `tune.spec.search`

This is the one place where a study is parsed; every error is one line with file and place.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from lai_net.config import SEED_END, EntitySource, Phase, Representation
from lai_net.corpora.loading import EMBEDDED, OverlappingRelations
from lai_net.errors import InputError
from lai_net.files import read_toml
from lai_net.metrics.scoring import Averaging, Protocol
from lai_net.settings import flat
from tune.spec.baseline import Model
from tune.spec.search import SearchSpec
from tune.spec.section import (
    Count,
    NotNegative,
    Positive,
    Section,
    Slug,
    Whole,
    first_problem,
    unfit_values,
)

FOLDER = Path(__file__).parents[1] / "studies"
MAX_SEEDS, MAX_FOLDS = 10_000, 1_000
"""Beyond these a number is a slip, and a plan of it would fill the memory."""


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("must be distinct")
    return values


def _count_to_seeds(value: Any) -> Any:
    if type(value) is int:
        if value < 1:
            raise ValueError("must be at least one seed, or a list")
        if value > MAX_SEEDS:
            raise ValueError(f"must be at most {MAX_SEEDS}")
        return tuple(range(value))
    if not isinstance(value, list | tuple):
        raise ValueError("must be a count, or a list of integers")
    return tuple(value)  # a tuple, since this leaves JSON mode


def _beside_study(value: str, info: ValidationInfo) -> str:
    """Resolve a path relative to the study's folder."""
    folder: Path = (info.context or {})["file"].parent.absolute()
    try:
        return str((folder / Path(value).expanduser()).resolve())
    except (OSError, RuntimeError) as error:  # no such user, or a loop of links
        raise ValueError(f"is no path ({error})") from error


def _corpus(value: str, info: ValidationInfo) -> str:
    return value if value == EMBEDDED else _beside_study(value, info)


def _name_or_file(value: str, info: ValidationInfo) -> str:
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    return _beside_study(value, info) if value.endswith(".toml") else value


NameOrFile = Annotated[str, AfterValidator(_name_or_file)]
Seed = Annotated[int, Field(ge=0, lt=SEED_END)]
Method = Literal["LAI-Net", "w/o 2nd", "w/o 1st"]
Interval = Literal["t", "bca"]
"""Of a mean: Student's t, or the bias-corrected and accelerated bootstrap."""
Mask = Literal["Inv.", "Vis.", "Full"]
KeepModels = Literal["all", "needed", "none"]


class PhaseSpec(Section):
    """One phase's config: a preset and what is changed in it."""

    preset: NameOrFile
    settings: Annotated[dict[str, Any], AfterValidator(flat)] = Field(default={}, alias="set")


class BaseSpec(PhaseSpec):
    """The base of one phase, and what is compared with it as PL-Marker where factors.model asks for that.

    `plmarker` left out is the base with PL-Marker's architecture.
    """

    plmarker: PhaseSpec | None = None


class DatasetSpec(Section):
    """A corpus and its bases. `corpus` is an absolute path, `embedded`, or None: to be given at the run.

    `folds` is what the corpus has, `only_folds` which of them are taken; None takes all.
    """

    name: Slug
    corpus: Annotated[str, AfterValidator(_corpus)] | None = None
    annotations: NameOrFile | None = None
    folds: Annotated[int, Field(ge=1, le=MAX_FOLDS)] = 1
    only_folds: Annotated[tuple[Whole, ...], Field(min_length=1), AfterValidator(_distinct)] | None = None
    overlapping_relations: OverlappingRelations = "keep"
    averaging: Averaging = "micro"
    ner: BaseSpec | None = None
    re: BaseSpec | None = None

    @property
    def fold_numbers(self) -> tuple[int | None, ...]:
        """The folds that are taken, by number from 0; a single None without folds."""
        return (None,) if self.folds == 1 else self.only_folds or tuple(range(self.folds))

    def base(self, phase: Phase) -> BaseSpec | None:
        """The base of one phase."""
        return self.ner if phase == "NER" else self.re

    @model_validator(mode="after")
    def _takes_folds_that_there_are(self) -> "DatasetSpec":
        if self.only_folds is not None and self.folds == 1:
            raise ValueError("only_folds is for a corpus with folds; say how many, or leave it out")
        if self.only_folds is not None and max(self.only_folds) >= self.folds:
            raise ValueError(f"only_folds must be from 0 to {self.folds - 1}, but has {max(self.only_folds)}")
        return self

    @model_validator(mode="after")
    def _has_a_phase(self) -> "DatasetSpec":
        if self.ner is None and self.re is None:
            raise ValueError("needs a phase: [datasets.ner], [datasets.re], or both")
        return self


class Factors(Section):
    """The levels of each table's factors, spelled as in the paper; representations as in Figure 1."""

    model: Annotated[tuple[Model, ...], AfterValidator(_distinct)] = ()
    gcn_layers: Annotated[tuple[Whole, ...], AfterValidator(_distinct)] = ()
    gcn_heads: Annotated[tuple[Count, ...], AfterValidator(_distinct)] = ()
    entity_filter: Annotated[tuple[Literal["with", "without"], ...], AfterValidator(_distinct)] = ()
    method: Annotated[tuple[Method, ...], AfterValidator(_distinct)] = ()
    mask: Annotated[tuple[Mask, ...], AfterValidator(_distinct)] = ()
    representation: Annotated[tuple[Representation, ...], AfterValidator(_distinct)] = ()


def _gpu_share(value: Any) -> Any:
    is_share = type(value) in (int, float) and 0 <= value < math.inf
    if value != "measured" and not is_share:
        raise ValueError('must be a number from 0, or "measured"')
    if is_share and value > 1 and value != int(value):
        raise ValueError("must be whole beyond 1, since a share is of one GPU")
    return value


class Resources(Section):
    """What a trial takes, and, where Ray should not find out, how many GPUs there are.

    `gpus_per_trial` may be "measured": each config then gets the share that it was measured to need. What
    `gpus` says may be only counted: a trial that finds no such GPU trains on the CPU.
    """

    cpus_per_trial: Positive = 1
    gpus_per_trial: Annotated[float | Literal["measured"], BeforeValidator(_gpu_share)] = 0
    gpus: Whole | None = None
    max_concurrent: Count | None = None

    @property
    def is_measured(self) -> bool:
        """Whether shares are."""
        return self.gpus_per_trial == "measured"

    @property
    def fixed_share(self) -> float:
        """What a trial gets where nothing is measured; of what is to be measured, a whole GPU."""
        return 1.0 if isinstance(self.gpus_per_trial, str) else self.gpus_per_trial

    @property
    def needs_cuda(self) -> bool:
        """Whether trials are given GPUs that are not only counted."""
        return self.fixed_share > 0 and self.gpus is None


class Budget(Section):
    """When to stop.

    Attributes:
        hours: of wall clock, after which nothing new starts.
        max_attempts: tries at a trial in one run, where the machine is at fault.
        disk_gib: of artefacts, beyond which nothing new starts.
        keep_models: which models of finished trials stay. "all"; what is "needed": the best on dev of each
            dataset and phase with all its equals (F1 averaged as for the choice of an epoch, RE between gold
            entities; in a search also by what it goes by), those whose entities RE takes, and a search's
            confirmations; or "none", for a study that will not grow. A model goes once all evaluations are
            recorded that the study plans with it, also where this study's run trained it before this was set;
            never that of another study's run, nor of one older than this setting.
        stall_minutes: without a word from a running trial, after which its worker is killed and the trial is
            tried again. It must be longer than an epoch or an evaluation takes.
    """

    hours: Positive | None = None
    max_attempts: Count = 3
    disk_gib: Positive | None = None
    keep_models: KeepModels = "all"
    stall_minutes: Positive = 720


class Report(Section):
    """Which of the evaluations the tables show."""

    split: Literal["dev", "test"] = "test"
    entities: EntitySource = "predicted"
    protocol: Protocol = "pure"
    interval: Interval = "t"


class Decide(Section):
    """How seeds may be added until each level is told from its base; fixed before the first result.

    Attributes:
        max_seeds: of a cell, the study's own among them.
        step: seeds between two looks; more looks are stricter each.
        min_effect: smallest difference of F1 that matters, in percent points; a level whose interval lies
            within ± this is as good as the base.
    """

    max_seeds: Annotated[int, Field(ge=2, le=MAX_SEEDS)]
    step: Count = 4
    min_effect: NotNegative = 0.5


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
    decide: Decide | None = None
    search: SearchSpec | None = None
    _file: Path = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Keep the file's path."""
        self._file = context["file"]

    @property
    def file(self) -> Path:
        """Where the study was read, for messages."""
        return self._file

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The study's seeds, then those that `[decide]` may add: the next higher numbers."""
        if self.decide is None:
            return self.seeds
        more = range(max(self.seeds) + 1, max(self.seeds) + 1 + self.decide.max_seeds - len(self.seeds))
        return (*self.seeds, *more)

    @model_validator(mode="after")
    def _may_add_seeds(self) -> "Study":
        if self.decide is not None and self.decide.max_seeds < len(self.seeds):
            raise ValueError(
                f"decide.max_seeds must be at least the number of seeds, {len(self.seeds)}, "
                f"but is {self.decide.max_seeds}"
            )
        if self.all_seeds[-1] >= SEED_END:
            raise ValueError(f"[decide] adds seeds up to {self.all_seeds[-1]}; they must be below 2**32")
        if self.decide is not None and self.search is not None:
            raise ValueError("[decide] is for a study with tables, not for a [search]")
        return self

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


def with_all_seeds(study: Study) -> Study:
    """The study as if it asked for every seed that `[decide]` may add."""
    return study if study.decide is None else study.model_copy(update={"seeds": study.all_seeds})


def with_interval(study: Study, interval: Interval | None) -> Study:
    """The study with another kind of interval in its report; None leaves its own."""
    if interval is None:
        return study
    return study.model_copy(update={"report": study.report.model_copy(update={"interval": interval})})


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
        content = read_toml(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such study; a file, or one of {', '.join(study_names())}") from error
    for place, problem in unfit_values(content):
        raise InputError(f"{path}: {place}{problem}")
    try:
        # By way of JSON, since pydantic's strict Python mode takes no list where a tuple is meant.
        return Study.model_validate_json(json.dumps(content), context={"file": path})
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error, Study)}") from error

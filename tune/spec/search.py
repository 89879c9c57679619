"""The `[search]` section of a study: what is searched, how, and until when.

[search]
phase = "NER"
dataset = "SciERC"                  # may be left out where the study has one
fold = 0                            # of a dataset with folds
entities = "predicted"              # RE goes by dev RE+ F1 on what the dataset's NER base predicts, trained
                                    # first with the study's first seed; or by RE F1 on "gold" entities
sampler = "tpe"                     # tpe (multivariate, grouped), tpe-univariate, random, grid
seed = 0                            # of the sampler
seeds_per_config = 2                # a config's score is the mean over the first of the study's seeds

[search.space]                      # settings of lai_net.config; one exists only where it acts
"training.head_lr" = { log = [1e-4, 1e-2] }
"graph.layers" = { int = [0, 4] }   # ends included
"graph.heads" = { choice = [1, 2, 4] }
"graph.dropout" = { uniform = [0.0, 0.5] }

[search.scheduler]
name = "asha"                       # or "none": every config gets its full budget
grace_period = 2                    # epochs before the first rung; default: one more than the cold start
reduction_factor = 3
brackets = 1
noise_margin = 1.0                  # in standard errors of a config's mean; 0 is plain ASHA

[search.budget]                     # no further config starts beyond any of these; confirmations come on top
trials = 60                         # trainings
epochs = 600
hours = 20                          # of training, summed over trials
failures = 5                        # configs that failed

[search.confirm]                    # the best configs once more, on seeds that the search has not seen
best = 3
seeds = 5
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lai_net.config import Phase
from tune.spec.section import Count, NotNegative, Positive, Section, Slug, Whole

Value = bool | int | float | str
Samplers = Literal["tpe", "tpe-univariate", "random", "grid"]
_LARGEST_INTEGER = 2**53
"""Samplers compute with floats, which know every integer up to there."""


class Domain(Section):
    """Where a setting may lie: exactly one of the four. Ends are included."""

    uniform: tuple[float, float] | None = None
    log: tuple[float, float] | None = None
    integer: tuple[int, int] | None = Field(default=None, alias="int")
    choice: Annotated[tuple[Value, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _is_one_domain(self) -> "Domain":
        given = [item for item in (self.uniform, self.log, self.integer) if item is not None]
        if len(given) + (self.choice is not None) != 1:
            raise ValueError("needs exactly one of uniform, log, int, choice")
        for low, high in given:
            if low >= high:
                raise ValueError(f"must rise, but got [{low}, {high}]")
        if self.integer is not None and max(map(abs, self.integer)) > _LARGEST_INTEGER:
            raise ValueError(f"int must lie within ±2**53, but got {list(self.integer)}")
        if self.log is not None and self.log[0] <= 0:
            raise ValueError(f"log must begin above 0, but got {self.log[0]}")
        if self.choice is not None and len(set(self.choice)) < len(self.choice):
            raise ValueError("choice must be distinct (true is 1, and 1 is 1.0)")
        return self


class Scheduler(Section):
    """Who is stopped early: ASHA over epochs, or nobody."""

    name: Literal["asha", "none"] = "asha"
    grace_period: Count | None = None
    reduction_factor: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 3
    brackets: Count = 1
    noise_margin: NotNegative = 1.0

    @model_validator(mode="after")
    def _stops_as_asked(self) -> "Scheduler":
        given = sorted(self.model_fields_set - {"name"})
        if self.name == "none" and given:
            raise ValueError(f"'none' stops nothing, so {given[0]} does nothing; leave it out")
        return self


class SearchBudget(Section):
    """When no further config starts; None is no bound.

    What is on its way goes on, and confirmations come on top; after so many `failures` there are none.
    """

    trials: Count | None = None
    epochs: Count | None = None
    hours: Positive | None = None
    failures: Count = 5


class Confirm(Section):
    """How many of the best are trained again, on how many fresh seeds; `best = 0` confirms none.

    Bounded, so that a slip of the finger does not cost a cluster's week.
    """

    best: Annotated[int, Field(ge=0, le=100)] = 3
    seeds: Annotated[int, Field(ge=2, le=100)] = 5


class SearchSpec(Section):
    """The whole section."""

    phase: Phase
    dataset: Slug | None = None
    fold: Whole | None = None
    entities: Literal["predicted", "gold"] = "predicted"
    sampler: Samplers = "tpe"
    seed: Whole = 0
    seeds_per_config: Count = 1
    space: Annotated[dict[str, Domain], Field(min_length=1)]
    scheduler: Scheduler = Scheduler()
    budget: SearchBudget = SearchBudget()
    confirm: Confirm = Confirm()

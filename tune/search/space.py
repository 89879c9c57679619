"""The space of a search: dotted settings of `lai_net.config`, each with its domain.

Which settings exist depends on others: heads need GCN layers, a filter's settings a filter. That is not
said in the study: a setting exists where it is among the active settings of the config drawn so far.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args, get_type_hints

from lai_net.active_settings import active_settings
from lai_net.config import TrialConfig
from lai_net.errors import InputError
from lai_net.settings import with_settings
from tune.spec.search import Domain, Value

GATES = (
    "encoder.freeze", "filter.enabled", "filter.cold_epochs", "graph.layers", "input.annotations",
    "input.attention_mask", "input.representation", "input.text_sees_markers",
    "input.annotations_see_markers", "input.marker_marker", "head.kind", "head.symmetric_rule",
)  # fmt: skip
"""Settings that decide which other settings act, in an order in which they can be drawn: first."""

_MOST_GATES = 10_000
"""Ways to draw them that are gone through, one by one, before a search begins."""

SELECTION_ENTITIES = "training.selection_entities"
_FIXED = ("training.epochs", "training.selection", "training.selection_averaging", SELECTION_ENTITIES)

Params = dict[str, Value]


@dataclass(frozen=True)
class Dimension:
    """One setting that is searched.

    Attributes:
        name: dotted.
        kind: of the domain.
        ends: lowest and highest value, of the setting's type; empty for a choice.
        choices: of a choice; empty otherwise.
    """

    name: str
    kind: Literal["float", "int", "choice"]
    is_log: bool = False
    ends: tuple[float, ...] = ()
    choices: tuple[Value, ...] = ()

    @property
    def values(self) -> Sequence[Value] | None:
        """All values, or None where there is no end of them."""
        if self.kind == "int":
            low, high = map(int, self.ends)
            return range(low, high + 1)
        return self.choices or None

    @property
    def count(self) -> int:
        """How many values there are, where there is an end; `len` takes no range beyond 2^63."""
        if self.kind == "int":
            low, high = map(int, self.ends)
            return high - low + 1
        return len(self.choices)

    @property
    def samples(self) -> tuple[Value, ...]:
        """Values that tell whether the domain fits the setting: its ends or choices."""
        return self.choices or self.ends


@dataclass(frozen=True)
class Space:
    """The dimensions around a base config, those that others depend on first, then by name."""

    base: TrialConfig
    dimensions: tuple[Dimension, ...]

    def draw(self, pick: Callable[[Dimension], Value]) -> Params:
        """Pick a value of every dimension that exists, given those picked before it."""
        params: Params = {}
        for dimension in self._gates:
            if self._exists(dimension, params):
                params[dimension.name] = pick(dimension)
        for dimension in self._behind(params):
            params[dimension.name] = pick(dimension)
        return params

    def config(self, params: Mapping[str, Any]) -> TrialConfig:
        """The base with what was drawn.

        Raises:
            InputError: the values do not go together.
        """
        return with_settings(self.base, params)

    @cached_property
    def size(self) -> int | None:
        """How many combinations there are; None where a dimension is continuous."""
        if any(dimension.values is None for dimension in self.dimensions):
            return None
        return sum(
            math.prod(dimension.count for dimension in self._behind(gates)) for gates in self._gate_values()
        )

    def combinations(self) -> Iterator[Params]:
        """Every combination of a finite space, once."""
        for gates in self._gate_values():
            behind = self._behind(gates)
            for values in itertools.product(*(dimension.values or () for dimension in behind)):
                yield gates | {item.name: value for item, value in zip(behind, values, strict=True)}

    @property
    def cold_epochs(self) -> int:
        """Epochs of the longest cold start in the space."""
        return max(config.cold_epochs for config in self._gate_configs)

    @property
    def extremes(self) -> list[TrialConfig]:
        """The base, all gates that go together, and every end and choice of each dimension."""
        ends = [{item.name: value} for item in self.dimensions for value in item.samples]
        return [self.base, *self._gate_configs, *map(self.config, ends)]

    @property
    def encoder_names(self) -> tuple[str, ...]:
        """Every encoder that may be drawn."""
        chosen = [item.choices for item in self.dimensions if item.name == "encoder.name"]
        return tuple(map(str, chosen[0])) if chosen else (self.base.encoder.name,)

    @property
    def _gates(self) -> list[Dimension]:
        return [item for item in self.dimensions if item.name in GATES]

    def _behind(self, gates: Params) -> list[Dimension]:
        """The other dimensions that exist behind these gates."""
        return [item for item in self.dimensions if item.name not in GATES and self._exists(item, gates)]

    def _exists(self, dimension: Dimension, gates: Params) -> bool:
        """Whether the setting acts at one of its values at least, of those that go with the gates."""
        section, _, key = dimension.name.partition(".")
        params = ({**gates, dimension.name: value} for value in dimension.samples)
        return any(key in active_settings(config).get(section, {}) for config in self._fitting(params))

    def _fitting(self, drawn: Iterable[Params]) -> Iterator[TrialConfig]:
        """The configs of what goes together."""
        for params in drawn:
            with contextlib.suppress(InputError):
                yield self.config(params)

    @property
    def _gate_configs(self) -> list[TrialConfig]:
        """Of gates that go together: at least one, since a gate is drawn where one of its values fits."""
        return list(self._fitting(self._gate_values()))

    def _gate_values(self, drawn: Params | None = None, index: int = 0) -> Iterator[Params]:
        """Every way to draw the gates; where they do not go together, nothing is drawn behind them."""
        drawn = drawn or {}
        if index == len(self._gates):
            yield drawn
            return
        gate = self._gates[index]
        if not self._exists(gate, drawn):
            yield from self._gate_values(drawn, index + 1)
            return
        for value in gate.values or ():
            yield from self._gate_values({**drawn, gate.name: value}, index + 1)

    def check(self) -> None:
        """Refuse what cannot be searched.

        Raises:
            InputError: a setting is unknown, of another type, fixed in a search, or never acts.
        """
        for dimension in self.dimensions:
            name = dimension.name
            if name in _FIXED:
                raise InputError(f"{name} is the same for all configs of a search; set it in the base")
            for value in dimension.samples:
                self.config({name: value})
        if (count := math.prod(item.count for item in self._gates)) > _MOST_GATES:
            names = ", ".join(item.name for item in self._gates)
            raise InputError(f"{names}: others depend on {count} values; at most {_MOST_GATES} will do")
        never = {item.name for item in self.dimensions}
        for gates in self._gate_values():
            never -= gates.keys() | {item.name for item in self._behind(gates)}
        if never:
            raise InputError(f"{min(never)} never acts in {self.base.phase} here; leave it out")


def make_space(base: TrialConfig, domains: Mapping[str, Domain]) -> Space:
    """The space of a study's section.

    Raises:
        InputError: see `Space.check`.
    """
    dimensions = [_dimension(base, name, domain) for name, domain in domains.items()]
    order = [*GATES, *sorted(domains)]
    dimensions.sort(key=lambda item: order.index(item.name))
    space = Space(base, tuple(dimensions))
    space.check()
    return space


def _dimension(base: TrialConfig, name: str, domain: Domain) -> Dimension:
    if domain.choice is not None:
        return Dimension(name, "choice", choices=domain.choice)
    if domain.integer is not None:
        return Dimension(name, "int", ends=domain.integer)
    is_log = domain.log is not None
    ends: Sequence[float] = domain.log or domain.uniform or ()
    if is_log and _is_integer(base, name):
        if any(end != int(end) for end in ends):
            raise InputError(f"{name} takes integers, but its ends are {list(ends)}")
        return Dimension(name, "int", is_log=True, ends=tuple(map(int, ends)))
    return Dimension(name, "float", is_log=is_log, ends=tuple(ends))


def _is_integer(base: TrialConfig, name: str) -> bool:
    """Whether a setting, if there is one of this name, takes integers, whatever its value in the base."""
    section, _, key = name.partition(".")
    kind = get_type_hints(type(getattr(base, section, None))).get(key)
    return int in (kind, *get_args(kind))

"""The table is the spec: a study's factors and levels, written out as cells with one config each."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lai_net.config import Phase, TrialConfig
from lai_net.errors import InputError
from lai_net.preset import load_preset
from lai_net.settings import with_settings
from tune.spec.baseline import LAI_NET, PL_MARKER, as_pl_marker, model_of
from tune.spec.study import DatasetSpec, PhaseSpec, Study

Factor = Literal["model", "gcn_layers", "gcn_heads", "entity_filter", "method", "mask", "representation"]

TABLES: Mapping[Factor, str] = {
    "model": "1", "gcn_layers": "2", "gcn_heads": "2", "entity_filter": "2", "method": "4", "mask": "5",
    "representation": "representations",
}  # fmt: skip
"""By its number in the paper, or by name where the paper has none."""
_MASKS = {"Inv.": "inv", "Vis.": "vis", "Full": "full"}
_METHODS: dict[str, dict[str, Any]] = {
    LAI_NET: {},
    "w/o 2nd": {"graph.layers": 0},
    "w/o 1st": {"graph.layers": 0, "input.annotations": False},
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One (dataset, phase, factor, level).

    Attributes:
        dataset: name in the study.
        phase: whose config the level changes.
        factor: what is compared.
        level: spelled as in the paper.
        config: what the cell trains; None where the cell does not exist (a dash in the table).
        is_base: whether the level is the base's, so that config is the base.
        upstream: in RE, the NER config whose predicted entities the end-to-end evaluation takes.
    """

    dataset: str
    phase: Phase
    factor: Factor
    level: str
    config: TrialConfig | None
    is_base: bool
    upstream: TrialConfig | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Names the cell within a study."""
        return (self.dataset, self.phase, self.factor, self.level)

    @property
    def table(self) -> str:
        """The table that shows this factor."""
        return TABLES[self.factor]


def expand(study: Study) -> list[Cell]:
    """All cells: by dataset, phase (NER first), factor and level, dashes among them; a search has none.

    Raises:
        InputError: a preset or setting is wrong, or a factor lacks the base's level.
    """
    if study.search is not None:
        return []
    try:
        return [cell for dataset in study.datasets for cell in _dataset_cells(study, dataset)]
    except InputError as error:
        raise InputError(f"{study.file}: {error}") from error


def _dataset_cells(study: Study, dataset: DatasetSpec) -> list[Cell]:
    ner = _phase_cells(study, dataset, "NER")
    relation = _phase_cells(study, dataset, "RE")
    if not ner or not relation:
        return ner + relation
    base = base_config(dataset, "NER")
    # Models are compared as wholes: PL-Marker's relations are between the entities that PL-Marker finds.
    changed = {
        (cell.factor, cell.level): cell.config
        for cell in ner
        if study.upstream == "changed" or cell.factor == "model"
    }
    for index, cell in enumerate(relation):
        # Under "changed", too, the base of RE stays with the base of NER, though their levels may differ.
        other = None if cell.is_base else changed.get((cell.factor, cell.level))
        relation[index] = dataclasses.replace(cell, upstream=other or base)
    return ner + relation


def _phase_cells(study: Study, dataset: DatasetSpec, phase: Phase) -> list[Cell]:
    base = base_config(dataset, phase)
    if base is None:
        return []
    levels = {factor: tuple(map(str, getattr(study.factors, factor))) for factor in TABLES}
    if not any(levels.values()):
        model = model_of(base)
        levels["method" if model == LAI_NET else "model"] = (model,)
    cells = []
    for factor, given in levels.items():
        base_level = _base_level(base, factor)
        if given and base_level is not None and base_level not in given:
            raise InputError(
                f"factors.{factor} must have {base_level!r}, the level of the base of "
                f"{dataset.name} {phase}, but has {', '.join(given)}; add it"
            )
        for level in given:
            config = None if base_level is None else _changed(dataset, base, factor, level)
            cells.append(
                Cell(
                    dataset=dataset.name,
                    phase=phase,
                    factor=factor,
                    level=level,
                    config=config,
                    is_base=level == base_level,
                )
            )
    return cells


def base_config(dataset: DatasetSpec, phase: Phase) -> TrialConfig | None:
    """The base of one phase, or None where the dataset has none.

    Raises:
        InputError: its preset or a setting is wrong.
    """
    spec = dataset.base(phase)
    return None if spec is None else _config(dataset, phase, spec)


def _config(dataset: DatasetSpec, phase: Phase, spec: PhaseSpec) -> TrialConfig:
    try:
        base = with_settings(load_preset(spec.preset), spec.settings)
        if base.phase != phase:
            raise InputError(f"preset {spec.preset} is for {base.phase}; name one for {phase}")
    except InputError as error:
        raise InputError(f"dataset {dataset.name!r}, {phase.lower()}: {error}") from error
    return base


def _changed(dataset: DatasetSpec, base: TrialConfig, factor: Factor, level: str) -> TrialConfig | None:
    """The base at another level of a factor; None where there is no such cell."""
    if factor == "model":
        return _with_model(dataset, base, level)
    return _CHANGES[factor](base, level)


def _with_model(dataset: DatasetSpec, base: TrialConfig, level: str) -> TrialConfig:
    """The base, or PL-Marker: what the study names for it, else the base with PL-Marker's architecture."""
    if level == model_of(base):
        return base
    place = f"dataset {dataset.name!r}, {base.phase.lower()}"
    if level == LAI_NET:
        raise InputError(f"{place}: its preset is {PL_MARKER}; name one of {LAI_NET} as the base")
    base_spec = dataset.base(base.phase)
    if base_spec is None or base_spec.plmarker is None:
        return as_pl_marker(base)
    config = _config(dataset, base.phase, base_spec.plmarker)
    if model_of(config) != PL_MARKER:
        raise InputError(f"{place}: plmarker.preset {base_spec.plmarker.preset} is {model_of(config)}")
    return config


def _base_level(base: TrialConfig, factor: Factor) -> str | None:
    """The base's own level; None where the factor does not exist for this base."""
    if factor == "model":
        return model_of(base)
    if factor == "gcn_layers":
        return str(base.graph.layers)
    if factor == "gcn_heads":
        return str(base.graph.heads) if base.graph.layers else None
    if factor == "entity_filter":
        if base.phase == "RE":
            return None
        return "with" if base.filter.enabled else "without"
    if factor == "method":
        return LAI_NET if model_of(base) == LAI_NET else None
    if factor == "representation":
        return base.input.family
    if not base.input.is_levitated:
        return None
    return next(level for level, mask in _MASKS.items() if mask == base.input.attention_mask)


def _with_method(base: TrialConfig, level: str) -> TrialConfig | None:
    if level == "w/o 2nd" and base.graph.layers == 0:
        return None
    return with_settings(base, _METHODS[level])


def with_representation(base: TrialConfig, level: str) -> TrialConfig | None:
    """The base with another representation, all else as it is; None where there is no such cell."""
    if level == "marker" and base.phase == "NER" and not base.screens_text:
        return None  # every span would take a pass of the encoder
    settings = {"input.representation": level, "input.annotations": level == "annotate"}
    return with_settings(base, settings)


_CHANGES: Mapping[Factor, Callable[[TrialConfig, str], TrialConfig | None]] = {
    "gcn_layers": lambda base, level: with_settings(base, {"graph.layers": int(level)}),
    "gcn_heads": lambda base, level: with_settings(base, {"graph.heads": int(level)}),
    "entity_filter": lambda base, level: with_settings(base, {"filter.enabled": level == "with"}),
    "method": _with_method,
    "mask": lambda base, level: with_settings(base, {"input.attention_mask": _MASKS[level]}),
    "representation": with_representation,
}

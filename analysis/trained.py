"""What a study trained: the settings of its bases that a reader must know, beside those of the paper."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lai_net.active_settings import active_settings
from lai_net.config import PHASES, Phase, TrialConfig
from lai_net.preset import Preset, preset_names, read_preset
from lai_net.settings import flat
from tune.search.plan import plan_search
from tune.spec.cells import base_config
from tune.spec.study import DatasetSpec, Study

_LABELS = {
    "encoder.name": "Encoder",
    "encoder.num_layers": "Encoder layers",
    "encoder.freeze": "Frozen part of the encoder",
    "training.epochs": "Epochs",
    "training.batch_size": "Batch size",
    "training.encoder_lr": "Learning rate, encoder",
    "training.head_lr": "Learning rate, everything else",
    "training.precision": "Precision",
    "training.negatives": "Non-entity spans per sentence",
    "filter.enabled": "Entity filter",
    "filter.stage": "Filter screens on",
    "filter.ratio": "Candidates kept per word, at most",
    "filter.threshold": "Filter's threshold",
    "filter.cold_epochs": "Epochs of the filter's cold start",
    "graph.layers": "GCN layers",
    "graph.heads": "Attention heads",
    "training.selection": "Checkpoint selected on",
}
_ALL = {"encoder.num_layers": None, "training.negatives": 0}
"""The value that means all there are."""
_NOT_SAID, _SEARCHED = "not said", "searched"


@dataclass(frozen=True, slots=True)
class Value:
    """A setting in words, ours and the paper's (None without a paper to compare with)."""

    own: str
    paper: str | None
    differs: bool


@dataclass(frozen=True, slots=True)
class Trained:
    """The settings of a dataset's bases, by label a value a phase; None where a setting does not act.

    In a search they are those of the search's phase and, where it goes by predicted entities, of NER.
    """

    dataset: str
    phases: tuple[Phase, ...]
    has_paper: bool
    is_search: bool
    lines: Mapping[str, Sequence[Value | None]]


def description(study_file: Path) -> str:
    """The comment with which a study file begins; empty where it has none."""
    lines: list[str] = []
    for line in study_file.read_text(encoding="utf-8-sig").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return " ".join(filter(None, lines))


def trained(study: Study) -> Iterator[Trained]:
    """Each dataset's settings, those alone that act in one of its phases."""
    plan = None if study.search is None else plan_search(study)
    for dataset in study.datasets if plan is None else (plan.dataset,):
        bases = _bases(dataset) if plan is None else {plan.spec.phase: plan.space.base}
        if plan is not None and plan.upstream is not None:
            bases = {"NER": plan.upstream.config, **bases}
        papers = {phase: _paper(dataset.name, phase) for phase in bases}
        values = {
            label: [_value(name, bases[phase], papers[phase]) for phase in bases]
            for name, label in _LABELS.items()
        }
        for name in () if plan is None else plan.spec.space.keys() & _LABELS.keys():
            value = values[_LABELS[name]][-1] or Value("", None, differs=False)
            values[_LABELS[name]][-1] = replace(value, own=_SEARCHED, differs=False)
        yield Trained(
            dataset=dataset.name,
            phases=tuple(bases),
            has_paper=any(papers.values()),
            is_search=plan is not None,
            lines={label: line for label, line in values.items() if any(line)},
        )


def _bases(dataset: DatasetSpec) -> dict[Phase, TrialConfig]:
    found = {phase: base_config(dataset, phase) for phase in PHASES}
    return {phase: config for phase, config in found.items() if config is not None}


def _paper(dataset: str, phase: Phase) -> Preset | None:
    """The paper by its letter; it has three of the corpora."""
    name = f"paper-literal-{dataset}-{phase}".lower()
    return read_preset(name) if name in preset_names() else None


def _value(name: str, config: TrialConfig, paper: Preset | None) -> Value | None:
    settings = flat(active_settings(config))
    if name not in settings or (name == "filter.enabled" and settings[name]):
        return None  # a filter's settings say that there is one
    if paper is None:
        return Value(_in_words(name, settings[name]), None, differs=False)
    theirs, is_said = _said(name, paper)
    if not is_said:
        return Value(_in_words(name, settings[name]), _NOT_SAID, differs=False)
    inferred = name in paper.values and paper.values[name].status == "inferred"
    text = _in_words(name, theirs) + (" (inferred)" if inferred else "")
    return Value(_in_words(name, settings[name]), text, differs=theirs != settings[name])


def _said(name: str, paper: Preset) -> tuple[Any, bool]:
    """The paper's value, and whether it is the paper's: what is `ours` in its preset is not.

    It says no number of layers: it names encoders, and takes them whole; and it has a filter.
    """
    if name == "encoder.num_layers":
        return paper.config.encoder.num_layers, True
    if name == "filter.enabled":
        return paper.config.filter.enabled, True
    item = paper.values.get(name)
    return (None, False) if item is None or item.status == "ours" else (item.value, True)


def _in_words(name: str, value: Any) -> str:
    if name in _ALL and value == _ALL[name]:
        return "all"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, int | float) else str(value)

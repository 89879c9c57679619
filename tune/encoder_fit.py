"""Whether a study's settings fit the encoders that it names: what `lai run` refuses and `lai plan` tells."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from lai_net.active_settings import active_settings
from lai_net.encoder_files import OFFLINE_ENCODER, encoder_folder, has_weights
from lai_net.errors import InputError
from lai_net.settings import flat
from tune.planning.plan import Plan, PlannedTrial
from tune.search.plan import SearchPlan

_BERT_LAYERS = 12
"""What transformers takes where a configuration does not say."""
_MOST_VALUES = 1000
"""Of one setting; among so many integers in a row there is one that does not fit, if there is one at all."""


@dataclass(frozen=True)
class _Shape:
    """Of an encoder: its hidden size, and its layers."""

    width: int
    layers: int

    def forbids(self, setting: str, value: Any) -> str:
        """What a setting's value must do and does not; empty where it fits, or None is its value."""
        if setting == "graph.heads" and value is not None and self.width % value:
            return f"divide the width {self.width}"
        if setting == "encoder.num_layers" and value is not None and value > self.layers:
            return f"be at most the {self.layers} layers"
        return ""


def check_fit(plan: Plan | SearchPlan) -> None:
    """Look at every encoder of a plan.

    Raises:
        InputError: an encoder has no size or weights, or a setting does not go with it.
    """
    for line in _misfits(plan, {name: _shape_of(name) for name in plan.encoder_names}):
        raise InputError(line)


def misfits(plan: Plan | SearchPlan) -> list[str]:
    """What `check_fit` would refuse of the encoders that are on disk; a hub name is not looked up."""
    shapes, lines = {}, []
    for name in plan.encoder_names:
        if name == OFFLINE_ENCODER or Path(name).is_dir():
            try:
                shapes[name] = _shape_of(name)
            except InputError as error:
                lines.append(str(error))
    return list(dict.fromkeys([*lines, *_misfits(plan, shapes)]))  # many configs inherit what the base has


def _misfits(plan: Plan | SearchPlan, shapes: Mapping[str, _Shape]) -> Iterator[str]:
    """A line for each setting that does not go with its encoder, of those whose shapes are known."""
    for place, encoder, setting, value in _placed(plan):
        if encoder in shapes and (wanted := shapes[encoder].forbids(setting, value)):
            yield f"{plan.study.file}: {place}{setting} must {wanted} of encoder {encoder}, but got {value}"


def _placed(plan: Plan | SearchPlan) -> Iterator[tuple[str, str, str, Any]]:
    """Every setting with the place that gives it and the encoder that it must fit."""
    if isinstance(plan, Plan):
        for trial in {(trial.dataset, trial.spec_id): trial for trial in plan.trials}.values():
            yield from _of_trial(trial)
        return
    searched = {item.name: item.values or () for item in plan.space.dimensions}
    for name, values in searched.items():
        for encoder, value in product(plan.space.encoder_names, values[:_MOST_VALUES]):
            yield "search.space.", encoder, name, value
    for place, _, name, value in _of_trial(plan.trial(plan.space.base, 0)):
        if name not in searched:
            yield from ((place, encoder, name, value) for encoder in plan.space.encoder_names)
    if plan.upstream is not None:
        yield from _of_trial(plan.upstream)


def _of_trial(trial: PlannedTrial) -> Iterator[tuple[str, str, str, Any]]:
    place = f"dataset {trial.dataset!r}, {trial.phase.lower()}: "
    for name, value in flat(active_settings(trial.config)).items():
        yield place, trial.config.encoder.name, name, value


def _shape_of(name: str) -> _Shape:
    """As its configuration has it.

    Raises:
        InputError: its folder has no such size, or no weights.
    """
    folder = encoder_folder(name)
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        shape = _Shape(int(content["hidden_size"]), int(content.get("num_hidden_layers", _BERT_LAYERS)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"encoder {name!r}: {folder}/config.json has no hidden_size ({error!r})") from error
    if not has_weights(folder):
        raise InputError(f"encoder {name!r}: {folder} has neither model.safetensors nor pytorch_model.bin")
    return shape

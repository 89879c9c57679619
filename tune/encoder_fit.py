"""Whether a study's settings fit the encoders that it names: what `lai run` refuses and `lai plan` tells."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lai_net.active_settings import active_settings
from lai_net.encoder_files import OFFLINE_ENCODER, encoder_folder, has_weights
from lai_net.errors import InputError
from tune.planning.plan import Plan, make_plan
from tune.search.plan import SearchPlan, plan_search
from tune.spec.study import Study

_BERT_LAYERS = 12
"""What transformers takes where a configuration does not say."""


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


def check_fit(plan: Plan, search: SearchPlan | None) -> None:
    """Look at all encoders of a plan, or of a search.

    Raises:
        InputError: an encoder has no size or weights, or a setting does not go with it.
    """
    for line in _misfits(plan, search, {name: _shape_of(name) for name in _names(plan, search)}):
        raise InputError(line)


def misfits(study: Study) -> list[str]:
    """What `check_fit` would refuse of the encoders that are on disk; a hub name is not looked up."""
    plan = make_plan(study)
    search = None if study.search is None else plan_search(study)
    shapes, lines = {}, []
    for name in _names(plan, search):
        if name == OFFLINE_ENCODER or Path(name).is_dir():
            try:
                shapes[name] = _shape_of(name)
            except InputError as error:
                lines.append(str(error))
    return [*lines, *_misfits(plan, search, shapes)]


def _misfits(plan: Plan, search: SearchPlan | None, shapes: Mapping[str, _Shape]) -> Iterator[str]:
    """A line for each setting that does not go with its encoder, of those whose shapes are known."""
    for trial in {(trial.dataset, trial.spec_id): trial for trial in plan.trials}.values():
        name, settings = trial.config.encoder.name, active_settings(trial.config)
        if name in shapes:
            given = {
                "graph.heads": settings["graph"].get("heads"),
                "encoder.num_layers": settings["encoder"].get("num_layers"),
            }
            for setting, value in given.items():
                if wanted := shapes[name].forbids(setting, value):
                    yield (
                        f"{plan.study.file}: dataset {trial.dataset!r}, {trial.phase.lower()}: {setting} "
                        f"must {wanted} of encoder {name}, but got {value}"
                    )
    for item in () if search is None else search.space.dimensions:
        for name, shape in shapes.items():
            for value in item.values or ():
                if wanted := shape.forbids(item.name, value):
                    yield (
                        f"{plan.study.file}: search.space.{item.name}: must {wanted} of encoder {name}, but "
                        f"may be {value}; name those that do as a choice"
                    )


def _names(plan: Plan, search: SearchPlan | None) -> Sequence[str]:
    return plan.encoder_names if search is None else search.encoder_names


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

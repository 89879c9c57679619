"""Settings of a config by their dotted names: set some, read all from a file, list what there is."""

import dataclasses
import math
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lai_net.active_settings import idle_settings
from lai_net.config import TrialConfig
from lai_net.errors import InputError

SLOW_BF16 = 'has no instructions for bf16, which is slower there than float32 (training.precision = "fp32")'
"""Said of a device or a host."""
_INTEGER_END = 2**63


def with_settings(config: TrialConfig, settings: Mapping[str, Any]) -> TrialConfig:
    """A copy with dotted keys replaced, e.g. `{"graph.layers": 1}`.

    Raises:
        InputError: an unknown key or a value of the wrong type, by name.
    """
    changes: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        section, _, name = key.partition(".")
        owner = getattr(config, section, None) if section != "phase" else None
        if not dataclasses.is_dataclass(owner) or name not in _field_types(type(owner)):
            raise InputError(f"unknown setting {key!r}; {_known(section)}")
        changes.setdefault(section, {})[name] = _checked(key, value, _field_types(type(owner))[name])
    sections = {
        section: dataclasses.replace(getattr(config, section), **values)
        for section, values in changes.items()
    }
    return dataclasses.replace(config, **sections)


def config_from_dict(values: Mapping[str, Any]) -> TrialConfig:
    """The inverse of `dataclasses.asdict`.

    Raises:
        InputError: an unknown key or a value of the wrong type, by name.
    """
    settings = flat({section: content for section, content in values.items() if section != "phase"})
    return with_settings(TrialConfig(phase=values["phase"]), settings)


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings by dotted name.

    Raises:
        InputError: one is there twice, nested and dotted.
    """
    fields: dict[str, Any] = {}
    for name, value in _dotted(settings):
        if name in fields:
            raise InputError(f"{name} is given twice; keep one")
        fields[name] = value
    return fields


def _dotted(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for section, value in settings.items():
        if isinstance(value, Mapping):
            yield from ((f"{section}.{name}", item) for name, item in value.items())
        else:
            yield section, value


def section_names() -> list[str]:
    """The parts of a config that hold settings."""
    return [section.name for section in dataclasses.fields(TrialConfig) if section.name != "phase"]


def setting_names() -> list[str]:
    """Every dotted setting that `with_settings` takes."""
    kinds = get_type_hints(TrialConfig)
    return [f"{section}.{name}" for section in section_names() for name in _field_types(kinds[section])]


def _known(section: str) -> str:
    """What could have been meant: the section's settings, those of this name, or the sections."""
    names = [name.partition(".") for name in setting_names()]
    own = [name for owner, _, name in names if owner == section]
    if own:
        return f"known in {section}: {', '.join(own)}"
    meant = [f"{owner}.{name}" for owner, _, name in names if name == section]
    if meant:
        return f"write {' or '.join(meant)}"
    return f"known are section.name of {', '.join(section_names())}"


def _field_types(owner: Any) -> dict[str, Any]:
    return get_type_hints(owner)


def _checked(key: str, value: Any, expected: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{key} must be finite, but got {value}")
    options = get_args(expected) if get_origin(expected) is not None else (expected,)
    if get_origin(expected) is Literal:
        if value not in options:
            raise InputError(f"{key} must be one of {', '.join(map(str, options))}, but got {value!r}")
        return value
    if type(value) is int and abs(value) >= _INTEGER_END:
        raise InputError(f"{key} must have at most 64 bits, but got {reprlib.repr(value)}")
    if float in options and type(value) is int:
        return float(value)
    if not any(type(value) is option for option in options):
        names = " or ".join(getattr(option, "__name__", str(option)) for option in options)
        raise InputError(f"{key} must be of type {names}, but got {value!r}")
    return value


def doubts(config: TrialConfig, given: Iterable[str] = (), *, on_cuda: bool = True) -> list[str]:
    """What is allowed and does harm, as was measured, or nothing: a line for the user each.

    Args:
        config: with all that is set.
        given: settings that were set by hand, which are told where they have no effect.
        on_cuda: whether it is trained on such a device.
    """
    found = idle_doubts([config], given, on_cuda=on_cuda)
    if config.screens_text and config.filter.threshold > 0:
        found.append(
            f'filter.threshold {config.filter.threshold} with filter.stage = "text" loses gold spans, more '
            "as training goes on (decision 11: to .87); set filter.threshold = 0 and filter.ratio = 0.75"
        )
    return found


def idle_doubts(configs: Iterable[TrialConfig], given: Iterable[str], *, on_cuda: bool = True) -> list[str]:
    """Of settings that were set by hand those that change nothing in any of the configs, a line each."""
    idle = [_idle(config, on_cuda=on_cuda) for config in configs]
    return [
        f"{name} has no effect here ({idle[0][name]})"
        for name in given
        if idle and all(name in one for one in idle)
    ]


def _idle(config: TrialConfig, *, on_cuda: bool) -> dict[str, str]:
    idle = idle_settings(config)
    if config.training.compile and not on_cuda:
        idle["training.compile"] = "it acts on a CUDA device alone"
    return idle

"""Settings of a config by their dotted names: set some, or all, and list what there is."""

import dataclasses
import math
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lai_net.config import TrialConfig
from lai_net.errors import InputError

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
        if not dataclasses.is_dataclass(owner) or name not in get_type_hints(type(owner)):
            raise InputError(f"unknown setting {key!r}; {_known(section)}")
        changes.setdefault(section, {})[name] = _checked(key, value, get_type_hints(type(owner))[name])
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
    return [f"{section}.{name}" for section in section_names() for name in get_type_hints(kinds[section])]


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

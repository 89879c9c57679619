"""Presets: settings of one phase as TOML, each with where it comes from.

A file names its `phase` and has a section per part of the config. A value is plain (then it is ours), or
`{ value = 80, status = "reported", source = "Appendix B.6" }`; status is `reported` (in the paper, or of
PL-Marker in its code), `inferred` (from there) or `ours`. With `extends = "paper-scierc-ner"`, a shipped name
or a `.toml` file beside the preset, or a list of them of which a later one outdoes an earlier, a file states
only what differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from lai_net.config import PHASES, Phase, TrialConfig
from lai_net.errors import InputError
from lai_net.files import read_toml
from lai_net.settings import section_names, with_settings

FOLDER = Path(__file__).parent / "presets"
Status = Literal["reported", "inferred", "ours"]


@dataclass(frozen=True, slots=True)
class PresetValue:
    """A setting's value and where it comes from."""

    value: Any
    status: Status = "ours"
    source: str = ""


@dataclass(frozen=True, slots=True)
class Preset:
    """A phase and what is set in it, by dotted key; all else is the config's default."""

    phase: Phase
    values: dict[str, PresetValue]

    @property
    def config(self) -> TrialConfig:
        """The config that it describes.

        Raises:
            InputError: an unknown key, or a value that cannot be.
        """
        plain = {key: item.value for key, item in self.values.items()}
        return with_settings(TrialConfig(phase=self.phase), plain)


def preset_names() -> list[str]:
    """The presets that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_preset(name_or_path: str) -> TrialConfig:
    """Read a shipped preset by name, or any preset by the path of its `.toml` file.

    Raises:
        InputError: no such preset, bad TOML, or a wrong setting; names the file and the setting.
    """
    return read_preset(name_or_path).config


def read_preset(name_or_path: str) -> Preset:
    """A preset with where its values come from; as `load_preset`."""
    return _read(_path(name_or_path, Path()), ())


def _path(name_or_path: str, beside: Path) -> Path:
    return beside / name_or_path if name_or_path.endswith(".toml") else FOLDER / f"{name_or_path}.toml"


def _read(path: Path, extended_by: tuple[Path, ...]) -> Preset:
    try:
        content = read_toml(path)
    except FileNotFoundError as error:
        raise InputError(_no_preset(path)) from error
    if path.resolve() in extended_by:
        raise InputError(f"{path.name}: extends itself by way of {extended_by[-1].name}; name another")
    given = content.pop("extends", [])
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path.name}: extends must name presets, but got {given!r}")
    bases = [_read(_path(name, path.parent), (*extended_by, path.resolve())) for name in names]
    try:
        preset = _preset(content, bases)
        preset.config  # noqa: B018 - so that a wrong setting is told with the file that it is in
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error
    return preset


def _no_preset(path: Path) -> str:
    if path.parent != FOLDER:
        return f"{path}: no such file; give a preset's .toml file, or the name of one that ships"
    names = preset_names()
    near = ", ".join(get_close_matches(path.stem, names, n=5, cutoff=0.5)) or f"{names[0]} to {names[-1]}"
    return f"no preset {path.stem!r}; those that ship lie in lai_net/presets ({near}), or give a .toml file"


def _preset(content: dict[str, Any], bases: Sequence[Preset]) -> Preset:
    phase = content.pop("phase", bases[0].phase if bases else None)
    if phase not in PHASES:
        raise InputError(f"phase must be one of {', '.join(PHASES)}, but got {phase!r}")
    values: dict[str, PresetValue] = {}
    for base in bases:
        if base.phase != phase:
            raise InputError(f"phase is {phase}, but it extends a preset for {base.phase}; name another")
        values |= base.values
    for section, items in content.items():
        if not isinstance(items, dict):
            raise InputError(f"{section!r} must be a section of settings, but got {items!r}")
        if section not in section_names():
            raise InputError(f"unknown section {section!r}; known are {', '.join(section_names())}")
        for name, item in items.items():
            values[f"{section}.{name}"] = _value(f"{section}.{name}", item)
    return Preset(phase, values)


def _value(key: str, value: Any) -> PresetValue:
    if not isinstance(value, dict):
        return PresetValue(value)
    if not {"value", "status"} <= value.keys() <= {"value", "status", "source"}:
        raise InputError(f"{key} takes value, status and source, but got {', '.join(value)}")
    if value["status"] not in get_args(Status):
        known = ", ".join(get_args(Status))
        raise InputError(f"{key}: status must be one of {known}, but got {value['status']!r}")
    if value["status"] != "ours" and not value.get("source"):
        raise InputError(f"{key}: a {value['status']} value needs its source")
    return PresetValue(**value)

"""Presets: settings of one phase as TOML, each with where it comes from.

A file names its `phase` and has a section per part of the config. A value is plain (then it is ours), or
`{ value = 80, status = "reported", source = "Appendix B.6" }`; status is `reported` (in the paper),
`inferred` (from the paper) or `ours`.
"""

import tomllib
from pathlib import Path
from typing import Any, get_args

from lai_net.config import Phase, TrialConfig, with_settings
from lai_net.errors import InputError

FOLDER = Path(__file__).parent / "presets"
_STATUSES = ("reported", "inferred", "ours")


def preset_names() -> list[str]:
    """The presets that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_preset(name_or_path: str) -> TrialConfig:
    """Read a shipped preset by name, or any preset by the path of its `.toml` file.

    Raises:
        InputError: no such preset, bad TOML, or a wrong setting; names the file and the setting.
    """
    path = Path(name_or_path) if name_or_path.endswith(".toml") else FOLDER / f"{name_or_path}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"no preset {name_or_path!r}; known: {', '.join(preset_names())}, or the path of a .toml file"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {error}") from error
    try:
        return _config(content)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error


def _config(content: dict[str, Any]) -> TrialConfig:
    phase = content.pop("phase", None)
    if phase not in get_args(Phase):
        raise InputError(f"phase must be one of {', '.join(get_args(Phase))}, but got {phase!r}")
    settings: dict[str, Any] = {}
    for section, values in content.items():
        if not isinstance(values, dict):
            raise InputError(f"{section!r} must be a section of settings, but got {values!r}")
        for name, value in values.items():
            settings[f"{section}.{name}"] = _value(f"{section}.{name}", value)
    return with_settings(TrialConfig(phase=phase), settings)


def _value(key: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if not {"value", "status"} <= value.keys() <= {"value", "status", "source"}:
        raise InputError(f"{key} takes value, status and source, but got {', '.join(value)}")
    if value["status"] not in _STATUSES:
        raise InputError(f"{key}: status must be one of {', '.join(_STATUSES)}, but got {value['status']!r}")
    if value["status"] != "ours" and not value.get("source"):
        raise InputError(f"{key}: a {value['status']} value needs its source")
    return value["value"]

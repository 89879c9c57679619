"""Configs by keywords."""

from collections.abc import Mapping
from typing import Any

from lai_net.config import Phase, TrialConfig
from lai_net.settings import with_settings


def config_with(phase: Phase, common: Mapping[str, Any], **settings: Any) -> TrialConfig:
    """A config with what is common, and further settings: `training__epochs` is `training.epochs`."""
    changes = {name.replace("__", "."): value for name, value in settings.items()}
    return with_settings(TrialConfig(phase=phase), {**common, **changes})

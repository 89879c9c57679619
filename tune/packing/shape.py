"""What of a trial changes the memory it needs, as a key: its config shape."""

from typing import Any

from lai_net.active_settings import active_settings
from lai_net.config import TrialConfig
from tune.spec.identity import digest

_NO_MEMORY = {
    "training": (
        "encoder_lr", "head_lr", "warmup", "weight_decay", "clip", "epochs", "selection",
        "selection_averaging", "selection_entities",
    ),
    "filter": ("threshold", "cold_epochs"),
    "graph": ("sigma_min", "direction", "normalization"),
    "head": ("symmetric_rule", "relation_threshold", "overlapping_triples"),
}  # fmt: skip
"""Settings that change numbers, not sizes."""


def shape_id(config: TrialConfig, dataset: str, encoder_id: str) -> str:
    """The shape of a config on a corpus; seeds and the folds of a dataset share one.

    Args:
        config: of a trial.
        dataset: its name, which in a ledger names one corpus: longest sentence and number of labels count.
        encoder_id: content of the encoder.
    """
    settings: dict[str, Any] = active_settings(config)
    for section, names in _NO_MEMORY.items():
        for name in names:
            settings.get(section, {}).pop(name, None)
    for section in ("graph", "head"):
        if "dropout" in settings[section]:
            settings[section]["dropout"] = settings[section]["dropout"] > 0  # a mask is held, or none
    settings["training"]["activation_checkpointing"] = config.training.activation_checkpointing
    return digest(["shape", settings, dataset, encoder_id])

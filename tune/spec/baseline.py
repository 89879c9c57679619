"""PL-Marker as a configuration of LAI-Net's code: the settings that make one, and the rule that tells one.

What a model is called is read off its settings, never off a label: PL-Marker is what has nothing of LAI-Net's
own left: the representation `enumerate` (no annotations), no candidate filter, no graph, a linear head. All
else, the encoder, rates and epochs among it, is free.
"""

from collections.abc import Mapping
from typing import Any, Literal

from lai_net.active_settings import active_settings
from lai_net.config import InputConfig, TrialConfig
from lai_net.settings import with_settings

Model = Literal["LAI-Net", "PL-Marker"]
LAI_NET: Model = "LAI-Net"
PL_MARKER: Model = "PL-Marker"

_ARCHITECTURE = {
    "input.representation": "enumerate",
    "input.annotations": False,
    "input.attention_mask": "inv",
    "input.text_sees_markers": False,
    "input.marker_marker": "own",
    "filter.enabled": False,
    "graph.layers": 0,
    "head.kind": "linear",
    "head.symmetric_rule": "sum",
    "head.overlapping_triples": "drop",
}


def model_of(config: TrialConfig) -> Model:
    """What a config is."""
    return model_of_settings(active_settings(config))


def model_of_settings(settings: Mapping[str, Any]) -> Model:
    """What a config is, from its active settings, as a ledger stores them."""
    is_one = (
        InputConfig(**settings["input"]).family == "enumerate"
        and not settings.get("filter", {}).get("enabled", False)
        and settings["graph"]["layers"] == 0
        and settings["head"].get("kind") == "linear"
    )
    return PL_MARKER if is_one else LAI_NET


def as_pl_marker(base: TrialConfig) -> TrialConfig:
    """PL-Marker with the encoder, the budget and the rates of a base: what differs is the model alone.

    In RE with its loss on the objects' types; whose types count stays as in the base.
    """
    typing = {} if base.head.object_typing == "types" else {"head.object_typing": "loss"}
    return with_settings(base, _ARCHITECTURE | typing)

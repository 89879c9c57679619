"""Which settings of a config act: what two computations share exactly if they are the same."""

import dataclasses
from typing import Any

from lai_net.config import AttentionMask, InputConfig, TrialConfig


def active_settings(config: TrialConfig) -> dict[str, Any]:
    """The settings that act, as nested plain values; equal computations give equal settings.

    Left out: heads and graph dropout without GCN layers, the filter in RE or when it is off, its cold start
    when there is none, its stage without markers, the mask without levitated markers, its difference between
    Inv. and Vis. without annotations, who sees markers under Full, the size of packs where they change no
    logit, candidates' length in RE, what only RE's head has in NER, the learning rate of fixed features.
    Annotations say which of `enumerate` and `annotate` a representation is. Later fields at their neutral
    value are left out too.
    """
    settings = _without_neutral(config)
    if config.graph.layers == 0:
        settings["graph"] = {"layers": 0}
    if config.phase == "RE":
        del settings["filter"], settings["input"]["max_span_words"]
        del settings["training"]["negatives"]
    elif not config.filter.enabled:
        settings["filter"] = {"enabled": False}
    elif config.cold_epochs:
        settings["filter"]["cold_epochs"] = config.cold_epochs
    else:
        del settings["filter"]["cold_epochs"], settings["filter"]["cold_negatives"]
    settings["input"]["annotations"] = config.input.is_annotated
    settings["input"]["attention_mask"] = _acting_mask(config.input)
    _drop(settings["input"], _idle_input(config.input))
    if config.input.family == "vanilla":
        _drop(settings.get("filter", {}), {"stage"})
    _drop(settings["head"], _idle_head(config))
    if config.encoder.freeze == "features":
        _drop(settings["training"], {"encoder_lr"})
    _drop(settings["training"], {"activation_checkpointing"})  # takes time for memory and changes no bit
    return settings


def _acting_mask(settings: InputConfig) -> AttentionMask:
    """Text alone is seen alike under all masks, and without annotations Vis. is Inv."""
    acts = settings.is_levitated and (settings.is_annotated or settings.attention_mask == "full")
    return settings.attention_mask if acts else "inv"


def _idle_input(settings: InputConfig) -> set[str]:
    """Settings of the representation and the mask that do not act."""
    seen = {"text_sees_markers", "annotations_see_markers", "marker_marker"}
    if not settings.is_levitated:
        return seen | {"max_candidates"}
    idle = {"representation"} if settings.is_annotated else {"representation", "annotations_see_markers"}
    if settings.attention_mask == "full":
        return idle | seen
    return idle | {"max_candidates"} if settings.reads_context_once else idle


def _idle_head(config: TrialConfig) -> set[str]:
    """Settings of the head that do not act."""
    if config.phase == "NER":
        return {"shortcut", "symmetric_rule", "relation_threshold", "object_typing", "overlapping_triples"}
    idle = {"shortcut"} if config.head.kind == "linear" else set()
    return idle | {"relation_threshold"} if config.head.symmetric_rule == "sum" else idle


def _drop(settings: dict[str, Any], names: set[str]) -> None:
    for name in names:
        settings.pop(name, None)


def _without_neutral(section: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        if dataclasses.is_dataclass(value):
            values[item.name] = _without_neutral(value)
        elif "neutral" not in item.metadata or value != item.metadata["neutral"]:
            values[item.name] = value
    return values

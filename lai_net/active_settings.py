"""Which settings of a config act: what two computations share exactly if they are the same."""

import dataclasses
from typing import Any

from lai_net.config import FilterConfig, GraphConfig, TrialConfig

_MASK, _ANNOTATIONS = "input.attention_mask", "input.annotations"
_SEEN = ("input.text_sees_markers", "input.annotations_see_markers", "input.marker_marker")
_FILTER = tuple(f"filter.{item.name}" for item in dataclasses.fields(FilterConfig) if item.name != "enabled")
_GRAPH = tuple(f"graph.{item.name}" for item in dataclasses.fields(GraphConfig) if item.name != "layers")
_ONLY_RE = (
    "head.shortcut", "head.symmetric_rule", "head.relation_threshold", "head.object_typing",
    "head.overlapping_triples", "training.selection_entities",
)  # fmt: skip


def active_settings(config: TrialConfig) -> dict[str, Any]:
    """The settings that act, as nested plain values; equal computations give equal settings.

    Left out is what `idle_settings` names, the filter in RE, a cold start of no epoch, and what takes time
    for memory and changes no bit. Annotations say which of `enumerate` and `annotate` a representation is,
    and a mask that makes no difference is Inv. Later fields at their neutral value are left out too.
    """
    settings = _without_neutral(config)
    settings["input"]["annotations"] = config.input.is_annotated
    idle = {*idle_settings(config), "training.activation_checkpointing"}
    if config.encoder.freeze == "all":
        idle.discard("training.encoder_lr")  # ids of such trials are older than this rule, and stay
    if config.input.is_levitated:
        idle.add("input.representation")
    if config.cold_epochs:
        settings["filter"]["cold_epochs"] = config.cold_epochs
    else:
        idle.add("filter.cold_epochs")
    if _MASK in idle:
        settings["input"]["attention_mask"] = "inv"
    for key in idle - {_MASK, _ANNOTATIONS}:
        section, _, name = key.partition(".")
        settings[section].pop(name, None)
    if config.phase == "RE":
        del settings["filter"]
    return settings


def idle_settings(config: TrialConfig) -> dict[str, str]:
    """Settings that change nothing at their value in this config, each with why."""
    idle: dict[str, str] = {}
    for does_not_act, why, names in _rules(config):
        if does_not_act:
            idle |= {name: why for name in names if name not in idle}
    return idle


def _rules(config: TrialConfig) -> list[tuple[bool, str, tuple[str, ...]]]:
    """What makes settings idle, the broadest reason first."""
    is_ner, settings, freeze = config.phase == "NER", config.input, config.encoder.freeze
    bare = settings.is_levitated and not settings.is_annotated
    return [
        (is_ner, "the phase is NER", _ONLY_RE),
        (not is_ner, "the phase is RE",
         ("filter.enabled", *_FILTER, "input.max_span_words", "training.negatives")),
        (config.graph.layers == 0, "graph.layers = 0", _GRAPH),
        (not config.filter.enabled, "filter.enabled = false", _FILTER),
        (not config.cold_epochs, "there is no cold start", ("filter.cold_negatives",)),
        (settings.family == "vanilla", 'input.representation = "vanilla"', ("filter.stage",)),
        (not settings.is_levitated, f'input.representation = "{settings.representation}"',
         (*_SEEN, "input.max_candidates", _MASK)),
        (settings.representation != "annotate", f'input.representation = "{settings.representation}"',
         (_ANNOTATIONS,)),
        (bare, "there are no annotations", ("input.annotations_see_markers",)),
        (bare and settings.attention_mask == "vis", "without annotations Vis. is Inv.", (_MASK,)),
        (settings.attention_mask == "full", 'input.attention_mask = "full"', _SEEN),
        (settings.reads_context_once, "no marker is seen by others, so packs change no number",
         ("input.max_candidates",)),
        (config.head.kind == "linear", 'head.kind = "linear"', ("head.shortcut",)),
        (config.head.symmetric_rule == "sum", 'head.symmetric_rule = "sum"', ("head.relation_threshold",)),
        (freeze in ("all", "features"), f'encoder.freeze = "{freeze}"', ("training.encoder_lr",)),
        (freeze == "features", 'encoder.freeze = "features"', ("training.activation_checkpointing",)),
    ]  # fmt: skip


def _without_neutral(section: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        if dataclasses.is_dataclass(value):
            values[item.name] = _without_neutral(value)
        elif "neutral" not in item.metadata or value != item.metadata["neutral"]:
            values[item.name] = value
    return values

"""Which computations are the same: content hashes of configs, trials and evaluations.

An id is a hash of canonical JSON: sorted keys; a float that is a whole number reads as that integer, any
other by its shortest decimal form; true is not 1. Whatever changes numbers is in it; host, device, commit
and worker count are not. Settings that do not act, and later fields at their neutral value, are left out
(`lai_net.active_settings`), so that they change no id.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from lai_net.active_settings import active_settings
from lai_net.config import TrialConfig
from lai_net.schema import Labels

IDENTITY_VERSION = 1
"""The form of what is hashed; raising it makes all stored trials strangers."""

SEMANTICS = {"NER": 1, "RE": 1, "evaluation": 1}
"""Raised by hand when a change of code changes what a phase, or the scoring, computes."""


def semantics_of(row: Mapping[str, Any]) -> list[int]:
    """The versions of what makes a row of the long table: training, scoring, and the NER it goes by."""
    upstream = ["NER"] if row["upstream_trial_id"] else []
    return [SEMANTICS[name] for name in (row["phase"], "evaluation", *upstream)]


def spec_id(config: TrialConfig) -> str:
    """A config by its active settings, the encoder by name: known without corpus and encoder at hand."""
    return settings_id(active_settings(config))


def settings_id(settings: Mapping[str, Any]) -> str:
    """`spec_id` of active settings, as a ledger stores them."""
    return digest([IDENTITY_VERSION, SEMANTICS[settings["phase"]], settings])


def config_id(config: TrialConfig, corpus_id: str, encoder_id: str, labels: Labels) -> str:
    """A config with the content it trains on: corpus, encoder, and the labels that act in its phase."""
    settings = active_settings(config)
    del settings["encoder"]["name"]
    return digest(
        {
            "identity": IDENTITY_VERSION,
            "semantics": SEMANTICS[config.phase],
            "settings": settings,
            "corpus": corpus_id,
            "encoder": encoder_id,
            "labels": _acting_labels(config, labels),
        }
    )


def trial_id(config_id: str, seed: int) -> str:
    """One training: a `config_id` and its seed."""
    return digest([config_id, seed])


def evaluation_id(trial_id: str, upstream_trial_id: str | None, split: str, entities: str) -> str:
    """One evaluation: the trials it joins, the split, and whose entities it takes."""
    return digest([SEMANTICS["evaluation"], trial_id, upstream_trial_id, split, entities])


def _acting_labels(config: TrialConfig, labels: Labels) -> list[Any]:
    """Label names in inventory order (it numbers the classes), with phrases where they are annotated."""
    own = labels.entities if config.phase == "NER" else labels.relations
    names = [[name, phrase] if config.input.is_annotated else name for name, phrase in own.items()]
    acting = [names, sorted(labels.symmetric) if config.phase == "RE" else []]
    types_objects = config.phase == "RE" and config.head.object_typing != "off"
    return [*acting, list(labels.entities)] if types_objects else acting


def digest(value: Any) -> str:
    """20 hex digits of a value's canonical JSON."""
    text = json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value

"""A trained model: its folder, read back, and the task that predicts with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lai_net.config import TrialConfig
from lai_net.encoder_files import encoder_id
from lai_net.errors import InputError
from lai_net.model.pretrained import EncoderSource
from lai_net.schema import Labels, Sentence
from lai_net.settings import config_from_dict
from lai_net.streams import Streams
from lai_net.training.checkpoint import load_description, load_weights
from lai_net.training.ner_task import NerTask
from lai_net.training.re_task import ReTask


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """What a trained model is, without its weights: config, labels, and where it comes from (for people)."""

    config: TrialConfig
    labels: Labels
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainedModel(KnownModel):
    """A model, loaded: with the task that predicts."""

    task: NerTask | ReTask


def describe_model(model_dir: Path) -> KnownModel:
    """Read what the model in a folder is, and see that its encoder is at hand.

    Raises:
        InputError: no model there, or one of another version, or its encoder is not the one it was trained
            with.
    """
    stored = load_description(model_dir)
    try:
        config = config_from_dict(stored["config"])
        labels = labels_from_dict(stored["labels"])
        origin = {name: stored[name] for name in ("corpus", "encoder_id", "seed")}
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{model_dir}: config.json is not of this version ({type(error).__name__}: {error}); use the one "
            "that trained it, or train again"
        ) from error
    if encoder_id(config.encoder.name) != origin["encoder_id"]:
        raise InputError(
            f"{model_dir}: encoder {config.encoder.name!r} has changed since the training; restore it"
        )
    return KnownModel(config=config, labels=labels, origin=origin)


def load_model(model_dir: Path, device: str = "cpu") -> TrainedModel:
    """Build a trained model from its folder.

    Raises:
        InputError: as from `describe_model`, or its weights are damaged.
    """
    known = describe_model(model_dir)
    streams = Streams(known.origin["seed"], torch.device(device))
    task = make_task(known.config, known.labels, streams, device, ())
    load_weights(task.model, model_dir)
    return TrainedModel(config=known.config, labels=known.labels, origin=known.origin, task=task)


def build_model(
    config: TrialConfig, labels: Labels, source: EncoderSource, device: str, *, origin: Mapping[str, Any]
) -> TrainedModel:
    """A model on an encoder that is given, with weights that are still to be loaded."""
    task = make_task(config, labels, Streams(0, torch.device(device)), device, (), source)
    return TrainedModel(config=config, labels=labels, origin=origin, task=task)


def make_task(
    config: TrialConfig,
    labels: Labels,
    streams: Streams,
    device: str,
    training: Sequence[Sentence],
    source: EncoderSource | None = None,
) -> NerTask | ReTask:
    """A phase's model with what it is trained on.

    Args:
        config: what the model is.
        labels: what it tells apart.
        streams: of its random numbers.
        device: torch's name.
        training: sentences to learn from; none for a model that only predicts.
        source: the encoder; None loads the config's.

    Raises:
        InputError: the labels do not do for the config.
    """
    if not (labels.entities if config.phase == "NER" else labels.relations):
        raise InputError(f"the corpus has no labels for {config.phase}; give one that is annotated for it")
    if config.head.object_typing != "off" and not labels.entities:
        raise InputError('the corpus has no entity types for head.object_typing; set it to "off"')
    kind = NerTask if config.phase == "NER" else ReTask
    return kind(config, labels, streams, torch.device(device), training, source)


def labels_to_dict(labels: Labels) -> dict[str, Any]:
    """As JSON holds them."""
    return {
        "entities": dict(labels.entities),
        "relations": dict(labels.relations),
        "symmetric": sorted(labels.symmetric),
    }


def labels_from_dict(stored: dict[str, Any]) -> Labels:
    """From `labels_to_dict`."""
    return Labels(
        entities=stored["entities"], relations=stored["relations"], symmetric=frozenset(stored["symmetric"])
    )

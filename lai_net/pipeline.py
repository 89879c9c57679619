"""One trial without an orchestrator: train a phase, evaluate what was trained.

This is all that the driver calls. Everything is a function of its arguments. Training writes below
`work_dir`; an NER evaluation leaves its entities beside the model, for end-to-end evaluations.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lai_net.config import EntitySource, TrialConfig
from lai_net.encoder_files import encoder_id
from lai_net.errors import InputError
from lai_net.evaluation import Evaluation, score_predictions, score_split
from lai_net.metrics.scoring import Scores, Task
from lai_net.model.encoder import EncoderSource
from lai_net.schema import Corpus, Entity, Labels, Sentence
from lai_net.settings import config_from_dict
from lai_net.streams import Streams
from lai_net.training.checkpoint import load_description, load_weights
from lai_net.training.features import FeatureStore
from lai_net.training.loop import EpochReport, claim, open_folder, train
from lai_net.training.ner_task import NerTask
from lai_net.training.probe import Probe, meter_of, probe
from lai_net.training.re_task import ReTask
from lai_net.training.task import PredictedSentence, Predictions
from lai_net.upstream import store_entities, with_entities

__all__ = [
    "EpochReport",
    "Evaluation",
    "TrainedModel",
    "evaluate_trial",
    "extract",
    "load_model",
    "probe_trial",
    "train_trial",
]


@dataclass(frozen=True)
class TrainedModel:
    """A model, loaded: config, labels, the task that predicts, and where it comes from (for people)."""

    config: TrialConfig
    labels: Labels
    task: NerTask | ReTask
    origin: Mapping[str, Any] = field(default_factory=dict)


def train_trial(
    config: TrialConfig,
    seed: int,
    corpus: Corpus,
    work_dir: Path,
    *,
    resume_from: Sequence[Path] = (),
    upstream_dir: Path | None = None,
    device: str = "cpu",
    features: FeatureStore | None = None,
) -> Iterator[EpochReport]:
    """Train one config with one seed; see `lai_net.training.loop.train`.

    Args:
        config: what to train.
        seed: of all random streams.
        corpus: with train and the split of `training.selection`.
        work_dir: the only folder written to, beside that of `features`.
        resume_from: folders of earlier attempts.
        upstream_dir: `best` of the NER trial that `training.selection_entities` names; None where it is gold.
        device: torch's name.
        features: keeps states that are constant (`TrialConfig.has_constant_states`) for all trainings that
            give it; None computes them whenever they are needed.

    Raises:
        InputError: config and corpus do not fit each other, or `work_dir` holds another training.
        DivergedError: the loss is not finite.
    """
    description: dict[str, Any] = {
        "config": asdict(config),
        "labels": _labels_to_dict(corpus.labels),
        "encoder_id": encoder_id(config.encoder.name),
        "corpus": {"name": corpus.name, "content_id": corpus.content_id},
        "seed": seed,
        "encoder_passes": config.input.encoder_passes,
    }
    open_folder(work_dir, description)
    task = _training_task(config, seed, corpus, device)
    claim(work_dir, description)
    given = _given_for_selection(config, corpus, upstream_dir, device)
    _share_features(task, features, None)
    _share_features(task, features, given)
    evaluate = partial(_selection_scores, task, corpus, given)
    described = description | {"corpus": {**description["corpus"], "train": dict(task.coverage)}}
    yield from train(task, evaluate, work_dir, resume_from=resume_from, description=described)


def probe_trial(config: TrialConfig, corpus: Corpus, *, steps: int = 3, device: str = "cpu") -> Probe:
    """Measure what a training of this config takes in a few steps; it writes nothing.

    Raises:
        InputError: config and corpus do not fit each other.
        DivergedError: the loss is not finite.
    """
    meter = meter_of(torch.device(device))
    task = _training_task(config, 0, corpus, device)
    return probe(task, meter, corpus.sentences(config.training.selection), steps)


def evaluate_trial(
    model_dir: Path,
    corpus: Corpus,
    split: str,
    *,
    upstream_dir: Path | None = None,
    typed: bool = False,
    device: str = "cpu",
    features: FeatureStore | None = None,
) -> Evaluation:
    """Score a trained model.

    Args:
        model_dir: `best` of a trial.
        corpus: with the split.
        split: dev or test.
        upstream_dir: RE only: `best` of the NER trial whose predicted entities are taken; None takes gold.
        typed: RE only: gold spans with the types of a model (`gold_typed_by_model`): of the NER trial, or
            where none is given of the RE model itself.
        device: torch's name.
        features: as in `train_trial`; acts where candidates do not depend on another trial.

    Raises:
        InputError: `typed`, but the model does not type entities; or no NER model of this corpus is given.
    """
    trained = load_model(model_dir, device)
    gold = corpus.sentences(split)
    if upstream_dir is None:
        _share_features(trained.task, features, gold)
    entities: EntitySource = "predicted"
    if isinstance(trained.task, NerTask):
        predictions = trained.task.predict(gold)
        store_entities(model_dir, corpus, split, entities, (item.sentence for item in predictions.sentences))
    elif upstream_dir is None:
        entities = "gold_typed_by_model" if typed else "gold"
        if entities not in trained.config.evaluated_on:
            raise InputError(
                f"{model_dir}: does not type entities; train it with head.object_typing, or give an NER model"
            )
        predictions = trained.task.predict(gold, typed=typed)
    else:
        entities = "gold_typed_by_model" if typed else "predicted"
        given = _given_by_ner(upstream_dir, corpus, split, entities, device)
        predictions = trained.task.predict(given, typed=False if typed else None)
    tasks: tuple[Task, ...] = ("NER",) if trained.config.phase == "NER" else ("RE", "RE+")
    return score_split(corpus, split, predictions, entities, tasks)


def extract(ner: TrainedModel, re: TrainedModel, sentences: Sequence[Sentence]) -> Predictions:
    """Entities, then relations between them, of sentences of words; each with its score.

    What no model could read is counted in the result's `coverage` (`sentences_cut`).

    Raises:
        InputError: a model is of the other phase.
    """
    for model, phase in ((ner, "NER"), (re, "RE")):
        if model.config.phase != phase:
            raise InputError(
                f"a model of phase {phase} is needed, but got one of {model.config.phase}; swap the two"
            )
    bare = [replace(sentence, entities=(), relations=()) for sentence in sentences]
    found = ner.task.predict(bare)
    related = re.task.predict(
        [
            replace(sentence, entities=item.sentence.entities)
            for sentence, item in zip(bare, found.sentences, strict=True)
        ]
    )
    both = [
        PredictedSentence(entities.words, _as_typed(entities, relations), relations.relations)
        for entities, relations in zip(found.sentences, related.sentences, strict=True)
    ]
    cut = Counter(sentences_cut=related.coverage["sentences_cut"])  # either model may read less
    return Predictions(both, found.coverage | cut)


def _as_typed(found: PredictedSentence, related: PredictedSentence) -> tuple[tuple[Entity, float], ...]:
    """The entities as the RE model names them (`head.object_typing`), with the scores of the NER model."""
    return tuple(
        (entity, score) for (entity, _), (_, score) in zip(related.entities, found.entities, strict=True)
    )


def load_model(model_dir: Path, device: str = "cpu") -> TrainedModel:
    """Build a trained model from its folder.

    Raises:
        InputError: no model there, or a damaged one or one of another version, or its encoder is not the one
            it was trained with.
    """
    stored = load_description(model_dir)
    try:
        config = config_from_dict(stored["config"])
        labels = _labels_from_dict(stored["labels"])
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
    task = _task(config, labels, Streams(origin["seed"], torch.device(device)), device, ())
    load_weights(task.model, model_dir)
    return TrainedModel(config, labels, task, origin)


def build_model(
    config: TrialConfig, labels: Labels, source: EncoderSource, device: str, *, origin: Mapping[str, Any]
) -> TrainedModel:
    """A model on an encoder that is given, with weights that are still to be loaded."""
    task = _task(config, labels, Streams(0, torch.device(device)), device, (), source)
    return TrainedModel(config, labels, task, origin)


def _training_task(config: TrialConfig, seed: int, corpus: Corpus, device: str) -> NerTask | ReTask:
    """A phase that is to be trained, with the examples of the training split."""
    streams = Streams(seed, torch.device(device))
    task = _task(config, corpus.labels, streams, device, corpus.sentences("train"))
    if not task.num_examples:
        raise InputError(f"corpus {corpus.name}: train holds nothing to learn {config.phase} from")
    if config.training.compile and task.device.type == "cuda":
        task.model.first_round.encoder.compile_passes()
    return task


def _task(
    config: TrialConfig,
    labels: Labels,
    streams: Streams,
    device: str,
    training: Sequence[Sentence],
    source: EncoderSource | None = None,
) -> NerTask | ReTask:
    if not (labels.entities if config.phase == "NER" else labels.relations):
        raise InputError(f"the corpus has no labels for {config.phase}; give one that is annotated for it")
    if config.head.object_typing != "off" and not labels.entities:
        raise InputError('the corpus has no entity types for head.object_typing; set it to "off"')
    kind = NerTask if config.phase == "NER" else ReTask
    return kind(config, labels, streams, torch.device(device), training, source)


def _share_features(
    task: NerTask | ReTask, features: FeatureStore | None, sentences: Sequence[Sentence] | None
) -> None:
    """Have the encoder's states of sentences, or of the training split, read from `features`."""
    if features is not None and task.config.has_constant_states:
        first_round, texts = task.model.first_round, task.marked_texts(sentences)
        with task.autocast():
            first_round.features.append(features.states(task.config, texts, first_round))


def _given_for_selection(
    config: TrialConfig, corpus: Corpus, upstream_dir: Path | None, device: str
) -> list[Sentence]:
    """The split that the best epoch is chosen on, in RE with the entities that are given there."""
    split = config.training.selection
    if config.training.selection_entities == "gold":
        return corpus.sentences(split)
    if upstream_dir is None:
        raise InputError(
            "training.selection_entities names an NER trial, but its model was not given; set it to gold"
        )
    return _given_by_ner(upstream_dir, corpus, split, "predicted", device)


def _selection_scores(
    task: NerTask | ReTask, corpus: Corpus, given: Sequence[Sentence]
) -> tuple[Scores, float | None]:
    """What an epoch is chosen by, and the filter's recall, on the split of `_given_for_selection`."""
    config, settings = task.config, task.config.training
    predictions = task.predict(given)
    scores = score_predictions(
        corpus.sentences(settings.selection),
        predictions,
        corpus.labels,
        protocol="pure",
        averaging=settings.selection_averaging,
    )
    scored: Task = config.phase if settings.selection_entities == "gold" else "RE+"
    return scores[scored], _filter_recall(config, predictions)


def _filter_recall(config: TrialConfig, predictions: Predictions) -> float | None:
    counts: Counter[str] = predictions.coverage
    reachable = counts["entities"] - counts["entities_unreachable"]
    if config.phase == "RE" or not config.filter.enabled or not reachable:
        return None
    return counts["gold_kept"] / reachable


def _given_by_ner(
    model_dir: Path, corpus: Corpus, split: str, source: EntitySource, device: str
) -> list[Sentence]:
    """A split's sentences with the entities that an NER trial predicts, or with its types on gold spans."""

    def find() -> list[Sentence]:
        ner = load_model(model_dir, device)
        if not isinstance(ner.task, NerTask):
            raise InputError(f"{model_dir}: a model of phase NER is needed, but it is of RE; give another")
        if unknown := corpus.labels.entities.keys() - ner.labels.entities.keys():
            raise InputError(
                f"{model_dir}: knows no entity type {min(unknown)!r}; give an NER model of {corpus.name}"
            )
        gold = corpus.sentences(split)
        if source == "gold_typed_by_model":
            return ner.task.with_types(gold)
        return [item.sentence for item in ner.task.predict(gold).sentences]

    return with_entities(model_dir, corpus, split, source, find)


def _labels_to_dict(labels: Labels) -> dict[str, Any]:
    return {
        "entities": dict(labels.entities),
        "relations": dict(labels.relations),
        "symmetric": sorted(labels.symmetric),
    }


def _labels_from_dict(stored: dict[str, Any]) -> Labels:
    return Labels(
        entities=stored["entities"], relations=stored["relations"], symmetric=frozenset(stored["symmetric"])
    )

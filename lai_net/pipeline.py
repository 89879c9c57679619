"""One trial without an orchestrator: train a phase, evaluate what was trained.

This is all that the driver calls. Everything is a function of its arguments. Training writes below
`work_dir`; an NER evaluation leaves its entities beside the model, for end-to-end evaluations.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lai_net.config import TrialConfig, config_from_dict
from lai_net.encoder_files import encoder_id
from lai_net.errors import InputError
from lai_net.metrics.scoring import Averaging, Protocol, Scores, Task, score_sentences
from lai_net.schema import Corpus, Entity, Labels, Sentence, Span
from lai_net.streams import Streams
from lai_net.training.checkpoint import load_weights
from lai_net.training.loop import EpochReport, train
from lai_net.training.ner_task import NerTask
from lai_net.training.re_task import ReTask
from lai_net.training.task import PredictedSentence, Predictions

__all__ = [
    "EpochReport",
    "Evaluation",
    "TrainedModel",
    "evaluate_trial",
    "extract",
    "load_model",
    "train_trial",
]

PROTOCOLS: tuple[Protocol, ...] = ("pure", "plmarker")
AVERAGINGS: tuple[Averaging, ...] = ("micro", "macro")


@dataclass(frozen=True)
class Evaluation:
    """Scores of one trial on one split.

    Attributes:
        split: dev or test.
        entities: `predicted` (NER, or RE on a trial's predictions) or `gold` (RE).
        scores: per task, protocol and averaging: precision, recall and f1 in 0-1.
        coverage: what was seen, kept and unreachable, as counts.
    """

    split: str
    entities: str
    scores: list[dict[str, Any]]
    coverage: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class TrainedModel:
    """A model folder, loaded: config, labels and the task that predicts."""

    config: TrialConfig
    labels: Labels
    task: NerTask | ReTask


def train_trial(
    config: TrialConfig,
    seed: int,
    corpus: Corpus,
    work_dir: Path,
    *,
    resume_from: Sequence[Path] = (),
    device: str = "cpu",
) -> Iterator[EpochReport]:
    """Train one config with one seed; see `lai_net.training.loop.train`.

    Raises:
        InputError: config and corpus do not fit each other.
        DivergedError: the loss is not finite.
    """
    streams = Streams(seed, torch.device(device))
    task = _task(config, corpus.labels, streams, device, corpus.sentences("train"))
    if not task.num_examples:
        raise InputError(f"corpus {corpus.name}: train holds nothing to learn {config.phase} from")
    selection = corpus.sentences(config.training.selection)

    def evaluate() -> tuple[Scores, float | None]:
        predictions = task.predict(selection)
        scores = _score(
            selection,
            predictions,
            corpus.labels,
            protocol="pure",
            averaging=config.training.selection_averaging,
        )
        return scores[config.phase], _filter_recall(config, predictions)

    description = {
        "config": asdict(config),
        "labels": _labels_to_dict(corpus.labels),
        "encoder_id": encoder_id(config.encoder.name),
        "corpus": {"name": corpus.name, "content_id": corpus.content_id, "train": dict(task.coverage)},
        "seed": seed,
    }
    yield from train(task, evaluate, work_dir, resume_from=resume_from, description=description)


def evaluate_trial(
    model_dir: Path, corpus: Corpus, split: str, *, upstream_dir: Path | None = None, device: str = "cpu"
) -> Evaluation:
    """Score a trained model.

    Args:
        model_dir: `best` of a trial.
        corpus: with the split.
        split: dev or test.
        upstream_dir: RE only: `best` of the NER trial whose predicted entities are taken; None takes gold.
        device: torch's name.
    """
    trained = load_model(model_dir, device)
    gold = corpus.sentences(split)
    if trained.config.phase == "NER":
        predictions = trained.task.predict(gold)
        _store_entities(_entities_file(model_dir, corpus, split), predictions)
        entities = "predicted"
    elif upstream_dir is None:
        predictions, entities = trained.task.predict(gold), "gold"
    else:
        found = _predicted_entities(upstream_dir, corpus, split, device)
        given = [
            Sentence(sentence.words, tuple(spans), sentence.relations)
            for sentence, spans in zip(gold, found, strict=True)
        ]
        predictions, entities = trained.task.predict(given), "predicted"
    tasks: tuple[Task, ...] = ("NER",) if trained.config.phase == "NER" else ("RE", "RE+")
    scores = [
        {"task": task, "protocol": protocol, "averaging": averaging, **result[task].as_dict()}
        for protocol in PROTOCOLS
        for averaging in AVERAGINGS
        for result in [_score(gold, predictions, corpus.labels, protocol=protocol, averaging=averaging)]
        for task in tasks
    ]
    return Evaluation(split, entities, scores, dict(predictions.coverage))


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
    found = ner.task.predict([Sentence(sentence.words) for sentence in sentences])
    related = re.task.predict([item.sentence for item in found.sentences])
    both = [
        PredictedSentence(entities.words, entities.entities, relations.relations)
        for entities, relations in zip(found.sentences, related.sentences, strict=True)
    ]
    return Predictions(both, found.coverage)


def load_model(model_dir: Path, device: str = "cpu") -> TrainedModel:
    """Build a trained model from its folder.

    Raises:
        InputError: no model there, or its encoder is not the one it was trained with.
    """
    try:
        stored = json.loads((model_dir / "config.json").read_text())
    except OSError as error:
        raise InputError(
            f"{model_dir}: no trained model there ({error.strerror}); give a folder of `lai train`"
        ) from error
    config = config_from_dict(stored["config"])
    labels = _labels_from_dict(stored["labels"])
    if encoder_id(config.encoder.name) != stored["encoder_id"]:
        raise InputError(
            f"{model_dir}: encoder {config.encoder.name!r} has changed since the training; restore it"
        )
    task = _task(config, labels, Streams(stored["seed"], torch.device(device)), device, ())
    load_weights(task.model, model_dir)
    return TrainedModel(config, labels, task)


def _task(
    config: TrialConfig, labels: Labels, streams: Streams, device: str, training: Sequence[Sentence]
) -> NerTask | ReTask:
    if not (labels.entities if config.phase == "NER" else labels.relations):
        raise InputError(f"the corpus has no labels for {config.phase}; give one that is annotated for it")
    kind = NerTask if config.phase == "NER" else ReTask
    return kind(config, labels, streams, torch.device(device), training)


def _score(
    gold: Sequence[Sentence],
    predictions: Predictions,
    labels: Labels,
    *,
    protocol: Protocol,
    averaging: Averaging,
) -> Mapping[Task, Scores]:
    predicted = [item.sentence for item in predictions.sentences]
    return score_sentences(
        gold, predicted, protocol=protocol, averaging=averaging, symmetric=labels.symmetric
    )


def _filter_recall(config: TrialConfig, predictions: Predictions) -> float | None:
    counts: Counter[str] = predictions.coverage
    reachable = counts["entities"] - counts["entities_unreachable"]
    if config.phase == "RE" or not config.filter.enabled or not reachable:
        return None
    return counts["gold_kept"] / reachable


def _entities_file(model_dir: Path, corpus: Corpus, split: str) -> Path:
    return model_dir / f"entities-{split}-{corpus.content_id[:12]}.json"


def _store_entities(path: Path, predictions: Predictions) -> None:
    rows = [
        [[entity.span.start, entity.span.end, entity.type] for entity, _ in sentence.entities]
        for sentence in predictions.sentences
    ]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(rows))
    temporary.rename(path)


def _predicted_entities(model_dir: Path, corpus: Corpus, split: str, device: str) -> list[list[Entity]]:
    """Of an NER trial: stored by its evaluation, else predicted now."""
    path = _entities_file(model_dir, corpus, split)
    if not path.is_file():
        evaluate_trial(model_dir, corpus, split, device=device)
    rows = json.loads(path.read_text())
    return [[Entity(Span(start, end), name) for start, end, name in row] for row in rows]


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

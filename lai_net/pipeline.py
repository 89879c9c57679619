"""One trial without an orchestrator: train a phase, evaluate what was trained.

This is all that the driver calls. Everything is a function of its arguments. Training writes below
`work_dir`; an NER evaluation leaves its entities beside the model, for end-to-end evaluations.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from lai_net.config import EntitySource, TrialConfig
from lai_net.encoder_files import encoder_id
from lai_net.errors import InputError
from lai_net.evaluation import Evaluation, score_split
from lai_net.metrics.scoring import TASKS_OF_PHASE, Scores, Task, score_sentences
from lai_net.schema import Corpus, Sentence
from lai_net.streams import Streams
from lai_net.trained_model import describe_model, labels_to_dict, load_model, make_task
from lai_net.training.checkpoint import claim, open_folder
from lai_net.training.features import FeatureStore
from lai_net.training.loop import EpochReport, train
from lai_net.training.ner_task import NerTask
from lai_net.training.probe import Probe, meter_of, probe
from lai_net.training.re_task import ReTask
from lai_net.training.task import Predictions
from lai_net.upstream import store_entities, with_entities

__all__ = ["EpochReport", "Evaluation", "check_upstream", "evaluate_trial", "probe_trial", "train_trial"]


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
        "labels": labels_to_dict(corpus.labels),
        "encoder_id": encoder_id(config.encoder.name),
        "corpus": {"name": corpus.name, "content_id": corpus.content_id},
        "seed": seed,
        "encoder_passes": config.input.encoder_passes,
    }
    open_folder(work_dir, description)
    task = _training_task(config, seed, corpus, device)
    given = _given_for_selection(config, corpus, upstream_dir, device)
    claim(work_dir, description)
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
        store_entities(model_dir, corpus, split, entities, predictions.plain)
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
    return score_split(corpus, split, predictions, entities, TASKS_OF_PHASE[trained.config.phase])


def check_upstream(model_dir: Path, corpus: Corpus) -> None:
    """Refuse what cannot give RE the entities of a corpus, by its description alone.

    Raises:
        InputError: there is no NER model of this corpus, or its encoder is not at hand unchanged.
    """
    described = describe_model(model_dir)
    if described.config.phase != "NER":
        raise InputError(f"{model_dir}: a model of phase NER is needed, but it is of RE; give another")
    if unknown := corpus.labels.entities.keys() - described.labels.entities.keys():
        raise InputError(
            f"{model_dir}: knows no entity type {min(unknown)!r}; give an NER model of {corpus.name}"
        )


def _training_task(config: TrialConfig, seed: int, corpus: Corpus, device: str) -> NerTask | ReTask:
    """A phase that is to be trained, with the examples of the training split."""
    streams = Streams(seed, torch.device(device))
    task = make_task(config, corpus.labels, streams, device, corpus.sentences("train"))
    reachable = config.phase == "RE" or task.coverage["entities"] > task.coverage["entities_unreachable"]
    if not (task.num_examples and reachable):
        raise InputError(f"corpus {corpus.name}: train holds nothing to learn {config.phase} from")
    if config.training.compile and task.device.type == "cuda":
        task.model.first_round.encoder.compile_passes()
    return task


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
    scores = score_sentences(
        corpus.sentences(settings.selection),
        predictions.plain,
        protocol="pure",
        averaging=settings.selection_averaging,
        symmetric=corpus.labels.symmetric,
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
        check_upstream(model_dir, corpus)
        task = cast("NerTask", load_model(model_dir, device).task)
        gold = corpus.sentences(split)
        if source == "gold_typed_by_model":
            return task.with_types(gold)
        return task.predict(gold).plain

    return with_entities(model_dir, corpus, split, source, find)

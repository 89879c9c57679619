"""Trainings with a fixed encoder, for the tests of its stored states."""

from pathlib import Path

import torch

from lai_net.config import Phase, TrialConfig
from lai_net.schema import Corpus
from lai_net.streams import Streams
from lai_net.trained_model import make_task
from lai_net.training.features import FeatureStore
from lai_net.training.ner_task import NerTask
from lai_net.training.re_task import ReTask
from tests.configs import config_with


def config(phase: Phase, encoder: str, **settings: object) -> TrialConfig:
    common = {
        "encoder.name": encoder,
        "encoder.freeze": "features",
        "training.epochs": 2,
        "training.batch_size": 8,
        "training.head_lr": 3e-3,
        "filter.threshold": 0.0,
    }
    return config_with(phase, common, **settings)


def task_of(settings: TrialConfig, corpus: Corpus, seed: int = 1) -> NerTask | ReTask:
    streams = Streams(seed, torch.device("cpu"))
    return make_task(settings, corpus.labels, streams, "cpu", corpus.sentences("train"))


def share(task: NerTask | ReTask, folder: Path) -> Path:
    """Have the task read its training split's states from the folder; returns where they are."""
    before = set(folder.glob("[!.]*"))
    first_round = task.model.first_round
    with task.autocast():
        first_round.features.append(
            FeatureStore(folder).states(task.config, task.marked_texts(), first_round)
        )
    (made,) = set(folder.glob("[!.]*")) - before
    return made

"""Trainings that take a second."""

from pathlib import Path

from lai_net.config import Phase, TrialConfig
from lai_net.corpora.loading import load_corpus
from lai_net.pipeline import train_trial
from lai_net.schema import Corpus, Document
from lai_net.training.loop import EpochReport
from tests.unit.representing import config_of


def small_corpus() -> Corpus:
    """The first 12 documents of each split of the embedded corpus."""
    whole = load_corpus("embedded", name="embedded")
    splits: dict[str, tuple[Document, ...]] = {name: docs[:12] for name, docs in whole.splits.items()}
    return Corpus(name="small", splits=splits, labels=whole.labels)


def small(phase: Phase, encoder: str, **settings: object) -> TrialConfig:
    return config_of(phase, "annotate", encoder, **({"training__epochs": 3} | settings))


def run(config: TrialConfig, corpus: Corpus, folder: Path, *, seed: int = 1) -> list[EpochReport]:
    return list(train_trial(config, seed, corpus, folder))

"""Trainings that take a second."""

from pathlib import Path

from lai_net.config import Phase, TrialConfig
from lai_net.pipeline import train_trial
from lai_net.schema import Corpus
from lai_net.training.loop import EpochReport
from tests.unit.representing import config_of


def small(phase: Phase, encoder: str, **settings: object) -> TrialConfig:
    return config_of(phase, "annotate", encoder, **({"training__epochs": 3} | settings))


def run(config: TrialConfig, corpus: Corpus, folder: Path, *, seed: int = 1) -> list[EpochReport]:
    return list(train_trial(config, seed, corpus, folder))

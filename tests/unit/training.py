"""Trainings that take a second."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from lai_net.config import Phase, TrialConfig
from lai_net.model.ner_model import NerModel
from lai_net.model.re_model import ReModel
from lai_net.pipeline import train_trial
from lai_net.schema import Corpus, Document, Entity, Relation, Sentence, Span
from lai_net.training.loop import EpochReport
from tests.unit.representing import config_of


def small(phase: Phase, encoder: str, **settings: object) -> TrialConfig:
    return config_of(phase, "annotate", encoder, **({"training__epochs": 3} | settings))


def run(config: TrialConfig, corpus: Corpus, folder: Path, *, seed: int = 1) -> list[EpochReport]:
    return list(train_trial(config, seed, corpus, folder))


def easily_found(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """Have F1 above 0 on dev and test after a second of training.

    Their sentences keep the words of entities alone, and no candidate is predicted to be none.
    """
    _never_none(NerModel, "class_logits", monkeypatch)
    _never_none(ReModel, "pair_logits", monkeypatch)
    cut = {
        name: tuple(
            Document(document.key, tuple(_of_entities_alone(item) for item in document.sentences))
            for document in documents
        )
        for name, documents in corpus.splits.items()
    }
    return Corpus(name=corpus.name, splits=cut | {"train": corpus.splits["train"]}, labels=corpus.labels)


def _never_none(kind: type[nn.Module], logits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = kind.forward

    def changed(self: nn.Module, *args: Any, **settings: Any) -> Any:
        output = forward(self, *args, **settings)
        if not self.training:
            getattr(output, logits)[..., 0] = -1e4
        return output

    monkeypatch.setattr(kind, "forward", changed)


def _of_entities_alone(sentence: Sentence) -> Sentence:
    spans = [entity.span for entity in sentence.entities]
    kept = sorted({index for span in spans for index in range(span.start, span.end)})

    def moved(entity: Entity) -> Entity:
        first, last = kept.index(entity.span.start), kept.index(entity.span.end - 1)
        return Entity(Span(first, last + 1), entity.type)

    return Sentence(
        tuple(sentence.words[index] for index in kept),
        tuple(map(moved, sentence.entities)),
        tuple(Relation(moved(r.subject), moved(r.object), r.type) for r in sentence.relations),
    )

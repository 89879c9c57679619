"""NER and RE on the offline encoder's first layer: what only a model that has learnt something can show."""

from pathlib import Path

import numpy as np
import pytest

from lai_net.config import Phase, TrialConfig
from lai_net.errors import InputError
from lai_net.extractor import LaiNet
from lai_net.metrics.scoring import MatchCounts, average
from lai_net.pipeline import evaluate_trial, train_trial
from lai_net.schema import Corpus
from lai_net.settings import with_settings
from lai_net.trained_model import load_model
from tests.embedded import small_corpus
from tests.scores import score_of


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return small_corpus(12)


@pytest.fixture(scope="module")
def models(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[Phase, Path]:
    """The best model of an NER and of an RE training."""
    settings = {
        "encoder.num_layers": 1,
        "encoder.freeze": "embeddings",
        "filter.stage": "text",
        "filter.threshold": 0.0,
        "filter.cold_epochs": 1,
        "training.epochs": 4,
        "training.batch_size": 8,
        "training.encoder_lr": 1e-3,
        "training.head_lr": 3e-3,
    }
    folder = tmp_path_factory.mktemp("models")
    phases: tuple[Phase, ...] = ("NER", "RE")
    for phase in phases:
        config = with_settings(TrialConfig(phase=phase), settings)
        assert len(list(train_trial(config, 1, corpus, folder / phase))) == 4
    return {phase: folder / phase / "best" for phase in phases}


def test_end_to_end_takes_the_entities_of_the_ner_trial(corpus: Corpus, models: dict[Phase, Path]) -> None:
    gold = evaluate_trial(models["RE"], corpus, "train")
    end_to_end = evaluate_trial(models["RE"], corpus, "train", upstream_dir=models["NER"])
    assert (gold.entities, end_to_end.entities) == ("gold", "predicted")
    assert score_of(gold, "RE") == score_of(gold, "RE+") > score_of(end_to_end, "RE") > 0
    assert end_to_end.coverage["relations_unreachable"] > gold.coverage["relations_unreachable"] == 0


def test_counts_per_document_sum_to_the_scores(corpus: Corpus, models: dict[Phase, Path]) -> None:
    evaluation = evaluate_trial(models["RE"], corpus, "train")
    assert len(evaluation.documents) == 4  # two tasks, two protocols
    for item in evaluation.documents:
        assert len(item["counts"]) == len(corpus.splits["train"]) == 12
        by_label = np.sum(item["counts"], axis=0).reshape(-1, 3)
        counts = {name: MatchCounts(*row) for name, row in zip(item["labels"], by_label, strict=True)}
        for score in evaluation.scores:
            if (score["task"], score["protocol"]) == (item["task"], item["protocol"]):
                assert average(counts, score["averaging"]).f1 == pytest.approx(score["f1"])


def test_extract_finds_entities_and_relations_in_plain_words(
    corpus: Corpus, models: dict[Phase, Path]
) -> None:
    ner, relations = load_model(models["NER"]), load_model(models["RE"])
    found = LaiNet(ner, relations).predict(corpus.sentences("train")).sentences
    assert sum(len(item.relations) for item in found) > 0
    for item in found:
        spans = {entity.span for entity, _ in item.entities}
        assert all({r.subject.span, r.object.span} <= spans for r, _ in item.relations)
        assert all(0 < score <= 1 for _, score in (*item.entities, *item.relations))
    with pytest.raises(InputError, match="a model of phase NER is needed"):
        LaiNet(relations, ner).predict([])

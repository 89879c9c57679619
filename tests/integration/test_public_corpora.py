"""Each public corpus that is at hand, from its files to a trained and evaluated model of either phase."""

from pathlib import Path

import pytest

from lai_net.config import Phase, TrialConfig
from lai_net.corpora.loading import load_corpus, num_folds
from lai_net.pipeline import evaluate_trial, train_trial
from lai_net.schema import Corpus
from lai_net.settings import with_settings

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize("phase", ["NER", "RE"])
@pytest.mark.parametrize("name", ["scierc", "conll04", "ade"])
def test_a_few_documents_train_an_epoch(name: str, phase: Phase, tiny_encoder: str, tmp_path: Path) -> None:
    source = DATA / name
    if not source.exists():
        pytest.skip(f"{name} is not at hand")
    whole = load_corpus(str(source), name=name, fold=0 if num_folds(str(source)) > 1 else None)
    splits = {split: documents[:6] for split, documents in whole.splits.items()}
    corpus = Corpus(name=name, splits=splits, labels=whole.labels)
    settings = {
        "encoder.name": tiny_encoder,
        "input.context_tokens": 148,
        "filter.stage": "text",
        "training.epochs": 1,
        "filter.cold_epochs": 0,
    }
    (report,) = train_trial(with_settings(TrialConfig(phase=phase), settings), 1, corpus, tmp_path)
    assert 0 < report.loss < 10
    found = evaluate_trial(tmp_path / "best", corpus, "test")
    assert found.coverage["sentences"] == len(corpus.sentences("test"))
    assert len(found.scores) == {"NER": 4, "RE": 8}[phase]

"""States of a fixed encoder give what computed ones give."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lai_net.active_settings import active_settings
from lai_net.model.encoder import build_encoder
from lai_net.pipeline import train_trial
from lai_net.schema import Corpus, Sentence
from lai_net.settings import with_settings
from lai_net.training.features import FeatureStore
from lai_net.training.ner_task import NerTask
from lai_net.training.re_task import ReTask
from tests.unit.storing import config, share, task_of


def epoch_losses(task: NerTask | ReTask) -> list[float]:
    task.streams.start_epoch(1)
    task.model.train()
    return [loss.item() for step in task.steps(1) for loss in step]


def forbid_encoding(task: NerTask | ReTask, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("encode", "encode_pairs"):
        monkeypatch.setattr(task.model.first_round.encoder, name, None)


READINGS = [
    {},
    {"filter__stage": "text"},
    {"filter__stage": "text", "training__negatives": 5},
    {"input__attention_mask": "vis"},
    {"input__annotations": False},
    {"input__representation": "vanilla"},
    {"input__context_tokens": 40},
    {"head__kind": "linear", "graph__layers": 0},
]


@pytest.mark.parametrize("phase", ["NER", "RE"])
@pytest.mark.parametrize("settings", READINGS, ids=str)
def test_stored_states_give_the_same_losses_without_the_encoder(
    phase: str,
    settings: dict[str, object],
    tiny_encoder: str,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = task_of(config(phase, tiny_encoder, **settings), corpus)
    assert task.config.has_constant_states
    computed = epoch_losses(task)
    share(task, tmp_path)
    forbid_encoding(task, monkeypatch)
    assert epoch_losses(task) == pytest.approx(computed, abs=1e-6)


@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_stored_logits_of_a_batch_are_those_that_are_computed(
    phase: str, tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    task = task_of(config(phase, tiny_encoder, input__attention_mask="vis"), corpus)
    sentences = corpus.sentences("train")
    before = task.predict(sentences)
    share(task, tmp_path)
    after = task.predict(sentences)
    for old, new in zip(before.sentences, after.sentences, strict=True):
        assert new.sentence == old.sentence
        for (_, score), (_, other) in zip(
            (*old.entities, *old.relations), (*new.entities, *new.relations), strict=True
        ):
            assert other == pytest.approx(score, abs=1e-6)


def test_bf16_is_stored_as_such_and_gives_what_bf16_gives(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    task = task_of(config("NER", tiny_encoder, training__precision="bf16"), corpus)
    computed = epoch_losses(task)
    made = share(task, tmp_path)
    assert np.load(made / "pairs.npy").dtype.itemsize == 2
    assert epoch_losses(task) == pytest.approx(computed, abs=5e-3)


def test_what_is_not_stored_is_computed(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    task = task_of(config("NER", tiny_encoder), corpus)
    known, unknown = corpus.sentences("train"), corpus.sentences("dev")
    expected = [task.predict(sentences) for sentences in (known, unknown)]
    short = task_of(config("NER", tiny_encoder, input__max_span_words=2), corpus)
    share(short, tmp_path)
    task.model.first_round.features = short.model.first_round.features  # texts, but not all candidates
    text, candidates = torch.tensor([[5, 6, 7]]), short.marked_texts()
    stored = task.model.first_round.features[0]
    assert stored.find(text, torch.ones(1, 3, dtype=torch.bool)) is None
    found = stored.find(
        torch.tensor(candidates.ids[0]).unsqueeze(0), torch.ones(1, len(candidates.ids[0])).bool()
    )
    assert found is not None
    bounds, every = torch.tensor([[[1, 1], [1, 5]]]), torch.ones(1, 2, dtype=torch.bool)
    assert found.pairs(bounds, every) is None
    assert found.pairs(bounds, torch.tensor([[True, False]])) is not None, "padding may be anything"
    assert [task.predict(sentences) for sentences in (known, unknown)] == expected


def test_a_split_without_candidates_is_computed(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    task = task_of(config("NER", tiny_encoder), corpus)
    empty = [Sentence(())]
    expected = task.predict(empty)
    task.model.first_round.features = [
        FeatureStore(tmp_path).states(task.config, task.marked_texts(empty), task.model.first_round)
    ]
    assert task.predict(empty) == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"input__attention_mask": "full"},
        {"input__marker_marker": "type"},
        {"input__text_sees_markers": True},
        {"input__representation": "marker", "filter__stage": "text"},
        {"encoder__freeze": "all"},
    ],
    ids=str,
)
def test_states_that_depend_on_more_are_not_kept(
    settings: dict[str, object], tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    changed = config("NER", tiny_encoder, training__epochs=1, filter__cold_epochs=0, **settings)
    assert not changed.has_constant_states
    list(train_trial(changed, 1, corpus, tmp_path / "work", features=FeatureStore(tmp_path / "features")))
    assert not (tmp_path / "features").exists()


def test_fixed_features_train_nothing_of_the_encoder_and_know_no_seed(
    tiny_encoder: str, corpus: Corpus
) -> None:
    settings = config("NER", tiny_encoder)
    tasks = [task_of(settings, corpus, seed) for seed in (1, 2)]
    encoders = [task.model.first_round.encoder.train() for task in tasks]
    assert not any(parameter.requires_grad for parameter in encoders[0].parameters())
    assert torch.equal(encoders[0].markers.weight, encoders[1].markers.weight)
    assert not any(module.training for module in encoders[0].modules())
    own = build_encoder(with_settings(settings, {"encoder.freeze": "all"}).encoder, tasks[0].source)
    assert own.train().training
    assert own.markers.weight.requires_grad


def test_the_encoders_learning_rate_does_not_act(tiny_encoder: str) -> None:
    rates = [config("NER", tiny_encoder, training__encoder_lr=rate) for rate in (1e-5, 1e-3)]
    assert active_settings(rates[0]) == active_settings(rates[1])

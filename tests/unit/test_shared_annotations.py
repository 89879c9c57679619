"""Annotations that no text changes are read once: a step, or until a weight changes."""

from typing import Any

import pytest
import torch

from lai_net.schema import Corpus
from lai_net.training.loop import training_step
from lai_net.training.optimizer import build_optimizer
from tests.unit.stepping import task_of


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("phase", "settings"),
    [("NER", {"filter.stage": "text"}), ("NER", {"filter.stage": "marker"}), ("RE", {})],
    ids=["text filter", "marker filter", "RE"],
)
def test_the_parts_of_a_step_share_one_reading_of_the_annotations(
    phase: str,
    settings: dict[str, Any],
    precision: str,
    tiny_encoder: str,
    corpus: Corpus,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dropout acts, so all parts see one mask of the annotations."""
    split = {"training.micro_batch_tokens": 40, "training.precision": precision}
    task = task_of(phase, tiny_encoder, corpus, settings | split)
    first_round = task.model.first_round
    read, reads = first_round._read_annotations, []
    monkeypatch.setattr(first_round, "_read_annotations", lambda ids: reads.append(len(ids)) or read(ids))
    optimizer = build_optimizer(task.model, task.config.training)
    for number in (1, 2):
        (losses,) = task.steps(1)
        training_step(task.model, optimizer, losses, clip=1.0)
        assert len(reads) == number
        words = first_round.encoder.embeddings.word_embeddings.weight.grad
        assert words is not None
        assert words[first_round.annotation_ids].any(1).all()
    assert first_round.shared is None


def test_a_step_that_is_left_early_shares_nothing_with_the_next(tiny_encoder: str, corpus: Corpus) -> None:
    task = task_of("RE", tiny_encoder, corpus, {"training.micro_batch_tokens": 40})
    (losses,) = task.steps(1)
    next(losses)
    assert task.model.first_round.shared is not None
    losses.close()  # type: ignore[attr-defined]
    assert task.model.first_round.shared is None


def test_annotations_are_read_once_until_a_weight_changes(
    tiny_encoder: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_pair = {"head.symmetric_rule": "both", "head.relation_threshold": 0.0}
    task = task_of("RE", tiny_encoder, corpus, every_pair)
    encoder = task.model.first_round.encoder
    encode, reads = encoder.encode, []
    monkeypatch.setattr(encoder, "encode", lambda ids, *rest: reads.append(len(ids)) or encode(ids, *rest))

    def scores() -> list[float]:
        reads.clear()
        (found,) = task.predict(corpus.sentences("train")[:1]).sentences
        return [score for _, score in found.relations]

    first = scores()
    assert first
    assert len(reads) == 1, "the text is read with its markers"
    assert scores() == first
    assert len(reads) == 0
    with torch.no_grad():
        encoder.layers[0].output.dense.weight.mul_(1.5)
    changed = scores()
    assert len(reads) == 1
    assert changed != first
    task.model.first_round._annotations = None
    assert scores() == changed
    task.model.train()
    optimizer = build_optimizer(task.model, task.config.training)
    for _ in range(2):
        reads.clear()
        for losses in task.steps(1):
            training_step(task.model, optimizer, losses, clip=1.0)
        assert len(reads) == 2, "training reads them at every step"
    trained = scores()
    assert trained
    assert trained != changed
    task.model.first_round._annotations = None
    assert scores() == trained, "a fused optimizer leaves the version of a weight as it was"

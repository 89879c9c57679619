"""Two passes and one dense pass a pack give a model the same logits, whatever else is set."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lai_net.config import InputConfig, TrialConfig
from lai_net.corpora.loading import load_corpus
from lai_net.inputs.ner_inputs import ner_batch
from lai_net.inputs.re_inputs import re_batch
from lai_net.model.ner_model import NerOutput
from lai_net.schema import Corpus, Entity, Sentence, Span
from lai_net.settings import with_settings
from lai_net.streams import Streams
from lai_net.training.ner_task import NerTask
from lai_net.training.re_task import ReTask

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus("embedded", name="embedded")


def with_one_more(sentence: Sentence) -> Sentence:
    """With an entity more, so that the objects of a subject take several packs."""
    whole = Entity(Span(0, len(sentence.words)), sentence.entities[0].type)
    return replace(sentence, entities=(*sentence.entities, whole))


def task_of(phase: str, encoder: str, corpus: Corpus, settings: dict[str, Any]) -> NerTask | ReTask:
    config = with_settings(TrialConfig(phase=phase), {"encoder.name": encoder, **settings})  # type: ignore[arg-type]
    kind = NerTask if phase == "NER" else ReTask
    sentences = [with_one_more(item) for item in corpus.sentences("train")[:12] if len(item.entities) > 1][:4]
    task = kind(config, corpus.labels, Streams(0, CPU), CPU, sentences)
    task.model.eval()
    return task


@pytest.mark.parametrize("context", [0, 60])
@pytest.mark.parametrize("stage", ["marker", "text", "none"])
@pytest.mark.parametrize("annotations", [True, False])
@pytest.mark.parametrize("mask", ["inv", "vis"])
def test_ner_gives_the_same_logits_in_two_passes_and_in_packs(
    tiny_encoder: str, corpus: Corpus, mask: str, annotations: bool, stage: str, context: int
) -> None:
    settings = {
        "input.attention_mask": mask, "input.annotations": annotations, "input.context_tokens": context,
        "input.max_candidates": 5, "filter.enabled": stage != "none", "filter.threshold": 0.0,
        "filter.stage": "text" if stage == "text" else "marker",
    }  # fmt: skip
    task = task_of("NER", tiny_encoder, corpus, settings)
    assert isinstance(task, NerTask)
    batch = ner_batch(task.examples, task.tokenizer.pad_id)
    found: list[NerOutput] = []
    for two_pass in (True, False):
        task.model.first_round.two_pass = two_pass
        with torch.inference_mode():
            found.append(task.model(batch, task.streams))
    twice, densely = found
    assert torch.equal(twice.kept, densely.kept)
    assert torch.equal(twice.kept_valid, densely.kept_valid)
    assert twice.kept.shape[1] > 5, "there is more than one pack"
    assert twice.kept.shape[1] % 5, "the last of which is not full"
    valid = twice.kept_valid
    torch.testing.assert_close(twice.class_logits[valid], densely.class_logits[valid], atol=1e-4, rtol=0)
    if stage != "none":
        assert twice.filter_logits is not None
        assert densely.filter_logits is not None
        one, other = twice.filter_logits[batch.valid], densely.filter_logits[batch.valid]
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("context", [0, 60])
@pytest.mark.parametrize("annotations", [True, False])
@pytest.mark.parametrize("mask", ["inv", "vis"])
def test_re_gives_the_same_logits_in_two_passes_and_in_packs(
    tiny_encoder: str, corpus: Corpus, mask: str, annotations: bool, context: int, size: int
) -> None:
    settings = {
        "input.attention_mask": mask, "input.annotations": annotations, "input.max_candidates": size,
        "input.context_tokens": context,
    }  # fmt: skip
    task = task_of("RE", tiny_encoder, corpus, settings)
    assert isinstance(task, ReTask)
    batch = re_batch(task.examples, task.tokenizer.pad_id)
    assert batch.bounds.shape[1] == 3, "so that there are three packs, or two of which one is not full"
    found = []
    for two_pass in (True, False):
        task.model.first_round.two_pass = two_pass
        with torch.inference_mode():
            found.append(task.model(batch, task.streams).pair_logits[batch.valid])
    torch.testing.assert_close(*found, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({}, "two-pass"),
        ({"representation": "enumerate", "attention_mask": "vis"}, "two-pass"),
        ({"attention_mask": "full"}, "dense"),
        ({"marker_marker": "type"}, "dense"),
        ({"representation": "vanilla"}, "dense"),
        ({"representation": "marker"}, "dense"),
    ],
)
def test_only_levitated_markers_take_a_second_pass(settings: dict[str, Any], passes: str) -> None:
    assert InputConfig(**settings).encoder_passes == passes


def test_in_bf16_the_attention_over_a_text_has_its_softmax_in_float32(
    tiny_encoder: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its results, since the softmax is inside a kernel; large scores, whose rounding would show."""
    task = task_of("RE", tiny_encoder, corpus, {"training.precision": "bf16"})
    for layer in task.model.first_round.encoder.layers:
        layer.attention.self.query.weight.data *= 20
    attend, calls = torch.nn.functional.scaled_dot_product_attention, []

    def noting(query: Any, key: Any, value: Any, **options: Any) -> Any:
        calls.append((query, key, value, attend(query, key, value, **options)))
        return calls[-1][-1]

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noting)
    task.predict(corpus.sentences("train")[:3])
    errors = []
    for query, key, value, found in calls:
        assert {tensor.dtype for tensor in (query, key, value, found)} == {torch.bfloat16}
        scores = (query.double() @ key.double().mT) / query.shape[-1] ** 0.5
        exact = scores.softmax(-1) @ value.double()
        rounded = scores.bfloat16().softmax(-1).double() @ value.double()
        errors.append([(result.double() - exact).abs().mean().item() for result in (found, rounded)])
    ours, in_bf16 = torch.tensor(errors).mean(0).tolist()
    assert ours < in_bf16 / 3


def test_pairs_that_read_copies_of_one_window_need_not_be_in_one_batch(
    tiny_encoder: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"input.representation": "marker", "input.context_tokens": 60}
    task = task_of("RE", tiny_encoder, corpus, settings)
    sentences = corpus.sentences("train")[:6]
    expected = task.predict(sentences).sentences
    monkeypatch.setattr("lai_net.training.task.inference_tokens", lambda _: 1)
    sizes, forward = [], task.model.forward

    def noting(batch: Any, streams: Streams) -> Any:
        sizes.append(len(batch.bounds))
        return forward(batch, streams)

    monkeypatch.setattr(task.model, "forward", noting)
    found = task.predict(sentences).sentences
    assert set(sizes) == {1}
    assert [item.sentence for item in found] == [item.sentence for item in expected]

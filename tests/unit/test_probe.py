"""The memory probe of a training, on the CPU with its stand-in meter."""

import pytest
import torch

from lai_net.config import TrialConfig
from lai_net.corpora.loading import load_corpus
from lai_net.inputs.re_inputs import ReExample
from lai_net.pipeline import probe_trial
from lai_net.schema import Corpus, Entity, Sentence, Span
from lai_net.settings import with_settings
from lai_net.streams import Streams
from lai_net.training.ner_task import NerTask
from lai_net.training.probe import RssMeter
from lai_net.training.re_task import ReTask


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus("embedded", name="demo")


def config_of(phase, encoder: str) -> TrialConfig:
    return with_settings(TrialConfig(phase=phase), {"encoder.name": encoder, "training.batch_size": 2})


@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_probe_measures_memory_time_and_length(phase, corpus: Corpus, tiny_encoder: str) -> None:
    found = probe_trial(config_of(phase, tiny_encoder), corpus, steps=1)
    assert found.meter == "rss"
    assert 0 < found.peak_bytes < found.capacity_bytes
    assert found.context_bytes == 0
    assert found.step_s > 0
    assert found.largest_step_s > 0
    num_examples = {"NER": len(corpus.sentences("train"))}.get(phase)
    assert num_examples is None or found.steps_per_epoch == -(-num_examples // 2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_cuda_meter_tells_what_the_allocator_held_and_what_lies_beside_it(
    phase, corpus: Corpus, tiny_encoder: str
) -> None:
    found = probe_trial(config_of(phase, tiny_encoder), corpus, steps=1, device="cuda")
    assert found.meter == "cuda"
    assert torch.cuda.max_memory_allocated() <= found.peak_bytes < found.capacity_bytes
    assert 0 < found.context_bytes < found.capacity_bytes


@pytest.mark.parametrize("kind", [NerTask, ReTask])
def test_largest_step_takes_the_longest_examples(
    kind, corpus: Corpus, tiny_encoder: str, monkeypatch
) -> None:
    config = config_of("NER" if kind is NerTask else "RE", tiny_encoder)
    task = kind(
        config, corpus.labels, Streams(0, torch.device("cpu")), torch.device("cpu"), corpus.sentences("train")
    )
    taken: list[object] = []
    monkeypatch.setattr(task, "_losses", lambda examples, **_: taken.extend(examples))
    task.largest_step(cold=False)

    def size(example) -> int:
        return len(example.ids) + 2 * len(example.bounds)

    assert [size(example) for example in taken] == sorted(map(size, task.examples))[-2:]


@pytest.mark.parametrize(("representation", "num_objects"), [("annotate", 1), ("marker", 5)])
def test_a_step_of_many_copies_is_larger_than_one_of_a_long_text(
    representation: str, num_objects: int, corpus: Corpus, tiny_encoder: str, monkeypatch
) -> None:
    """Under `marker` each pair reads its own; there six entities in eight words outweigh two in thirty."""
    config = with_settings(config_of("RE", tiny_encoder), {"input.representation": representation})
    label = next(iter(corpus.labels.entities))
    sentences = [
        Sentence(("word",) * words, tuple(Entity(Span(at, at + 1), label) for at in range(entities)))
        for words, entities in ((30, 2), (8, 6))
    ]
    task = ReTask(config, corpus.labels, Streams(0, torch.device("cpu")), torch.device("cpu"), sentences)
    taken: list[ReExample] = []
    monkeypatch.setattr(task, "_losses", lambda examples, **_: taken.extend(examples))
    task.largest_step(cold=False)
    assert [len(example.bounds) for example in taken] == [num_objects] * 2


def test_stand_in_meter_sees_the_peak_though_it_was_given_back() -> None:
    meter = RssMeter()
    torch.ones(16 * 2**20).sum()
    assert meter.peak_bytes() > 48 * 2**20

"""What a worker does with a task, in this process, with a stand-in for the model."""

import dataclasses
import os
import random
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import lai_net.pipeline
from lai_net.config import TrialConfig
from lai_net.corpora.loading import load_corpus
from lai_net.encoder_files import encoder_id
from lai_net.settings import with_settings
from lai_net.training.features import FeatureStore
from tune.engine import Message, attempt_messages
from tune.failures import headline
from tune.task_spec import CorpusSource, EvaluateSpec, TrainSpec, spec_to_json
from tune.trainable import execute

Report = dataclasses.make_dataclass("Report", ["epoch", "dev"])
Evaluated = dataclasses.make_dataclass("Evaluated", ["split"])


class Pipeline:
    """Records what it is called with and the process's state; leaves the process dirty."""

    def __init__(self) -> None:
        self.states: list[dict] = []
        self.resumed: list[list[str]] = []
        self.features: list[FeatureStore | None] = []
        self.evaluated: list[tuple] = []

    def train_trial(
        self, config, seed, corpus, work_dir, *, resume_from, upstream_dir, device, features
    ) -> Iterator[Report]:
        self.states.append(
            {
                "cwd": Path.cwd(),
                "threads": torch.get_num_threads(),
                "draws": (random.random(), np.random.random(), torch.rand(()).item()),  # noqa: NPY002
                "dtype": torch.get_default_dtype(),
                "grad": torch.is_grad_enabled(),
            }
        )
        self.features.append(features)
        self.resumed.append([folder.name for folder in resume_from])
        assert list(work_dir.iterdir()) == []
        (work_dir / "last").mkdir()
        os.chdir("/")
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(2)
        torch.set_grad_enabled(False)
        yield Report(1, {"f1": 0.5})

    def evaluate_trial(self, model_dir, corpus, split, *, upstream_dir, typed, device, features) -> Evaluated:
        self.features.append(features)
        upstream = upstream_dir and upstream_dir.name
        self.evaluated.append((model_dir.name, split, "typed" if typed else upstream))
        return Evaluated(split)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    fake = Pipeline()
    monkeypatch.setattr(lai_net.pipeline, "train_trial", fake.train_trial)
    monkeypatch.setattr(lai_net.pipeline, "evaluate_trial", fake.evaluate_trial)
    cwd, threads = Path.cwd(), torch.get_num_threads()
    yield fake
    os.chdir(cwd)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def corpus() -> CorpusSource:
    content_id = load_corpus("embedded", name="demo").content_id
    return CorpusSource(source="embedded", name="demo", content_id=content_id)


@pytest.fixture
def spec(tmp_path: Path, corpus: CorpusSource) -> TrainSpec:
    return TrainSpec(
        trial_id="t",
        attempt=1,
        config=TrialConfig(phase="NER"),
        seed=1,
        corpus=corpus,
        encoder_id=encoder_id("minilm"),
        artefacts=str(tmp_path / "artifacts"),
        splits=("dev", "test"),
        share=0.0,
        cwd=str(tmp_path),
    )


def messages(spec: TrainSpec | EvaluateSpec) -> list[Message]:
    return [Message.from_json(text) for text in attempt_messages(execute, spec_to_json(spec))]


def test_training_reports_epochs_and_ends_with_its_evaluations(pipeline, spec):
    told = messages(spec)
    assert [message.event for message in told] == ["started", "epoch", "completed"]
    assert told[0].content["pid"] == os.getpid()
    assert told[-1].content["evaluations"] == [{"split": "dev"}, {"split": "test"}]
    assert pipeline.evaluated == [("best", "dev", None), ("best", "test", None)]
    assert pipeline.features == 3 * [FeatureStore(Path(spec.artefacts) / "features")]


def test_nothing_is_written_before_the_attempt_is_known(pipeline, spec):
    stream = attempt_messages(execute, spec_to_json(spec))
    next(stream)
    assert not Path(spec.artefacts).exists()


def test_later_attempt_reads_the_earlier_folders_and_writes_its_own(pipeline, spec):
    messages(spec)
    messages(dataclasses.replace(spec, attempt=3))
    assert pipeline.resumed == [[], ["attempt-1"]]


def test_folder_of_a_lost_ledger_is_emptied(pipeline, spec):
    left = Path(spec.artefacts) / "t" / "attempt-1" / "last"
    left.mkdir(parents=True)
    assert messages(spec)[-1].event == "completed"


def test_no_state_leaks_from_one_trial_to_the_next(pipeline, spec, tmp_path):
    messages(spec)
    messages(dataclasses.replace(spec, trial_id="u"))
    first, second = pipeline.states
    assert first == second
    assert (first["cwd"], first["threads"], first["grad"]) == (tmp_path, 1, True)


def test_end_to_end_evaluation_names_both_models(pipeline, spec, corpus):
    told = messages(
        EvaluateSpec(
            model_dir="/re",
            upstream_dir="/ner",
            corpus=corpus,
            entities="predicted",
            splits=("test",),
            share=0,
            cwd=spec.cwd,
        )
    )
    assert [message.event for message in told] == ["started", "completed"]
    assert pipeline.evaluated == [("re", "test", "ner")]
    assert pipeline.features == [None], "these entities are one NER trial's"


def test_a_model_that_types_entities_is_evaluated_with_its_types_too(pipeline, spec):
    config = with_settings(TrialConfig(phase="RE"), {"head.object_typing": "loss"})
    assert messages(dataclasses.replace(spec, config=config))[-1].event == "completed"
    assert pipeline.evaluated == [
        ("best", "dev", None), ("best", "test", None), ("best", "dev", "typed"), ("best", "test", "typed"),
    ]  # fmt: skip


NOWHERE = with_settings(TrialConfig(phase="NER"), {"encoder.name": "/nowhere"})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"corpus": CorpusSource(source="embedded", name="demo", content_id="other")}, "corpus demo"),
        ({"corpus": CorpusSource(source="/nowhere", name="demo", content_id="other")}, "/nowhere"),
        ({"encoder_id": "other"}, "encoder minilm"),
        ({"config": NOWHERE}, "encoder '/nowhere'"),
    ],
    ids=["other corpus", "no corpus", "other encoder", "no encoder"],
)
def test_other_files_than_planned_are_the_machines_fault(pipeline, spec, change, named):
    last = messages(dataclasses.replace(spec, **change))[-1]
    assert last.event == "failed"
    assert (last.content["kind"], last.content["retryable"]) == ("machine", True)
    assert "MachineFaultError" in last.content["error"]
    assert named in last.content["error"]


@pytest.mark.parametrize(("share", "caps"), [(0.335, [0.315]), (0, [])])
def test_a_share_of_a_gpu_is_a_hard_cap_on_its_memory(pipeline, spec, monkeypatch, share, caps):
    """Where torch says that there is a GPU; the call alone is seen, nothing is allocated."""
    set_caps: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", set_caps.append)
    ordered: list[str] = []
    monkeypatch.setattr("lai_net.device.keep_sums_in_order", ordered.append)
    monkeypatch.setattr("tune.trainable.provenance", lambda device: {"device": device})
    task = dataclasses.replace(spec, share=share, memory_cap=0.315)
    started = next(execute(spec_to_json(task)))
    assert started.content == {"device": "cuda" if caps else "cpu"}
    assert set_caps == caps
    assert ordered == ["cuda"] * len(caps)


def no_cuda() -> bool:
    warnings.warn("The NVIDIA driver on your system is too old", stacklevel=1)
    return False


def test_a_gpu_that_torch_does_not_see_is_the_machines_fault(pipeline, spec, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", no_cuda)
    monkeypatch.setattr("lai_net.device._refusal", lambda _: "the driver is too old")
    (last,) = messages(dataclasses.replace(spec, share=0.5))
    assert (last.content["kind"], last.content["retryable"]) == ("machine", True)
    said = headline(last.content["error"], last.content["kind"])
    assert f"{socket.gethostname()} has no GPU that torch sees (the driver is too old), though" in said
    assert pipeline.states == []


def test_where_a_gpu_is_only_counted_the_cpu_does(pipeline, spec, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", no_cuda)
    told = messages(dataclasses.replace(spec, share=0.5, logical_gpus=3))
    assert (told[0].content["device"], told[-1].event) == ("cpu", "completed")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_trial_gets_no_more_of_a_gpu_than_its_cap(spec, tiny_encoder):
    """Trained in truth: the cap is a hundred thousandth of the device, then half of it."""
    config = with_settings(spec.config, {"encoder.name": tiny_encoder, "training.epochs": 1})
    task = dataclasses.replace(spec, config=config, encoder_id=encoder_id(tiny_encoder), share=0.5)
    try:
        (*_, held_back) = messages(dataclasses.replace(task, memory_cap=1e-5))
        (*_, let) = messages(dataclasses.replace(task, memory_cap=0.5, attempt=2))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert (held_back.event, held_back.content.get("kind")) == ("failed", "memory")
    assert let.event == "completed"

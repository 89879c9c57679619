"""Nothing of a training or a prediction mixes host and device, on a CUDA device that is only pretended.

What that cannot show (kernels, memory, speed) takes a GPU: tests with the marker `gpu`.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lai_net.config import Phase
from lai_net.corpora.loading import load_corpus
from lai_net.device import keep_sums_in_order
from lai_net.extractor import LaiNet
from lai_net.model.first_round import gather_tokens
from lai_net.pipeline import evaluate_trial, train_trial
from lai_net.schema import Corpus
from lai_net.streams import Streams
from lai_net.trained_model import make_task
from lai_net.training.features import FeatureStore
from lai_net.training.loop import training_step
from lai_net.training.optimizer import build_optimizer
from lai_net.training.task import AnyTask
from tests.embedded import small_corpus
from tests.pretended_cuda import DEVICE, MixedDevices, PretendedCuda, is_on_device, pretended_cuda
from tests.unit.training import small

PLMARKER = {"input__annotations": False, "graph__layers": 0, "head__kind": "linear"}
CASES: list[tuple[Phase, dict[str, Any]]] = [
    ("NER", {}),
    ("NER", {"filter__stage": "text", "training__activation_checkpointing": True}),
    ("NER", {"filter__stage": "text", "input__context_tokens": 100, "training__precision": "bf16"}),
    ("NER", {"input__attention_mask": "vis", "filter__cold_epochs": 1}),
    ("NER", {"input__attention_mask": "full", "filter__stage": "text"}),
    ("NER", {"input__marker_marker": "type", "input__text_sees_markers": True}),
    ("NER", {"input__representation": "marker", "filter__stage": "text", "training__precision": "bf16"}),
    ("NER", {"training__micro_batch_tokens": 200, "training__negatives": 5}),
    ("NER", PLMARKER | {"filter__enabled": False}),
    ("RE", {}),
    ("RE", {"input__attention_mask": "full", "training__precision": "bf16"}),
    ("RE", {"input__representation": "vanilla", "graph__normalization": "symmetric"}),
    ("RE", {"input__representation": "marker", "training__activation_checkpointing": True}),
    (
        "RE",
        {"training__micro_batch_tokens": 40, "training__precision": "bf16", "head__symmetric_rule": "both"},
    ),
    ("RE", PLMARKER | {"head__object_typing": "types", "head__overlapping_triples": "drop"}),
]


@pytest.fixture
def cuda() -> Iterator[PretendedCuda]:
    with pretended_cuda() as device:
        yield device


def task_of(phase: Phase, encoder: str, settings: dict[str, Any]) -> AnyTask:
    corpus = load_corpus("embedded", name="embedded")
    config = small(phase, encoder, **({"training__batch_size": 4, "filter__cold_epochs": 0} | settings))
    streams = Streams(1, torch.device("cuda"))
    task: AnyTask = make_task(config, corpus.labels, streams, "cuda", corpus.sentences("train")[:8])
    task.model.train()
    task.streams.start_epoch(1)
    return task


@pytest.mark.parametrize(("phase", "settings"), CASES, ids=[f"{phase} {own}" for phase, own in CASES])
def test_a_step_and_a_prediction_stay_on_the_device(
    phase: Phase, settings: dict[str, Any], tiny_encoder: str, cuda: PretendedCuda
) -> None:
    task = task_of(phase, tiny_encoder, settings)
    optimizer = build_optimizer(task.model, task.config.training)
    training_step(task.model, optimizer, next(task.steps(1)), clip=1.0)
    state = [tensor for values in optimizer.state.values() for tensor in values.values()]
    assert len(state) > 100
    assert all(map(is_on_device, [*task.model.parameters(), *task.model.buffers(), *state]))
    assert len(task.predict(load_corpus("embedded", name="embedded").sentences("dev")[:4]).sentences) == 4


@pytest.mark.parametrize(
    ("phase", "settings", "expected"),
    [
        (
            "NER",
            {"filter__stage": "text"},
            {"candidate_filter.py _local_scalar_dense": 1, "ner_model.py nonzero": 2},
        ),
        ("RE", {}, {"re_model.py nonzero": 2}),
    ],
    ids=["NER", "RE"],
)
def test_the_host_waits_for_the_device_where_a_number_decides_a_shape(
    phase: Phase, settings: dict[str, Any], expected: dict[str, int], tiny_encoder: str, cuda: PretendedCuda
) -> None:
    task = task_of(phase, tiny_encoder, settings)
    optimizer, step = build_optimizer(task.model, task.config.training), next(task.steps(1))
    cuda.waits.clear()
    training_step(task.model, optimizer, step, clip=1.0)
    looked_up, at_the_end = {"encoder.py _unique2": 1}, {"loop.py _local_scalar_dense": 2}
    assert Counter(cuda.waits) == expected | looked_up | at_the_end


def trained(
    folder: Path, corpus: Corpus, encoder: str, *, breaks: bool, **settings: Any
) -> list[tuple[float, float]]:
    """Losses and F1 of a training on the device; `breaks`: left after its first epoch and taken up again."""
    config = small("NER", encoder, training__epochs=2, **settings)
    store = FeatureStore(folder.parent / "features")
    if breaks:
        next(train_trial(config, 1, corpus, folder, device="cuda", features=store))
        torch.cuda.manual_seed_all(77)
    reports = train_trial(config, 1, corpus, folder, device="cuda", features=store)
    return [(report.loss, report.dev["f1"]) for report in reports]


@contextmanager
def a_gpu() -> Iterator[None]:
    keep_sums_in_order("cuda")
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("freeze", ["none", "features"])
@pytest.mark.parametrize(
    "device",
    [
        pretended_cuda,
        pytest.param(
            a_gpu,
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
            ],
        ),
    ],
    ids=["pretended", "a GPU"],
)
def test_a_training_that_was_resumed_on_the_device_equals_an_unbroken_one(
    device: Any, freeze: str, tiny_encoder: str, tmp_path: Path
) -> None:
    corpus = small_corpus(2)
    with device():
        whole = trained(tmp_path / "whole", corpus, tiny_encoder, breaks=False, encoder__freeze=freeze)
        assert (
            trained(tmp_path / "broken", corpus, tiny_encoder, breaks=True, encoder__freeze=freeze) == whole
        )
        assert evaluate_trial(tmp_path / "broken" / "best", corpus, "dev", device="cuda").scores


def test_a_saved_model_extracts_on_the_device(tiny_encoder: str, tmp_path: Path, cuda: PretendedCuda) -> None:
    corpus = small_corpus(2)
    for phase in ("NER", "RE"):
        config = small(phase, tiny_encoder, training__epochs=1, filter__cold_epochs=0)
        list(train_trial(config, 1, corpus, tmp_path / phase, device="cuda"))
    LaiNet.from_trials(tmp_path / "NER", tmp_path / "RE", device="cuda").save_pretrained(tmp_path / "saved")
    model = LaiNet.from_pretrained(tmp_path / "saved", device="cuda")
    assert is_on_device(model.re.task.model.first_round.encoder.markers.weight)
    assert len(model.extract(["We use CRFs for parsing.", "They beat HMMs."])) == 2


def test_what_torch_would_refuse_is_refused(cuda: PretendedCuda) -> None:
    there, here = torch.ones(3, device=DEVICE, requires_grad=True), torch.ones(3)
    assert there.device == DEVICE
    with pytest.raises(MixedDevices, match=r"aten\.add"):
        there + here
    with pytest.raises(MixedDevices, match=r"aten\.gather"):
        there.gather(0, torch.tensor([0]))
    with pytest.raises(MixedDevices, match=r"aten\.index"):
        here[torch.zeros(1, dtype=torch.long, device="cuda")]
    with pytest.raises(TypeError, match="numpy"):
        there.detach().numpy()
    assert is_on_device(there[torch.tensor([0, 2])] * torch.tensor(2.0)), (
        "both are let through, as torch does"
    )
    assert cuda.waits == []
    (there.sum() * 2).backward()  # type: ignore[no-untyped-call]
    assert is_on_device(there.grad)
    assert not is_on_device(there.cpu())
    assert len(cuda.waits) == 1


def test_a_tensor_that_is_made_on_the_host_is_found(
    tiny_encoder: str, cuda: PretendedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "lai_net.model.g4cn.torch.eye", lambda size, **_: torch.ones(size, size).tril().triu()
    )
    task = task_of("NER", tiny_encoder, {})
    with pytest.raises(MixedDevices, match=r"aten\.mul"):
        next(next(task.steps(1)))


def test_gradients_of_rows_are_added_in_order_on_the_device(cuda: PretendedCuda) -> None:
    """There `gather` adds them atomically or, where that is forbidden, sorts the numbers of all rows."""
    states, index = torch.randn(2, 5, 3), torch.tensor([[[0, 4], [4, 4]], [[1, 2], [0, 1]]])
    found = gather_tokens(states.to("cuda").requires_grad_(), index.to("cuda"))
    assert torch.equal(found.cpu(), gather_tokens(states, index))
    assert found.grad_fn is not None
    assert "Index" in found.grad_fn.name()


def test_what_one_part_drops_shifts_no_other_on_the_device(cuda: PretendedCuda) -> None:
    def dropped(after: str | None) -> torch.Tensor:
        streams, states = Streams(1, DEVICE), torch.ones(64, device="cuda")
        streams.start_epoch(1)
        if after is not None:
            with streams.dropout(after):
                F.dropout(states)
        with streams.dropout("encoder"):
            return F.dropout(states).cpu()

    assert torch.equal(dropped(None), dropped("heads"))
    assert not torch.equal(dropped(None), dropped("encoder"))

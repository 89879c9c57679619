"""Micro-batches, activation checkpointing, precision: less memory or time, the same step."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lai_net.active_settings import active_settings
from lai_net.config import GraphConfig, TrialConfig
from lai_net.corpora.loading import load_corpus
from lai_net.errors import InputError
from lai_net.model import encoder
from lai_net.model.backward_order import go_back_by_layer
from lai_net.model.g4cn import G4CN
from lai_net.process_memory import hand_back, kernel_bytes
from lai_net.schema import Corpus
from lai_net.settings import with_settings
from lai_net.streams import Streams
from lai_net.training.loop import training_step
from lai_net.training.ner_task import NerTask
from lai_net.training.optimizer import build_optimizer
from lai_net.training.re_task import ReTask
from tests.unit.representing import without_dropout

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus("embedded", name="embedded")


def task_of(
    phase: str, encoder: str, corpus: Corpus, settings: dict[str, Any], device: torch.device = CPU
) -> NerTask | ReTask:
    common = {"encoder.name": encoder, "training.batch_size": 100, "filter.cold_epochs": 0}
    config = with_settings(TrialConfig(phase=phase), common | settings)  # type: ignore[arg-type]
    kind = NerTask if phase == "NER" else ReTask
    task = kind(config, corpus.labels, Streams(1, device), device, corpus.sentences("train")[:6])
    task.model.train()
    task.streams.start_epoch(1)
    return task


def step(task: NerTask | ReTask) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses of the one step's parts, and its gradients."""
    (losses,) = (list(map(used, parts)) for parts in task.steps(1))
    gradients = {name: p.grad for name, p in task.model.named_parameters() if p.grad is not None}
    return losses, gradients


def used(loss: torch.Tensor) -> float:
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item()


@pytest.mark.parametrize(
    ("phase", "settings"),
    [
        ("NER", {"filter.stage": "text", "filter.threshold": 0.02}),
        ("NER", {"filter.stage": "marker", "filter.threshold": 0.0}),
        ("NER", {"filter.cold_epochs": 1, "training.negatives": 9}),
        ("NER", {"filter.enabled": False}),
        ("NER", {"graph.layers": 0}),
        ("NER", {"input.attention_mask": "vis"}),
        ("RE", {}),
        ("RE", {"head.object_typing": "loss"}),
        ("RE", {"training.activation_checkpointing": True}),
        ("RE", {"input.annotations": False}),
        ("RE", {"encoder.freeze": "features"}),
    ],
    ids=[
        "text filter", "marker filter", "cold", "no filter", "no graph", "Vis.",
        "RE", "RE with types", "RE checkpointed", "RE without annotations", "RE on features",
    ],
)  # fmt: skip
def test_micro_batches_add_up_to_the_step(
    phase: str, settings: dict[str, Any], tiny_encoder: str, corpus: Corpus
) -> None:
    def run(budget: int | None) -> tuple[list[float], dict[str, torch.Tensor]]:
        split = {"training.micro_batch_tokens": budget}
        task = task_of(phase, tiny_encoder, corpus, settings | split)
        without_dropout(task.model)
        return step(task)

    (whole,), gradients = run(None)
    parts, added = run(40)
    assert len(parts) > 2
    assert sum(parts) == pytest.approx(whole, abs=1e-5)
    assert gradients.keys() == added.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(added[name], gradient, atol=1e-5, rtol=1e-5)


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


@pytest.mark.parametrize(
    ("phase", "settings"),
    [("NER", {"filter.stage": "text"}), ("NER", {"filter.stage": "marker"}), ("RE", {})],
    ids=["text filter", "marker filter", "RE"],
)
def test_backward_finishes_a_layer_of_all_passes_before_the_one_below_and_changes_no_bit(
    phase: str, settings: dict[str, Any], tiny_encoder: str, corpus: Corpus
) -> None:
    def run(by_layer: bool) -> tuple[list[int], dict[str, torch.Tensor]]:
        task = task_of(phase, tiny_encoder, corpus, settings)
        ((loss,),) = map(list, task.steps(1))
        if by_layer:
            go_back_by_layer(loss)
        order: list[int] = []
        for node in nodes_of(loss):
            if "layer" in node.metadata:
                node.register_hook(lambda *_, number=node.metadata["layer"]: order.append(number))
        loss.backward()  # type: ignore[no-untyped-call]
        return order, {name: p.grad for name, p in task.model.named_parameters() if p.grad is not None}

    order, gradients = run(by_layer=False)
    assert len(order) == 6, "text, annotations and markers have two layers each"
    assert order != sorted(order, reverse=True)
    order, same = run(by_layer=True)
    assert order == sorted(order, reverse=True)
    assert all(torch.equal(same[name], gradient) for name, gradient in gradients.items())


def nodes_of(loss: torch.Tensor) -> set[Any]:
    """The whole graph."""
    found: set[Any] = set()
    below: list[Any] = [loss.grad_fn]
    while below:
        node = below.pop()
        if node is not None and node not in found:
            found.add(node)
            below += [parent for parent, _ in node.next_functions]
    return found


def test_compiled_passes_whose_activations_are_not_held_are_refused() -> None:
    """torch fails at it: "lift_tracked_freevar_to_input should not be called on root SubgraphTracer"."""
    with pytest.raises(InputError, match=r"training\.compile = false with"):
        with_settings(
            TrialConfig(phase="NER"), {"training.compile": True, "training.activation_checkpointing": True}
        )


def test_a_budget_below_one_token_is_refused() -> None:
    with pytest.raises(InputError, match=r"training\.micro_batch_tokens >= 1"):
        with_settings(TrialConfig(phase="NER"), {"training.micro_batch_tokens": 0})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_checkpointing_holds_less_and_changes_no_bit(
    phase: str, precision: str, tiny_encoder: str, corpus: Corpus
) -> None:
    def run(checkpointing: bool) -> tuple[int, tuple[list[float], dict[str, torch.Tensor]]]:
        settings = {"training.activation_checkpointing": checkpointing, "training.precision": precision}
        task = task_of(phase, tiny_encoder, corpus, settings)
        with counting_saved() as held:
            result = step(task)
        return sum(held), result

    held, (losses, gradients) = run(False)
    held_less, (same_losses, same_gradients) = run(True)
    assert same_losses == losses
    assert all(torch.equal(same_gradients[name], gradient) for name, gradient in gradients.items())
    assert held_less < 0.6 * held


@contextmanager
def counting_saved() -> Iterator[list[int]]:
    """Bytes of each tensor that autograd keeps for the backward pass."""
    held: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        held.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield held


def test_checkpointing_is_no_other_trial() -> None:
    config = TrialConfig(phase="NER")
    assert active_settings(with_settings(config, {"training.activation_checkpointing": True})) == (
        active_settings(config)
    )
    split = replace(config, training=replace(config.training, micro_batch_tokens=9))
    assert active_settings(split)["training"]["micro_batch_tokens"] == 9


def test_the_graph_holds_its_adjacency_and_nothing_it_is_made_of() -> None:
    graph = G4CN(8, GraphConfig(layers=1, heads=2), Streams(1, CPU))
    nodes = torch.randn(1, 50, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with counting_saved() as held:
        graph(nodes, torch.ones(1, 50, dtype=torch.bool)).sum().backward()
    assert sum(size >= 2 * 50 * 50 * 4 for size in held) == 1


def test_what_is_rehearsed_is_drawn_again() -> None:
    streams = Streams(1, CPU)
    streams.start_epoch(1)
    with streams.rehearsing(), streams.dropout("heads"):
        first = torch.rand(3)
    with streams.dropout("heads"):
        assert torch.equal(torch.rand(3), first)


class Precisions(TorchDispatchMode):
    """Notes the types of the inputs of operations that must not run in bf16."""

    watched = ("_softmax", "_log_softmax", "log", "binary_cross_entropy_with_logits", "nll_loss_forward")

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, set[torch.dtype]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self.watched or name in ("addmm", "mm"):
            self.seen.setdefault(name, set()).update(a.dtype for a in args if isinstance(a, torch.Tensor))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_bf16_leaves_divergence_softmax_and_losses_in_float32(
    phase: str, tiny_encoder: str, corpus: Corpus
) -> None:
    task = task_of(phase, tiny_encoder, corpus, {"training.precision": "bf16"})
    with Precisions() as precisions:
        ((loss,),) = task.steps(1)
    assert loss.dtype == torch.float32
    assert torch.bfloat16 in precisions.seen.pop("addmm")
    precisions.seen.pop("mm", None)
    assert {"_softmax", "_log_softmax", "log", "nll_loss_forward"} <= precisions.seen.keys()
    for name, dtypes in precisions.seen.items():
        assert dtypes <= {torch.float32, torch.int64}, name


class Casts(TorchDispatchMode):
    """Counts how often one of these weights is cast."""

    def __init__(self, weights: set[int]) -> None:
        super().__init__()
        self.weights, self.count = weights, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket is torch.ops.aten._to_copy:
            self.count += args[0].data_ptr() in self.weights
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_in_bf16_a_weight_is_cast_once_for_all_that_is_predicted(
    phase: str, tiny_encoder: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lai_net.training.task.inference_tokens", lambda _: 1)  # a text a batch
    task = task_of(phase, tiny_encoder, corpus, {"training.precision": "bf16"})
    weights = {layer.output.dense.weight.data_ptr() for layer in task.model.first_round.encoder.layers}
    with Casts(weights) as casts:
        task.predict(corpus.sentences("dev")[:4])
    assert casts.count == len(weights) == 2


@pytest.mark.parametrize("is_large", [True, False])
def test_memory_is_handed_back_before_the_gradient_of_a_large_vocabulary(
    is_large: bool, tiny_encoder: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of("RE", tiny_encoder, corpus, {})
    module = task.model.first_round.encoder
    words, lowest = module.embeddings.word_embeddings.weight, module.layers[0].attention.self.query.weight
    seen: list[tuple[bool, bool]] = []
    monkeypatch.setattr(encoder, "hand_back", lambda: seen.append((lowest.grad is None, words.grad is None)))
    monkeypatch.setattr(encoder, "LARGE_TABLE", words.nbytes + (not is_large))
    training_step(task.model, build_optimizer(task.model, task.config.training), *task.steps(1), clip=1.0)
    assert seen == ([(False, True)] if is_large else [])


def test_freed_memory_is_handed_back() -> None:
    blocks = [bytearray(100_000) for _ in range(1_000)]  # below glibc's threshold for pages of their own
    last = bytearray(100_000)
    blocks.clear()
    before = kernel_bytes("VmRSS")
    hand_back()
    assert before - kernel_bytes("VmRSS") > 50_000_000
    assert last


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_compiled_passes_give_the_same_step(phase: str, tiny_encoder: str, corpus: Corpus) -> None:
    (expected,), gradients = compiled_step(phase, tiny_encoder, corpus, CPU, compiled=False)
    (loss,), found = compiled_step(phase, tiny_encoder, corpus, CPU, compiled=True)
    assert loss == pytest.approx(expected, abs=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
def test_passes_are_compiled_for_the_next_model_of_a_process_too(
    tiny_encoder: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its limit, eight, torch would go on without compiling; here the limit is one, and an error."""
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **_: compile_(function, backend="eager"))
    ids, seen = torch.tensor([[1, 2]]), torch.ones(1, 1, 2, dtype=torch.bool)
    with torch._dynamo.config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True):
        for layers in (1, 2):
            module = task_of(
                "RE", tiny_encoder, corpus, {"encoder.num_layers": layers}
            ).model.first_round.encoder
            module.compile_passes()
            _, memory = module.encode(*module.look_up(ids), ids, seen)
            assert len(memory.layers) == layers


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_cuda_gives_the_hosts_step(phase: str, compiled: bool, tiny_encoder: str, corpus: Corpus) -> None:
    (expected,), gradients = compiled_step(phase, tiny_encoder, corpus, CPU, compiled=False)
    (loss,), found = compiled_step(phase, tiny_encoder, corpus, torch.device("cuda"), compiled=compiled)
    assert loss == pytest.approx(expected, abs=1e-3)
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name].cpu(), gradient, atol=1e-3, rtol=1e-3)


def compiled_step(
    phase: str, encoder: str, corpus: Corpus, device: torch.device, *, compiled: bool
) -> tuple[list[float], dict[str, torch.Tensor]]:
    settings = {"filter.stage": "text", "filter.threshold": 0.0}
    task = task_of(phase, encoder, corpus, settings, device)
    if compiled:
        task.model.first_round.encoder.compile_passes()
    without_dropout(task.model)
    return step(task)


def test_annotations_are_read_once_until_a_weight_changes(
    tiny_encoder: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of("RE", tiny_encoder, corpus, {})
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
    assert trained != changed
    task.model.first_round._annotations = None
    assert scores() == trained, "a fused optimizer leaves the version of a weight as it was"

"""bf16 where it is asked for, float32 where it would harm."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lai_net.schema import Corpus
from tests.unit.stepping import task_of


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
    with Precisions() as training:
        ((loss,),) = task.steps(1)
    assert loss.dtype == torch.float32
    with Precisions() as inference:
        task.predict(corpus.sentences("train")[:6])
    assert {"_softmax", "_log_softmax", "log", "nll_loss_forward"} <= training.seen.keys()
    assert {"_softmax", "log"} <= inference.seen.keys()
    for precisions in (training, inference):
        assert torch.bfloat16 in precisions.seen.pop("addmm")
        precisions.seen.pop("mm", None)
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

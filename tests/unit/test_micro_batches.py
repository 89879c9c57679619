"""Micro-batches add up to the step that they are parts of."""

from typing import Any

import pytest
import torch

from lai_net.config import TrialConfig
from lai_net.errors import InputError
from lai_net.schema import Corpus
from lai_net.settings import with_settings
from lai_net.streams import Streams
from tests.unit.representing import without_dropout
from tests.unit.stepping import CPU, step, task_of


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


def test_a_budget_below_one_token_is_refused() -> None:
    with pytest.raises(InputError, match=r"training\.micro_batch_tokens >= 1"):
        with_settings(TrialConfig(phase="NER"), {"training.micro_batch_tokens": 0})


def test_what_is_rehearsed_is_drawn_again() -> None:
    streams = Streams(1, CPU)
    streams.start_epoch(1)
    with streams.rehearsing(), streams.dropout("heads"):
        first = torch.rand(3)
    with streams.dropout("heads"):
        assert torch.equal(torch.rand(3), first)

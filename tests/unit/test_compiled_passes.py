"""`training.compile`: compiled passes, and on a CUDA device any, give the step of plain ones on the host."""

import pytest
import torch

from lai_net.config import TrialConfig
from lai_net.errors import InputError
from lai_net.schema import Corpus
from lai_net.settings import with_settings
from tests.unit.representing import without_dropout
from tests.unit.stepping import CPU, step, task_of


def test_compiled_passes_whose_activations_are_not_held_are_refused() -> None:
    """torch fails at it: "lift_tracked_freevar_to_input should not be called on root SubgraphTracer"."""
    with pytest.raises(InputError, match=r"training\.compile = false with"):
        with_settings(
            TrialConfig(phase="NER"), {"training.compile": True, "training.activation_checkpointing": True}
        )


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

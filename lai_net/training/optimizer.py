"""AdamW with two learning rates, linear warm-up and linear decay."""

import torch
from torch import nn

from lai_net.config import TrainingConfig


def build_optimizer(model: nn.Module, settings: TrainingConfig) -> torch.optim.AdamW:
    """Groups by learning rate (pretrained encoder, the rest) and weight decay (none for vectors)."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            pretrained = ".encoder.embeddings." in name or ".encoder.layers." in name
            groups.setdefault((pretrained, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": settings.encoder_lr if pretrained else settings.head_lr,
                "weight_decay": settings.weight_decay if decayed else 0.0,
            }
            for (pretrained, decayed), parameters in sorted(groups.items(), key=lambda item: item[0])
        ],
        fused=True,
    )


class LinearSchedule:
    """Sets the learning rates of a step; a function of the step alone, so it has no state to store."""

    def __init__(self, optimizer: torch.optim.Optimizer, num_steps: int, warmup: float) -> None:
        self._optimizer = optimizer
        self._peaks = [group["lr"] for group in optimizer.param_groups]
        self._num_steps = num_steps
        self._warmup_steps = round(warmup * num_steps)

    def set_step(self, step: int) -> None:
        """Set the rates for step `step` (0-based)."""
        if step < self._warmup_steps:
            factor = (step + 1) / self._warmup_steps
        else:
            factor = (self._num_steps - step) / max(1, self._num_steps - self._warmup_steps)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor

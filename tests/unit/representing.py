"""Configs of the four representations, and models without dropout."""

from typing import Any, get_args

import torch

from lai_net.config import Phase, Representation, TrialConfig
from lai_net.model.encoder import TwoPassEncoder
from tests.configs import config_with

FAMILIES: tuple[Representation, ...] = get_args(Representation)


def config_of(phase: Phase, family: Representation, encoder: str = "minilm", **settings: Any) -> TrialConfig:
    common = {
        "encoder.name": encoder,
        "input.representation": family,
        "filter.stage": "text",
        "filter.threshold": 0.0,
        "training.batch_size": 8,
        "training.encoder_lr": 1e-3,
        "training.head_lr": 3e-3,
    }
    return config_with(phase, common, **settings)


def without_dropout(model: torch.nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, TwoPassEncoder):
            module.attention_dropout = 0.0
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0

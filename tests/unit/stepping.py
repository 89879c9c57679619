"""One training step, and what it gives. No test."""

from typing import Any

import torch

from lai_net.config import TrialConfig
from lai_net.schema import Corpus
from lai_net.settings import with_settings
from lai_net.streams import Streams
from lai_net.training.ner_task import NerTask
from lai_net.training.re_task import ReTask

CPU = torch.device("cpu")


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

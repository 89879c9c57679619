"""How much memory a training takes, and how long a step: measured in a few steps of its largest batch."""

import gc
import itertools
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from lai_net.process_memory import kernel_bytes
from lai_net.schema import Sentence
from lai_net.training.loop import training_step
from lai_net.training.optimizer import build_optimizer
from lai_net.training.task import AnyTask

_LONGEST_SENTENCES = 64
"""To predict; more than one batch of any."""


@dataclass(frozen=True)
class Probe:
    """What a training needs.

    Attributes:
        meter: what measured: `cuda`, the allocator's own count, or `rss`, the growth of the process' resident
            memory, which stands in where there is no GPU.
        peak_bytes: highest that the allocator held, fragments included.
        context_bytes: what the process takes on the device beside it (CUDA's context); 0 under `rss`.
        capacity_bytes: of the device; under `rss` the machine's memory.
        step_s: median of ordinary training steps, in seconds.
        largest_step_s: median of steps of the largest batch.
        steps_per_epoch: of the training.
    """

    meter: str
    peak_bytes: int
    context_bytes: int
    capacity_bytes: int
    step_s: float
    largest_step_s: float
    steps_per_epoch: int


class Meter(Protocol):
    """Measures the peak of a device's memory since it was made."""

    name: str

    def peak_bytes(self) -> int:
        """Of the allocator."""

    def context_bytes(self) -> int:
        """Beside the allocator."""

    def capacity_bytes(self) -> int:
        """Of the device."""


class CudaMeter:
    """The current CUDA device, which nobody else should use meanwhile."""

    name = "cuda"

    def __init__(self) -> None:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def peak_bytes(self) -> int:
        """What was reserved, since a cap bounds that; it holds what is allocated."""
        return torch.cuda.max_memory_reserved()

    def context_bytes(self) -> int:
        """What is in use on the device beyond what this process' allocator holds."""
        free, total = torch.cuda.mem_get_info()
        return max(0, total - free - torch.cuda.memory_reserved())

    def capacity_bytes(self) -> int:
        """The card's memory."""
        return torch.cuda.mem_get_info()[1]


class RssMeter:
    """The kernel's high-water mark of this process' resident memory, less what was there; Linux only."""

    name = "rss"

    def __init__(self) -> None:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # sets the mark to what is resident now
        self._before = kernel_bytes("VmRSS")

    def peak_bytes(self) -> int:
        """Growth of the mark."""
        return max(1, kernel_bytes("VmHWM") - self._before)

    def context_bytes(self) -> int:
        """None: it is in the mark."""
        return 0

    def capacity_bytes(self) -> int:
        """The machine's memory."""
        return kernel_bytes("MemTotal", "/proc/meminfo")


def meter_of(device: torch.device) -> Meter:
    """That of a device, with its peak set to zero."""
    return CudaMeter() if device.type == "cuda" else RssMeter()


def probe(task: AnyTask, meter: Meter, sentences: Sequence[Sentence], steps: int) -> Probe:
    """Train and predict as a trial would, and throw the model away.

    Args:
        task: with its model just built, and training examples.
        meter: made before `task`.
        sentences: of the split that is predicted after each epoch; the longest are.
        steps: ordinary ones, and likewise of the largest batch.
    """
    optimizer = build_optimizer(task.model, task.config.training)

    def seconds(batches: Iterable[Iterator[Tensor]]) -> float:
        taken = []
        for losses in batches:
            begin = time.perf_counter()
            training_step(task.model, optimizer, losses, task.config.training.clip)
            taken.append(time.perf_counter() - begin)
        return statistics.median(taken)

    task.streams.start_epoch(1)
    task.model.train()
    # The optimizer's moments are there after the first step, so the second largest step sees the peak.
    largest_s = max(
        seconds(task.largest_step(cold=cold) for _ in range(max(2, steps))) for cold in (True, False)
    )
    step_s = seconds(itertools.islice(task.steps(1), steps))
    task.predict(sorted(sentences, key=lambda item: len(item.words))[-_LONGEST_SENTENCES:])
    return Probe(
        meter=meter.name,
        peak_bytes=meter.peak_bytes(),
        context_bytes=meter.context_bytes(),
        capacity_bytes=meter.capacity_bytes(),
        step_s=step_s,
        largest_step_s=largest_s,
        steps_per_epoch=task.steps_per_epoch,
    )

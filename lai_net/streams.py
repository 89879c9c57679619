"""Named random streams of a seed.

A stream is a function of (seed, name, epoch) alone. So what one part draws never shifts another (more GCN
layers leave the encoder's dropout and the data order as they are), and a run that resumes at an epoch's
start needs no stored generator. The only place that touches torch's global generators.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

DROPOUT_STREAMS = ("encoder", "heads", "graph")


class Streams:
    """The streams of one trial.

    Args:
        seed: the trial's.
        device: whose generator dropout draws from, beside the host's.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed = seed
        self._device = device
        self._states: dict[str, tuple[torch.Tensor, torch.Tensor | None]] = {}

    def generator(self, name: str, epoch: int = 0) -> np.random.Generator:
        """A fresh NumPy generator of a stream."""
        return np.random.default_rng(self._seed_of(name, epoch))

    def start_epoch(self, epoch: int) -> None:
        """Set every dropout stream to the start of an epoch (1-based)."""
        for name in DROPOUT_STREAMS:
            torch.manual_seed(self._seed_of(f"dropout/{name}", epoch))
            self._states[name] = self._current()

    @contextmanager
    def initialising(self, name: str) -> Iterator[None]:
        """Inside, torch draws from the initialisation stream of a part."""
        outside = self._current()
        torch.manual_seed(self._seed_of(f"init/{name}", 0))
        try:
            yield
        finally:
            self._restore(outside)

    @contextmanager
    def dropout(self, name: str) -> Iterator[None]:
        """Inside, torch draws from a dropout stream; before `start_epoch` nothing changes."""
        if name not in self._states:
            yield
            return
        outside = self._current()
        self._restore(self._states[name])
        try:
            yield
        finally:
            self._states[name] = self._current()
            self._restore(outside)

    @contextmanager
    def rehearsing(self) -> Iterator[None]:
        """Inside, dropout draws what it will draw again afterwards."""
        before = dict(self._states)
        try:
            yield
        finally:
            self._states = before

    def _seed_of(self, name: str, epoch: int) -> int:
        return int.from_bytes(hashlib.sha256(f"{self._seed}/{name}/{epoch}".encode()).digest()[:8], "little")

    def _current(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        on_device = torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None
        return torch.get_rng_state(), on_device

    def _restore(self, state: tuple[torch.Tensor, torch.Tensor | None]) -> None:
        torch.set_rng_state(state[0])
        if state[1] is not None:
            torch.cuda.set_rng_state(state[1], self._device)

"""When a run starts nothing new: after so many hours, or with so much on disk."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

_LOOK_EVERY_S = 30.0
"""Disk use is summed file by file, so not at every question."""


@dataclass
class RunBudget:
    """A run's bounds; None is no bound.

    Attributes:
        hours: of wall clock from the making of this object.
        disk_gib: of artefacts.
        used_gib: tells what they take; where it cannot (OSError), what it told before holds.
        clock: seconds, monotonic.
    """

    hours: float | None
    disk_gib: float | None
    used_gib: Callable[[], float]
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._started = self.clock()
        self._looked = -_LOOK_EVERY_S
        self._is_full = False

    def is_spent(self) -> bool:
        """Whether nothing new may start."""
        now = self.clock()
        if self.hours is not None and now - self._started >= 3600 * self.hours:
            return True
        if self.disk_gib is not None and now - self._looked >= _LOOK_EVERY_S:
            self._looked = now
            with contextlib.suppress(OSError):
                self._is_full = self.used_gib() >= self.disk_gib
        return self._is_full

    @property
    def advice(self) -> str:
        """Once it is spent, what to do."""
        if not self._is_full:
            return "the budget is spent, resume with the same call"
        return (
            f"the artefacts take budget.disk_gib = {self.disk_gib:g}: raise it, or keep fewer models "
            "(budget.keep_models), and resume with the same call"
        )

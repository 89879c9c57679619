"""What a run shows while it runs: a live bar on a terminal, plain lines where there is none; on stderr."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lai_net.doubts import SLOW_BF16
from tune.engine import Message, Sink, Task
from tune.failures import headline
from tune.planning.jobs import Evaluating, Training

_ETA_WINDOW_S = 3600.0


@dataclass
class ProgressSink:
    """Shows what passes through on its way to `inner`. Work is counted in epochs; an evaluation is one.

    Attributes:
        inner: told first.
        jobs: of this run, by key; a search adds to it as it goes.
        console: where to.
    """

    inner: Sink
    jobs: Mapping[str, Training | Evaluating]
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    best: dict[str, float] = field(default_factory=dict)
    """Highest F1 on the selection split so far, by dataset and phase."""

    def __post_init__(self) -> None:
        self._done_units: dict[str, int] = {}
        self._running: set[str] = set()
        self._slow_hosts: set[str] = set()
        self._num_ended = {"completed": 0, "failed": 0, "stopped": 0}
        self._bar: Progress | None = None
        self._row = TaskID(0)

    @contextlib.contextmanager
    def live(self) -> Iterator[Self]:
        """Keep the bar up, where the console is a terminal."""
        if not self.console.is_terminal:
            yield self
            return
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("epochs"), TimeRemainingColumn())
        with Progress(
            *columns,
            TextColumn("{task.description}", markup=False),
            console=self.console,
            speed_estimate_period=_ETA_WINDOW_S,
        ) as self._bar:
            self._row = self._bar.add_task(self.state, total=self._total())
            yield self

    @property
    def state(self) -> str:
        """One line: how many are done, running and failed, and the best so far."""
        ended = self._num_ended
        counts = (
            f"{ended['completed']}/{len(self.jobs)} jobs done, {len(self._running)} running, "
            f"{ended['failed']} failed tries"
        )
        if ended["stopped"]:
            counts += f", {ended['stopped']} stopped early"
        return "; ".join([counts, *(f"{name} best F1 {f1:.3f}" for name, f1 in sorted(self.best.items()))])

    def record(self, task: Task, message: Message) -> None:
        """Pass on, then show."""
        self.inner.record(task, message)
        job = self.jobs.get(task.key)
        if job is None:  # a measurement, no job of the run
            if message.event == "failed":
                reason = headline(message.content["error"], message.content["kind"])
                self._print(f"could not measure what trials take ({task.key}): {reason}")
            return
        if message.is_final:
            self._end(task.key, job, message)
        else:
            self._running.add(task.key)
        if message.event == "started":
            self._started(job, message)
        if message.event == "epoch":
            self._epoch(task.key, job, message)
        if self._bar is not None:
            done = sum(self._done_units.values())
            self._bar.update(self._row, completed=done, total=self._total(), description=self.state)

    def _total(self) -> int:
        return sum(map(_units, self.jobs.values()))

    def _started(self, job: Training | Evaluating, message: Message) -> None:
        """Warn once of each host that is slow in what it was asked for."""
        host, is_bf16 = message.content.get("host", ""), job.trial.config.training.precision == "bf16"
        if is_bf16 and not message.content.get("has_bf16", True) and host not in self._slow_hosts:
            self._slow_hosts.add(host)
            self._print(f"warning: {host} {SLOW_BF16}")

    def _epoch(self, key: str, job: Training | Evaluating, message: Message) -> None:
        row = job.trial.row
        name, f1 = f"{row.dataset} {row.phase}", message.content["dev"]["f1"]
        self.best[name] = max(f1, self.best.get(name, 0.0))
        self._done_units[key] = max(self._done_units.get(key, 0), message.content["epoch"])

    def _end(self, key: str, job: Training | Evaluating, message: Message) -> None:
        self._running.discard(key)
        self._num_ended[message.event] += 1
        if message.event in ("completed", "stopped"):
            self._done_units[key] = _units(job)
        if message.event == "failed":
            reason = headline(message.content["error"], message.content["kind"])
            self._print(f"failed try: {job}: {reason}")
        elif self._bar is None:
            took = f" in {message.content['wall_s']:.1f} s" if message.event == "completed" else ""
            self._print(f"{message.event}: {job}{took} ({self.state})")

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)


def _units(job: Training | Evaluating) -> int:
    return job.trial.config.training.epochs if isinstance(job, Training) else 1

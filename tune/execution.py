"""What a run executes: a study's open jobs as tasks, and what workers say about them as ledger records.

Artefacts lie at `<ledger's folder>/artifacts/<trial_id>/attempt-N/`.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tune.engine import Message, Task
from tune.identity import evaluation_id
from tune.ledger import EvaluationRow, Ledger, TrialRow
from tune.plan import SPLITS, EvaluationJob, Job, Jobs
from tune.task_spec import CorpusSource, EvaluateSpec, TrainSpec, spec_to_json

_DIED_EARLY: dict[str, Any] = {"device": None, "commit": None}
"""Provenance of an attempt whose worker died before it could say anything."""


@dataclass(frozen=True)
class Training:
    """A trial to train."""

    trial: Job
    needs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The trial's id."""
        return self.trial.row.trial_id

    def __str__(self) -> str:
        return f"{_describe(self.trial.row)} ({self.key})"


@dataclass(frozen=True)
class EndToEnd:
    """An RE trial to evaluate on the entities that an NER trial predicts."""

    row: TrialRow
    upstream_trial_id: str
    splits: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def key(self) -> str:
        """The two trials' ids."""
        return f"{self.row.trial_id}+{self.upstream_trial_id}"

    def __str__(self) -> str:
        return f"end-to-end evaluation of {_describe(self.row)} ({self.key})"


def _describe(row: TrialRow) -> str:
    """A trial in words."""
    fold = "" if row.fold is None else f" fold {row.fold}"
    return f"{row.dataset}{fold} {row.phase} seed {row.seed}"


def open_jobs(jobs: Jobs, ledger: Ledger) -> list[Training | EndToEnd]:
    """What the ledger lacks: trainings in the plan's order, then evaluations that join two trials.

    The evaluations of one trial alone come with its training.
    """
    remaining = jobs.remaining(ledger)
    trainings = [Training(trial) for trial in remaining.trials]
    missing = {training.key for training in trainings}
    rows = {trial.row.trial_id: trial.row for trial in jobs.trials}
    return [*trainings, *_end_to_end(remaining.evaluations, rows, missing)]


def _end_to_end(
    evaluations: Iterable[EvaluationJob], rows: Mapping[str, TrialRow], missing: set[str]
) -> Iterator[EndToEnd]:
    splits: dict[tuple[str, str], list[str]] = {}
    for evaluation in evaluations:
        if evaluation.upstream_trial_id is not None:
            pair = (evaluation.trial_id, evaluation.upstream_trial_id)
            splits.setdefault(pair, []).append(evaluation.split)
    for pair, names in splits.items():
        needs = tuple(trial_id for trial_id in pair if trial_id in missing)
        yield EndToEnd(rows[pair[0]], pair[1], tuple(names), needs)


@dataclass(frozen=True)
class Execution:
    """Makes tasks of jobs and records what comes back: a `tune.engine.Sink`.

    Attributes:
        ledger: open for writing.
        folder: the ledger's folder.
        corpora: by dataset and fold.
        gpus: share of a GPU of one trial.
    """

    ledger: Ledger
    folder: Path
    corpora: Mapping[tuple[str, int | None], CorpusSource]
    gpus: float
    _jobs: dict[str, Training | EndToEnd] = field(default_factory=dict)

    def make_task(self, job: Training | EndToEnd) -> Task:
        """The next try at a job."""
        self._jobs[job.key] = job
        if isinstance(job, EndToEnd):
            attempt, spec = 1, spec_to_json(self._evaluate_spec(job))
        else:
            attempt = self.ledger.next_attempt(job.key)
            spec = spec_to_json(self.train_spec(job.trial, attempt))
        return Task(job.key, attempt, spec)

    def record(self, task: Task, message: Message) -> None:
        """Commit a message; delete what became needless only after that."""
        job = self._jobs[task.key]
        if isinstance(job, EndToEnd):
            for row in _evaluation_rows(job.row.trial_id, job.upstream_trial_id, message):
                self.ledger.record_evaluation(row)
        elif message.event == "started":
            self.ledger.start_attempt(task.key, task.attempt, message.content)
        elif message.event == "epoch":
            self.ledger.record_epoch(task.key, task.attempt, message.content["epoch"], message.content)
        else:
            self._finish(task, message)

    def train_spec(self, trial: Job, attempt: int) -> TrainSpec:
        """What a worker needs to train a trial."""
        row = trial.row
        return TrainSpec(
            trial_id=row.trial_id,
            attempt=attempt,
            config=trial.config,
            seed=row.seed,
            corpus=self.corpora[row.dataset, row.fold],
            encoder_id=row.encoder_id,
            artifacts=str(self.folder / "artifacts"),
            splits=SPLITS,
            gpus=self.gpus,
            cwd=str(Path.cwd()),
        )

    def _evaluate_spec(self, job: EndToEnd) -> EvaluateSpec:
        return EvaluateSpec(
            model_dir=self._best(job.row.trial_id),
            upstream_dir=self._best(job.upstream_trial_id),
            corpus=self.corpora[job.row.dataset, job.row.fold],
            splits=job.splits,
            gpus=self.gpus,
            cwd=str(Path.cwd()),
        )

    def _best(self, trial_id: str) -> str:
        return str(self.folder / self.ledger.attempts(trial_id)[-1].artefacts["best"])

    def _finish(self, task: Task, message: Message) -> None:
        if self.ledger.next_attempt(task.key) == task.attempt:
            self.ledger.start_attempt(task.key, task.attempt, _DIED_EARLY)
        attempt_dir = Path("artifacts") / task.key / f"attempt-{task.attempt}"
        if message.event == "failed":
            self.ledger.finish_attempt(task.key, task.attempt, "failed", error=message.content["error"])
            return
        is_recorded = self.ledger.finish_attempt(
            task.key,
            task.attempt,
            "completed",
            cpu_s=message.content["cpu_s"],
            wall_s=message.content["wall_s"],
            artefacts={"best": (attempt_dir / "best").as_posix()},
            evaluations=_evaluation_rows(task.key, None, message),
        )
        if is_recorded:
            self._delete_stale(task)

    def _delete_stale(self, task: Task) -> None:
        trial_dir = self.folder / "artifacts" / task.key
        for number in range(1, task.attempt):
            shutil.rmtree(trial_dir / f"attempt-{number}", ignore_errors=True)
        shutil.rmtree(trial_dir / f"attempt-{task.attempt}" / "last", ignore_errors=True)


def _evaluation_rows(trial_id: str, upstream: str | None, message: Message) -> list[EvaluationRow]:
    return [
        EvaluationRow(
            evaluation_id=evaluation_id(trial_id, upstream, item["split"], item["entities"]),
            trial_id=trial_id,
            upstream_trial_id=upstream,
            split=item["split"],
            entities=item["entities"],
            scores=item["scores"],
            coverage=item["coverage"],
        )
        for item in message.content.get("evaluations", [])
    ]

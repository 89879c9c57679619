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
from tune.ledger import EvaluationRow, Ledger
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
        return f"{self.trial} ({self.key})"


@dataclass(frozen=True)
class Evaluating:
    """A trained trial to evaluate: an RE trial on the entities that an NER trial predicts, or one alone."""

    trial: Job
    upstream_trial_id: str | None
    splits: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def key(self) -> str:
        """The trials' ids."""
        return f"{self.trial.row.trial_id}+{self.upstream_trial_id or 'alone'}"

    @property
    def entities(self) -> str:
        """Whose entities it takes."""
        is_gold = self.trial.row.phase == "RE" and self.upstream_trial_id is None
        return "gold" if is_gold else "predicted"

    def __str__(self) -> str:
        kind = "evaluation" if self.upstream_trial_id is None else "end-to-end evaluation"
        return f"{kind} of {self.trial} ({self.key})"


def open_jobs(jobs: Jobs, ledger: Ledger) -> list[Training | Evaluating]:
    """What the ledger lacks: trainings in the plan's order, then evaluations.

    The evaluations of one trial alone come with its training, or, once their semantics were raised, by
    themselves.
    """
    remaining = jobs.remaining(ledger)
    trainings = [Training(trial) for trial in remaining.trials]
    missing = {training.key for training in trainings}
    trials = {trial.row.trial_id: trial for trial in jobs.trials}
    return [*trainings, *_end_to_end(remaining.evaluations, trials, missing)]


def _end_to_end(
    evaluations: Iterable[EvaluationJob], trials: Mapping[str, Job], missing: set[str]
) -> Iterator[Evaluating]:
    splits: dict[tuple[str, str | None], list[str]] = {}
    for evaluation in evaluations:
        if evaluation.upstream_trial_id is not None or evaluation.trial_id not in missing:
            pair = (evaluation.trial_id, evaluation.upstream_trial_id)
            splits.setdefault(pair, []).append(evaluation.split)
    for pair, names in splits.items():
        needs = tuple(trial_id for trial_id in pair if trial_id in missing)
        yield Evaluating(trials[pair[0]], pair[1], tuple(names), needs)


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
    _jobs: dict[str, Training | Evaluating] = field(default_factory=dict)

    def make_task(self, job: Training | Evaluating) -> Task:
        """The next try at a job."""
        self._jobs[job.key] = job
        if isinstance(job, Evaluating):
            attempt, spec = 1, spec_to_json(self._evaluate_spec(job))
        else:
            attempt = self.ledger.next_attempt(job.key)
            spec = spec_to_json(self.train_spec(job.trial, attempt))
        return Task(job.key, attempt, spec)

    def record(self, task: Task, message: Message) -> None:
        """Commit a message; delete what became needless only after that."""
        job = self._jobs[task.key]
        if isinstance(job, Evaluating):
            results = _results(job, message)
            for row in _evaluation_rows(job.trial.row.trial_id, job.upstream_trial_id, results):
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

    def _evaluate_spec(self, job: Evaluating) -> EvaluateSpec:
        return EvaluateSpec(
            model_dir=self._best(job.trial.row.trial_id),
            upstream_dir=None if job.upstream_trial_id is None else self._best(job.upstream_trial_id),
            corpus=self.corpora[job.trial.row.dataset, job.trial.row.fold],
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
        if message.event == "stopped":
            self.prune(task.key, task.attempt)
            return
        is_recorded = self.ledger.finish_attempt(
            task.key,
            task.attempt,
            "completed",
            cpu_s=message.content["cpu_s"],
            wall_s=message.content["wall_s"],
            artefacts={"best": (attempt_dir / "best").as_posix()},
            evaluations=_evaluation_rows(task.key, None, message.content["evaluations"]),
        )
        if is_recorded:
            self._delete_stale(task.key, task.attempt)

    def prune(self, trial_id: str, attempt: int) -> None:
        """Record that a trial was ended early. Its numbers stay, its files go."""
        if self.ledger.finish_attempt(trial_id, attempt, "pruned"):
            shutil.rmtree(self.folder / "artifacts" / trial_id, ignore_errors=True)

    def delete_all_stale(self) -> None:
        """Delete what a driver that was killed at that left of completed trials."""
        for trial_id, attempt in self.ledger.newest_attempts().items():
            if attempt.status == "completed":
                self._delete_stale(trial_id, attempt.attempt)

    def _delete_stale(self, trial_id: str, attempt: int) -> None:
        trial_dir = self.folder / "artifacts" / trial_id
        for number in range(1, attempt):
            shutil.rmtree(trial_dir / f"attempt-{number}", ignore_errors=True)
        shutil.rmtree(trial_dir / f"attempt-{attempt}" / "last", ignore_errors=True)


def _results(job: Evaluating, message: Message) -> list[dict[str, Any]]:
    """What an evaluation's message says of its splits: scores, an error, or nothing."""
    if message.event != "failed":
        return list(message.content.get("evaluations", ()))
    failed = {"entities": job.entities, "scores": [], "coverage": {}, "error": message.content["error"]}
    return [{"split": split, **failed} for split in job.splits]


def _evaluation_rows(
    trial_id: str, upstream: str | None, results: Iterable[dict[str, Any]]
) -> list[EvaluationRow]:
    return [
        EvaluationRow(
            evaluation_id=evaluation_id(trial_id, upstream, item["split"], item["entities"]),
            trial_id=trial_id,
            upstream_trial_id=upstream,
            split=item["split"],
            entities=item["entities"],
            scores=item["scores"],
            coverage=item["coverage"],
            error=item.get("error"),
        )
        for item in results
    ]

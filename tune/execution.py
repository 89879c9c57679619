"""What a run executes: a study's open jobs as tasks, and what workers say about them as ledger records.

Artefacts lie at `<ledger's folder>/artifacts/<trial_id>/attempt-N/`, or in an object store.
"""

import functools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lai_net.errors import InputError
from tune.artefacts.port import FOLDER as ARTEFACTS
from tune.artefacts.port import Storage, attempt_name
from tune.artefacts.storage import storage_of
from tune.engine import Message, Placement, Task, is_out_of_memory
from tune.fault_points import reach
from tune.ledger.ledger import Ledger
from tune.ledger.rows import AttemptRow, EvaluationRow, ProbeRow
from tune.packing.needs import too_large
from tune.packing.shape import shape_id
from tune.planning.jobs import Evaluating, Training
from tune.planning.plan import SPLITS, IdentifiedPlan, IdentifiedTrial
from tune.planning.retention import NOT_KEPT, STUDY, Retention
from tune.planning.trained_model import lost_models, model_place, told_once
from tune.spec.identity import evaluation_id
from tune.task_spec import CorpusSource, EvaluateSpec, ProbeSpec, TrainSpec, spec_to_json

_DIED_EARLY: dict[str, Any] = {"device": None, "commit": None}
"""Provenance of an attempt whose worker died before it could say anything."""


@dataclass(frozen=True)
class Execution:
    """Makes tasks of jobs and records what comes back: a `tune.engine.Sink`.

    Attributes:
        ledger: open for writing.
        folder: the ledger's folder.
        corpora: by dataset and fold.
        share: of a GPU of one trial that is given no other.
        logical_gpus: of this machine, where it may have none; 0 where GPUs must be real.
        models: the folder of the ledger that the models are of; None where that is `folder`.
        retention: tells which models may go.
    """

    ledger: Ledger
    folder: Path
    corpora: Mapping[tuple[str, int | None], CorpusSource]
    share: float
    logical_gpus: int = 0
    models: Path | None = None
    retention: Retention = field(default_factory=lambda: Retention("", "all", IdentifiedPlan((), ())))
    _jobs: dict[str, Training | Evaluating] = field(default_factory=dict)

    @functools.cached_property
    def storage(self) -> Storage:
        """Where the artefacts lie."""
        return storage_of(self.folder)

    def check(self, jobs: Collection[Training | Evaluating]) -> None:
        """Refuse now what would be refused later: a job needs the model of a trial that is not there.

        Raises:
            InputError: a trial whose model is needed is neither done nor among the jobs, or it is gone.
        """
        needed: dict[str, None] = {}
        for job in jobs:
            if isinstance(job, Training):
                entities = job.trial.config.training.selection_entities
                needed |= {} if entities == "gold" else {entities: None}
            else:
                needed |= dict.fromkeys(job.trial_ids)
        trained = {job.key for job in jobs if isinstance(job, Training)}
        self.check_models(trial_id for trial_id in needed if trial_id not in trained)

    def check_models(self, trial_ids: Iterable[str]) -> None:
        """Refuse trials that are not done, or whose models are gone: not kept, or from their folder.

        Raises:
            InputError: one is.
        """
        lost = lost_models(map(self._completed, trial_ids), self._model_storage)
        if lost:
            raise InputError(told_once(lost))

    def make_task(self, job: Training | Evaluating) -> Task:
        """The next try at a job."""
        self._jobs[job.key] = job
        return self._task(job, None)

    def placed(self, key: str, placement: Placement) -> Task:
        """The next try at a job that was made a task before, with its own share of a device."""
        return self._task(self._jobs[key], placement)

    def shape_of(self, key: str) -> str:
        """The shape of a job's trial; an evaluation takes no more than its training."""
        trial = self._jobs[key].trial
        return shape_id(trial.config, trial.row.dataset, trial.row.encoder_id)

    def probe(self, key: str, placement: Placement) -> Task:
        """A measurement of what a job needs."""
        trial, shape = self._jobs[key].trial, self.shape_of(key)
        spec = ProbeSpec(
            shape_id=shape,
            device_type=placement.device_type,
            config=trial.config,
            encoder_id=trial.row.encoder_id,
            **self._common(trial, placement),
        )
        return Task(f"probe of {shape} on {placement.device_type}", 1, spec_to_json(spec), placement)

    def refuse(self, key: str, message: Message) -> None:
        """Record that a job fails without a try: as an attempt that no worker had."""
        self.record(self._task(self._jobs[key], None), message)

    def _task(self, job: Training | Evaluating, placement: Placement | None) -> Task:
        if isinstance(job, Evaluating):
            return Task(job.key, 1, spec_to_json(self._evaluate_spec(job, placement)), placement)
        attempt = self.ledger.next_attempt(job.key)
        spec = self._train_spec(job.trial, attempt, placement)
        return Task(job.key, attempt, spec_to_json(spec), placement)

    def record(self, task: Task, message: Message) -> None:
        """Commit a message; delete what became needless only after that."""
        job = self._jobs.get(task.key)
        if job is None:
            if message.event == "completed":
                self.ledger.record_probe(ProbeRow(**message.content["probe"]))
        elif isinstance(job, Evaluating):
            results = _results(job, message)
            for row in _evaluation_rows(job.trial.row.trial_id, job.upstream_trial_id, results):
                self.ledger.record_evaluation(row)
                self._forget(self.retention.evaluated(row))
        elif message.event == "started":
            self.ledger.start_attempt(task.key, task.attempt, {**message.content, **self._given(task)})
        elif message.event == "epoch":
            self.ledger.record_epoch(task.key, task.attempt, message.content["epoch"], message.content)
        else:
            self._finish(task, message)

    def _given(self, task: Task) -> dict[str, Any]:
        """Provenance: the study, and the share of a device where that is not the study's own."""
        study = {STUDY: self.retention.study}
        if task.placement is None:
            return study
        placement = {"share": task.placement.share, "device_type": task.placement.device_type}
        return {**study, "packing": {"shape_id": self.shape_of(task.key), **placement}}

    def _train_spec(self, trial: IdentifiedTrial, attempt: int, placement: Placement | None) -> TrainSpec:
        row, entities = trial.row, trial.config.training.selection_entities
        return TrainSpec(
            trial_id=row.trial_id,
            attempt=attempt,
            config=trial.config,
            seed=row.seed,
            encoder_id=row.encoder_id,
            upstream_dir=None if entities == "gold" else self._best(entities),
            artefacts=self.storage.place(""),
            splits=SPLITS,
            **self._common(trial, placement),
        )

    def _evaluate_spec(self, job: Evaluating, placement: Placement | None) -> EvaluateSpec:
        return EvaluateSpec(
            model_dir=self._best(job.trial.row.trial_id),
            upstream_dir=None if job.upstream_trial_id is None else self._best(job.upstream_trial_id),
            entities=job.entities,
            splits=job.splits,
            **self._common(job.trial, placement),
        )

    def _common(self, trial: IdentifiedTrial, placement: Placement | None) -> dict[str, Any]:
        """What every spec says; a fixed share of a device is a cap, too."""
        given = placement or Placement(self.share, cap=self.share if 0 < self.share < 1 else 1.0)
        return {
            "corpus": self.corpora[trial.row.dataset, trial.row.fold],
            "share": given.share,
            "logical_gpus": self.logical_gpus,
            "memory_cap": given.cap,
            "cwd": str(Path.cwd()),
        }

    def _best(self, trial_id: str) -> str:
        """Where a finished trial's model lies.

        Raises:
            InputError: the trial is not finished, or its model was not kept.
        """
        return model_place(self._completed(trial_id), self._model_storage)

    def _completed(self, trial_id: str) -> AttemptRow:
        """The attempt that completed a trial."""
        if self.ledger.status(trial_id) != "completed":
            raise InputError(f"trial {trial_id} is needed, but not completed in the ledger; run it first")
        return self.ledger.attempts(trial_id)[-1]

    @property
    def _model_storage(self) -> Storage:
        return self.storage if self.models is None else storage_of(self.models)

    def _finish(self, task: Task, message: Message) -> None:
        if self.ledger.next_attempt(task.key) == task.attempt:
            self.ledger.start_attempt(task.key, task.attempt, {**_DIED_EARLY, **self._given(task)})
        if message.event == "failed":
            error = _with_share(message.content["error"], task.placement)
            kind = message.content["kind"]
            self.ledger.finish_attempt(task.key, task.attempt, "failed", error=error, failure=kind)
            return
        if message.event == "stopped":
            self.prune(task.key, task.attempt)
            return
        rows = _evaluation_rows(task.key, None, message.content["evaluations"])
        is_recorded = self.ledger.finish_attempt(
            task.key,
            task.attempt,
            "completed",
            cpu_s=message.content["cpu_s"],
            wall_s=message.content["wall_s"],
            artefacts={"best": f"{ARTEFACTS}/{attempt_name(task.key, task.attempt)}/best"},
            evaluations=rows,
        )
        if is_recorded:
            self._delete(_superseded(task.key, task.attempt))
            self._forget(self.retention.completed(self._jobs[task.key].trial, rows))

    def prune(self, trial_id: str, attempt: int) -> None:
        """Record that a trial was ended early. Its numbers stay, its files go."""
        if self.ledger.finish_attempt(trial_id, attempt, "pruned"):
            self._delete([trial_id])

    def delete_all_stale(self) -> None:
        """Delete what a driver that was killed at that left of trials that are over, and models to go."""
        stale: list[str] = []
        for trial_id, attempt in self.ledger.newest_attempts().items():
            if attempt.status == "pruned" or NOT_KEPT in attempt.provenance:
                stale.append(trial_id)
            elif attempt.status == "completed":
                stale += _superseded(trial_id, attempt.attempt)
        if stale:
            self._delete(stale)
        self._forget(self.retention.take_stock(self.ledger))

    def _forget(self, trial_ids: Iterable[str]) -> None:
        """Delete models; the ledger says so first, so that none is missed or half there."""
        for trial_id in trial_ids:
            attempt = self.ledger.next_attempt(trial_id) - 1
            self.ledger.forget_model(trial_id, attempt, self.retention.why)
            self._delete([trial_id])

    def _delete(self, names: Iterable[str]) -> None:
        reach("files.delete")
        self.storage.delete(names)


def _superseded(trial_id: str, attempt: int) -> list[str]:
    """The folders that a completed attempt makes needless."""
    return [attempt_name(trial_id, number) for number in range(1, attempt)]


def _with_share(error: str, placement: Placement | None) -> str:
    """What an attempt died of; where that is memory, with the share that was too small, or what to do."""
    if placement is None or not is_out_of_memory(error):
        return error
    too_small = f"at {placement.share:g} of a device ({placement.device_type})"
    why = too_large(placement.device_type) if placement.share == 1 else too_small
    return f"{error.rstrip()}\nOutOfMemoryError: {why}"


def _results(job: Evaluating, message: Message) -> list[dict[str, Any]]:
    """What an evaluation's message says of its splits: scores, an error, or nothing."""
    if message.event != "failed":
        return list(message.content.get("evaluations", ()))
    why = {"error": message.content["error"], "failure": message.content["kind"]}
    failed = {"entities": job.entities, "scores": [], "coverage": {}, **why}
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
            failure=item.get("failure"),
            documents=item.get("documents", []),
        )
        for item in results
    ]

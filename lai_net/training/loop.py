"""The training loop of both phases: a generator that yields one report an epoch, after its checkpoint."""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lai_net.errors import DivergedError, InputError
from lai_net.metrics.scoring import Scores
from lai_net.training.checkpoint import (
    TrainingState,
    adopt,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
    save_model,
)
from lai_net.training.optimizer import LinearSchedule, build_optimizer
from lai_net.training.task import Task

BEST, _HISTORY = "best", "history.json"


@dataclass(frozen=True)
class EpochReport:
    """What an epoch gave.

    Attributes:
        epoch: 1-based.
        num_epochs: of the whole training.
        loss: mean over the epoch's steps.
        dev: precision, recall and f1 in 0-1 on the split of `training.selection`, dev by default.
        filter_recall: share of that split's reachable gold spans that the filter kept; None without one.
        cpu_s: CPU seconds of this process for the epoch and its evaluation.
        wall_s: wall-clock seconds likewise.
    """

    epoch: int
    num_epochs: int
    loss: float
    dev: dict[str, float]
    filter_recall: float | None
    cpu_s: float
    wall_s: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


Evaluate = Callable[[], tuple[Scores, float | None]]


def train(
    task: Task,
    evaluate: Evaluate,
    work_dir: Path,
    *,
    resume_from: Sequence[Path],
    description: dict[str, Any],
) -> Iterator[EpochReport]:
    """Train to the last epoch, from wherever an earlier attempt stopped.

    Epochs that are already done are reported again from the checkpoint's history. After the last report
    `work_dir/best` holds the model of the selected epoch.

    Args:
        task: the phase with its model.
        evaluate: scores the model on the selection split; second value is the filter's recall.
        work_dir: the only folder written to.
        resume_from: folders of earlier attempts, read only.
        description: stored beside the best model.

    Raises:
        DivergedError: the loss is not finite.
        InputError: `work_dir` holds another training.
    """
    _claim(work_dir, description)
    folders = [work_dir, *resume_from]
    finished = next((folder for folder in folders if (folder / BEST / _HISTORY).is_file()), None)
    if finished is not None:
        if finished != work_dir:
            adopt(finished / BEST, work_dir / BEST)
        for report in json.loads((work_dir / BEST / _HISTORY).read_text()):
            yield EpochReport(**report)
        return
    settings = task.config.training
    optimizer = build_optimizer(task.model, settings)
    schedule = LinearSchedule(optimizer, task.steps_per_epoch * settings.epochs, settings.warmup)
    state = _resume(task, optimizer, work_dir, folders)
    for report in state.history:
        yield EpochReport(**report)
    for epoch in range(state.epoch + 1, settings.epochs + 1):
        report = _run_epoch(task, optimizer, schedule, evaluate, epoch)
        state = _after_epoch(state, report, task.config.cold_epochs)
        if state.best_epoch == epoch:
            save_model(task.model, _best_folder(work_dir, epoch), description)
        save_checkpoint(work_dir, task.model, optimizer, state)
        _remove_all(
            path for path in work_dir.glob("best-*") if path != _best_folder(work_dir, state.best_epoch)
        )
        yield report
    _finish(work_dir, state)


def _claim(work_dir: Path, description: dict[str, Any]) -> None:
    """Mark the folder as this training's; another one must not go on from its checkpoints."""
    work_dir.mkdir(parents=True, exist_ok=True)
    owner = work_dir / "training.json"
    text = json.dumps(description, indent=1)
    if not owner.exists():
        temporary = owner.with_name(f".{owner.name}")
        temporary.write_text(text)
        temporary.rename(owner)
    elif owner.read_text() != text:
        raise InputError(
            f"{work_dir}: holds a training with another config, seed, corpus or encoder; give another folder"
        )


def _resume(
    task: Task, optimizer: torch.optim.Optimizer, work_dir: Path, folders: Sequence[Path]
) -> TrainingState:
    found = newest_checkpoint(folders)
    if found is None:
        return TrainingState()
    path, state = found
    if state.best_epoch and path.parent != work_dir:
        adopt(_best_folder(path.parent, state.best_epoch), _best_folder(work_dir, state.best_epoch))
    load_checkpoint(path, task.model, optimizer)
    return state


def _run_epoch(
    task: Task,
    optimizer: torch.optim.Optimizer,
    schedule: LinearSchedule,
    evaluate: Evaluate,
    epoch: int,
) -> EpochReport:
    cpu, wall = time.process_time(), time.perf_counter()
    task.streams.start_epoch(epoch)
    task.model.train()
    first = (epoch - 1) * task.steps_per_epoch
    total = 0.0
    for step, loss in enumerate(task.losses(epoch), start=first):
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergedError(f"loss is {value} at step {step} of epoch {epoch}; lower the learning rates")
        total += value
        schedule.set_step(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), task.config.training.clip)
        optimizer.step()
    scores, filter_recall = evaluate()
    return EpochReport(
        epoch=epoch,
        num_epochs=task.config.training.epochs,
        loss=total / task.steps_per_epoch,
        dev=scores.as_dict(),
        filter_recall=filter_recall,
        cpu_s=time.process_time() - cpu,
        wall_s=time.perf_counter() - wall,
    )


def _after_epoch(state: TrainingState, report: EpochReport, cold_epochs: int) -> TrainingState:
    """The earliest epoch with the highest F1 is selected; epochs of the cold start are not eligible."""
    better = report.epoch > cold_epochs and report.dev["f1"] > state.best_f1
    return TrainingState(
        epoch=report.epoch,
        best_epoch=report.epoch if better else state.best_epoch,
        best_f1=report.dev["f1"] if better else state.best_f1,
        history=(*state.history, report.as_dict()),
    )


def _best_folder(work_dir: Path, epoch: int) -> Path:
    return work_dir / f"best-{epoch:04d}"


def _finish(work_dir: Path, state: TrainingState) -> None:
    """Turn the best epoch's folder into `best`; its history marks the training as done."""
    best = _best_folder(work_dir, state.best_epoch)
    (best / f".{_HISTORY}").write_text(json.dumps(state.history))
    (best / f".{_HISTORY}").rename(best / _HISTORY)
    best.rename(work_dir / BEST)
    _remove_all(work_dir.glob("epoch-*"))


def _remove_all(folders: Iterable[Path]) -> None:
    for folder in list(folders):
        shutil.rmtree(folder)

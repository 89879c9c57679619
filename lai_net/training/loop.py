"""The training loop of both phases: a generator that yields one report an epoch, after its checkpoint."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lai_net.errors import DivergedError
from lai_net.metrics.scoring import Scores
from lai_net.model.backward_order import go_back_by_layer
from lai_net.training.checkpoint import (
    BEST,
    TrainingState,
    adopt,
    best_folder,
    finish,
    finished_history,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
    save_model,
)
from lai_net.training.optimizer import LinearSchedule, build_optimizer
from lai_net.training.task import AnyTask


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


Evaluate = Callable[[], tuple[Scores, float | None]]


def train(
    task: AnyTask,
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
    """
    folders = [work_dir, *resume_from]
    for folder in folders:
        history = finished_history(folder)
        if history is not None:
            if folder != work_dir:
                adopt(folder / BEST, work_dir / BEST)
            yield from (EpochReport(**report) for report in history)
            return
    settings = task.config.training
    optimizer = build_optimizer(task.model, settings)
    schedule = LinearSchedule(optimizer, task.steps_per_epoch * settings.epochs, settings.warmup)
    state = _resume(task, optimizer, work_dir, folders)
    yield from (EpochReport(**report) for report in state.history)
    for epoch in range(state.epoch + 1, settings.epochs + 1):
        report = _run_epoch(task, optimizer, schedule, evaluate, epoch)
        state = _after_epoch(state, report, task.config.cold_epochs)
        if state.best_epoch == epoch:
            save_model(task.model, best_folder(work_dir, epoch), description)
        save_checkpoint(work_dir, task.model, optimizer, state)
        yield report
    finish(work_dir, state)


def _resume(
    task: AnyTask, optimizer: torch.optim.Optimizer, work_dir: Path, folders: Sequence[Path]
) -> TrainingState:
    found = newest_checkpoint(folders)
    if found is None:
        return TrainingState()
    path, state = found
    if state.best_epoch and path.parent != work_dir:
        adopt(best_folder(path.parent, state.best_epoch), best_folder(work_dir, state.best_epoch))
    load_checkpoint(path, task.model, optimizer)
    return state


def _run_epoch(
    task: AnyTask,
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
    for step, losses in enumerate(task.steps(epoch), start=first):
        schedule.set_step(step)
        try:
            total += training_step(task.model, optimizer, losses, task.config.training.clip)
        except DivergedError as error:
            where = f"at step {step} of epoch {epoch}"
            raise DivergedError(f"{error} {where}; lower training.encoder_lr or training.head_lr") from None
    scores, filter_recall = evaluate()
    return EpochReport(
        epoch=epoch,
        num_epochs=task.config.training.epochs,
        loss=total / task.steps_per_epoch,
        dev=asdict(scores),
        filter_recall=filter_recall,
        cpu_s=time.process_time() - cpu,
        wall_s=time.perf_counter() - wall,
    )


def training_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, losses: Iterable[Tensor], clip: float
) -> float:
    """One update of the weights.

    Args:
        model: that is trained.
        optimizer: of its parameters.
        losses: of the step's micro-batches; each is computed only after the one before it has been used, so
            that the activations of one alone are held.
        clip: bound of the gradient's norm.

    Returns:
        Their sum, the loss of the step.

    Raises:
        DivergedError: a loss, or the gradient, is not finite; the weights are as they were.
    """
    optimizer.zero_grad(set_to_none=True)
    values = []
    for loss in losses:
        go_back_by_layer(loss)
        loss.backward()
        values.append(loss.detach())
    clipped = nn.utils.clip_grad_norm_(model.parameters(), clip)
    total = 0.0
    for value in map(float, values):  # now only, since on a GPU the host waits for them
        if not math.isfinite(value):
            raise DivergedError(f"loss is {value}")
        total += value
    norm = float(clipped)
    if not math.isfinite(norm):
        raise DivergedError(f"the gradient's norm is {norm}")
    optimizer.step()
    return total


def _after_epoch(state: TrainingState, report: EpochReport, cold_epochs: int) -> TrainingState:
    """The earliest epoch with the highest F1 is selected; epochs of the cold start are not eligible."""
    better = report.epoch > cold_epochs and report.dev["f1"] > state.best_f1
    return TrainingState(
        epoch=report.epoch,
        best_epoch=report.epoch if better else state.best_epoch,
        best_f1=report.dev["f1"] if better else state.best_f1,
        history=(*state.history, asdict(report)),
    )

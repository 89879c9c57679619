"""What a worker does with one task: the executor of real runs.

A worker process serves many tasks. What costs seconds (torch, a corpus, an encoder's hash) is loaded at first
use and kept; whatever a task could leave behind for the next one is reset before each.
"""

import functools
import gc
import os
import random
import socket
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lai_net.config import EntitySource
from lai_net.encoder_files import encoder_id
from lai_net.errors import InputError
from lai_net.process_memory import hand_back
from lai_net.schema import Corpus
from tune.artefacts.port import Attempt
from tune.artefacts.storage import model_folder, storage_at
from tune.engine import MachineFaultError, Message
from tune.provenance import provenance
from tune.task_spec import CorpusSource, EvaluateSpec, ProbeSpec, Spec, TrainSpec, spec_from_json

if TYPE_CHECKING:
    from lai_net.training.features import Carrier, FeatureStore


def execute(
    spec: str,
    find_corpus: Callable[[CorpusSource], Corpus] | None = None,
    carrier: "Carrier | None" = None,
) -> Iterator[Message]:
    """Run one task, a `tune.engine.Executor`.

    Nothing is written before the first message, which opens the attempt in the ledger, is acknowledged.

    Args:
        spec: the task.
        find_corpus: gives the corpus that was planned with; None reads its files.
        carrier: of states of frozen encoders; None reads them from the artefacts' folder.

    Raises:
        MachineFaultError: corpus or encoder are not those that were planned with, or the GPU that the task
            was given is neither seen by torch nor only counted.
    """
    task = spec_from_json(spec)
    started_cpu_s, started_s = time.process_time(), time.perf_counter()
    device = _reset_process(task)
    yield Message("started", provenance(device))
    corpus = (find_corpus or load_planned_corpus)(task.corpus)
    if isinstance(task, ProbeSpec):
        _check_encoder(task.config.encoder.name, task.encoder_id)
        yield Message("completed", {"probe": _probe(task, corpus, device)})
        return
    if isinstance(task, TrainSpec):
        _check_encoder(task.config.encoder.name, task.encoder_id)
        evaluations = yield from _train(task, corpus, device, carrier)
    else:
        model_dir, upstream_dir = model_folder(task.model_dir), _upstream(task)
        evaluations = [
            _evaluate(model_dir, upstream_dir, task.entities, split, corpus, device, None)
            for split in task.splits
        ]
    cpu_s, wall_s = time.process_time() - started_cpu_s, time.perf_counter() - started_s
    yield Message("completed", {"evaluations": evaluations, "cpu_s": cpu_s, "wall_s": wall_s})


@functools.lru_cache(maxsize=16)
def load_planned_corpus(planned: CorpusSource) -> Corpus:
    """The corpus, kept in the process.

    Raises:
        MachineFaultError: it cannot be read here, or its content is not what the study was planned with.
    """
    try:
        corpus = planned.load()
    except InputError as error:  # it could where the study was planned
        raise MachineFaultError(str(error)) from error
    if corpus.content_id != planned.content_id:
        raise MachineFaultError(
            f"corpus {planned.name} at {planned.source}: its content on this machine is not what was planned "
            "with; give every node the same files and call again"
        )
    return corpus


def cuda_problem() -> str:
    """What keeps trials, which take a GPU, from this machine, or nothing."""
    from lai_net.device import missing_cuda

    if not (reason := missing_cuda()):
        return ""
    return (
        f"has no GPU that torch sees ({reason}), though trials take one; install a torch that its driver "
        "takes, or, in the study's [resources], leave gpus_per_trial out or say by `gpus` that GPUs are only "
        "counted"
    )


def _train(
    task: TrainSpec, corpus: Corpus, device: str, carrier: "Carrier | None"
) -> Generator[Message, None, list[dict[str, object]]]:
    """Train and evaluate alone; each epoch is published before it is told, the selected model at the end."""
    from lai_net.training.features import FeatureStore

    storage = storage_at(task.artefacts)
    features = FeatureStore(storage.features, carrier)
    with storage.attempt(task.trial_id, task.attempt) as attempt:
        yield from _epochs(task, attempt, corpus, device, features)
        evaluations = [
            _evaluate(attempt.folder / "best", None, entities, split, corpus, device, features)
            for entities in task.config.evaluated_on
            for split in task.splits
        ]
        attempt.publish()
    return evaluations


def _epochs(
    task: TrainSpec, attempt: Attempt, corpus: Corpus, device: str, features: "FeatureStore"
) -> Iterator[Message]:
    from lai_net.pipeline import train_trial

    reports = train_trial(
        task.config,
        task.seed,
        corpus,
        attempt.folder,
        resume_from=attempt.earlier,
        upstream_dir=_upstream(task),
        device=device,
        features=features,
    )
    for report in reports:
        attempt.publish()
        yield Message("epoch", asdict(report))


def _upstream(task: TrainSpec | EvaluateSpec) -> Path | None:
    return None if task.upstream_dir is None else model_folder(task.upstream_dir)


def _evaluate(
    model_dir: Path,
    upstream_dir: Path | None,
    entities: EntitySource,
    split: str,
    corpus: Corpus,
    device: str,
    features: "FeatureStore | None",
) -> dict[str, object]:
    from lai_net.pipeline import evaluate_trial

    typed = entities == "gold_typed_by_model"
    found = evaluate_trial(
        model_dir, corpus, split, upstream_dir=upstream_dir, typed=typed, device=device, features=features
    )
    return asdict(found)


def _probe(task: ProbeSpec, corpus: Corpus, device: str) -> dict[str, object]:
    """What the ledger stores of a measurement; a counted GPU stands for its part of the machine's memory."""
    from lai_net.pipeline import probe_trial

    found = asdict(probe_trial(task.config, corpus, device=device))
    if device == "cpu":
        found["capacity_bytes"] //= task.logical_gpus
    return {"shape_id": task.shape_id, "device_type": task.device_type, **found}


def _check_encoder(name: str, planned_id: str) -> None:
    try:
        found = encoder_id(name)
    except InputError as error:  # it was there where the study was planned
        raise MachineFaultError(str(error)) from error
    if found != planned_id:
        raise MachineFaultError(
            f"encoder {name}: its files on this machine are not those that were planned with; "
            "give every node the same files and call again"
        )


def _reset_process(task: Spec) -> str:
    """Undo what an earlier task may have left; returns the task's device.

    One torch thread: trials side by side are faster than threads in a trial, and sums keep their order.
    """
    import torch

    if Path(task.cwd).is_dir():
        os.chdir(task.cwd)
    _release_memory()
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global generator is what may have leaked
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    torch.clear_autocast_cache()
    return _device(task)


def _device(task: Spec) -> str:
    """The CPU, or the GPU that the task was given, emptied and with its cap."""
    import torch

    from lai_net.device import keep_sums_in_order

    if task.share == 0:
        return "cpu"
    if problem := cuda_problem():
        if task.logical_gpus > 0:
            return "cpu"
        raise MachineFaultError(f"{socket.gethostname()} {problem}")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(task.memory_cap)
    keep_sums_in_order("cuda")
    return "cuda"


def _release_memory() -> None:
    """Give back what is freed: of many shapes' tensors it would be gigabytes."""
    gc.collect()
    hand_back()

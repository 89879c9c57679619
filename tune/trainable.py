"""What a worker does with one task: the executor of real runs.

A worker process serves many tasks. What costs seconds (torch, a corpus, an encoder's hash) is loaded at first
use and kept; whatever a task could leave behind for the next one is reset before each.
"""

import ctypes
import functools
import gc
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lai_net.config import EntitySource
from lai_net.corpora.loading import load_corpus
from lai_net.encoder_files import encoder_id
from lai_net.errors import InputError
from lai_net.schema import Corpus
from tune.artefacts import FEATURES
from tune.engine import Message
from tune.provenance import provenance
from tune.task_spec import CorpusSource, ProbeSpec, Spec, TrainSpec, spec_from_json

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
        InputError: corpus or encoder are not those that were planned with.
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
        features = _features(task, carrier)
        yield from _train(task, corpus, device, features)
        model_dir, upstream_dir, sources = attempt_dir(task) / "best", None, task.config.evaluated_on
    else:
        features = None
        model_dir, sources = Path(task.model_dir), (task.entities,)
        upstream_dir = None if task.upstream_dir is None else Path(task.upstream_dir)
    evaluations = [
        _evaluate(model_dir, upstream_dir, entities, split, corpus, device, features)
        for entities in sources
        for split in task.splits
    ]
    cpu_s, wall_s = time.process_time() - started_cpu_s, time.perf_counter() - started_s
    yield Message("completed", {"evaluations": evaluations, "cpu_s": cpu_s, "wall_s": wall_s})


@functools.lru_cache(maxsize=16)
def load_planned_corpus(planned: CorpusSource) -> Corpus:
    """The corpus, kept in the process.

    Raises:
        InputError: its content is not what the study was planned with.
    """
    corpus = load_corpus(
        planned.source,
        name=planned.name,
        format=planned.format,
        annotations=planned.annotations,
        fold=planned.fold,
        overlapping_relations=planned.overlapping_relations,
    )
    if corpus.content_id != planned.content_id:
        raise InputError(
            f"corpus {planned.name} at {planned.source}: its content on this machine is not what was planned "
            "with; give every node the same files and call again"
        )
    return corpus


def attempt_dir(task: TrainSpec) -> Path:
    """The only folder that this try writes to."""
    return Path(task.artifacts) / task.trial_id / f"attempt-{task.attempt}"


def _features(task: TrainSpec, carrier: "Carrier | None") -> "FeatureStore":
    from lai_net.training.features import FeatureStore

    return FeatureStore(Path(task.artifacts) / FEATURES, carrier)


def _train(task: TrainSpec, corpus: Corpus, device: str, features: "FeatureStore") -> Iterator[Message]:
    from lai_net.pipeline import train_trial

    work_dir = attempt_dir(task)
    shutil.rmtree(work_dir, ignore_errors=True)  # left by a ledger that is gone: this number is ours
    work_dir.mkdir(parents=True)
    earlier = [work_dir.with_name(f"attempt-{number}") for number in range(1, task.attempt)]
    reports = train_trial(
        task.config,
        task.seed,
        corpus,
        work_dir,
        resume_from=[folder for folder in earlier if folder.exists()],
        upstream_dir=None if task.upstream_dir is None else Path(task.upstream_dir),
        device=device,
        features=features,
    )
    for report in reports:
        yield Message("epoch", report.as_dict())


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
    return found.as_dict()


def _probe(task: ProbeSpec, corpus: Corpus, device: str) -> dict[str, object]:
    """What the ledger stores of a measurement; a counted GPU stands for its part of the machine's memory."""
    from lai_net.pipeline import probe_trial

    found = probe_trial(task.config, corpus, device=device).as_dict()
    if device == "cpu":
        found["capacity_bytes"] //= task.logical_gpus
    return {"shape_id": task.shape_id, "device_type": task.device_type, **found}


def _check_encoder(name: str, planned_id: str) -> None:
    if encoder_id(name) != planned_id:
        raise InputError(
            f"encoder {name}: its files on this machine are not those that were planned with; "
            "give every node the same files and call again"
        )


def _reset_process(task: Spec) -> str:
    """Undo what an earlier task may have left, and choose the device.

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
    if task.gpus == 0 or not torch.cuda.is_available():
        return "cpu"
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(task.memory_cap)
    return "cuda"


def _release_memory() -> None:
    """Give freed memory back to the system; glibc would keep gigabytes of many shapes' tensors."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

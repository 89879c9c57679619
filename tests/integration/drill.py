"""A `lai run` whose trainings are fast and deterministic: the process that drills kill. Not a test itself.

Usage: drill.py STUDY LEDGER serial|ray|real|HOST:PORT, where real trains in truth, one trial after another,
and HOST:PORT is a Ray cluster that is up.
"""

import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lai_net.metrics.scoring import SCORES, TASKS_OF_PHASE
from tune import trainable
from tune.commands import run as run_command
from tune.engine import Message, SerialEngine
from tune.provenance import provenance
from tune.spec.study import Study
from tune.task_spec import ProbeSpec, TrainSpec, spec_from_json

EPOCHS = 5
EPOCH_S = 0.02


def execute(spec: str) -> Iterator[Message]:
    """What `tune.trainable.execute` does, with numbers made of the trial's id."""
    task = spec_from_json(spec)
    yield Message("started", provenance("cpu"))
    if isinstance(task, ProbeSpec):
        yield Message("completed", {"probe": probe(task)})
        return
    if isinstance(task, TrainSpec):
        yield from train(task)
        seed, entities = task.trial_id, "predicted" if task.config.phase == "NER" else "gold"
    else:
        seed, entities = Path(task.model_dir, "model").read_text(), "predicted"
        seed += Path(task.upstream_dir, "model").read_text()
    tasks = TASKS_OF_PHASE[task.config.phase if isinstance(task, TrainSpec) else "RE"]
    evaluations = [
        {
            "split": split,
            "entities": entities,
            "scores": [score(name, number(seed + split + name)) for name in tasks],
            "coverage": {},
        }
        for split in task.splits
    ]
    yield Message("completed", {"evaluations": evaluations, "cpu_s": 0.0, "wall_s": 0.0})


def probe(task: ProbeSpec) -> dict[str, object]:
    measured = {"meter": "declared", "peak_bytes": 300, "context_bytes": 20, "capacity_bytes": 1000}
    times = {"step_s": 0.1, "largest_step_s": 0.2, "steps_per_epoch": 5}
    return {"shape_id": task.shape_id, "device_type": task.device_type, **measured, **times}


def train(task: TrainSpec) -> Iterator[Message]:
    if task.config.training.warmup == 0.5:
        raise ValueError("this level cannot be trained")
    folder = Path(task.artefacts, task.trial_id)
    work_dir = folder / f"attempt-{task.attempt}"
    work_dir.mkdir(parents=True)
    stored = [json.loads(path.read_text()) for path in folder.glob("attempt-*/last.json")]
    history = max(stored, key=len, default=[])
    for report in history:
        yield Message("epoch", report)
    for epoch in range(len(history) + 1, EPOCHS + 1):
        time.sleep(EPOCH_S)
        value = number(f"{task.trial_id} {epoch} {task.seed} {history}")
        history.append({"epoch": epoch, "dev": {"f1": value}, "loss": 1 - value})
        temporary = work_dir / "last.json.tmp"
        temporary.write_text(json.dumps(history))
        temporary.rename(work_dir / "last.json")
        yield Message("epoch", history[-1])
    (work_dir / "best").mkdir()
    (work_dir / "best" / "model").write_text(f"{task.trial_id} {history}")


def score(task: str, f1: float) -> dict[str, object]:
    return {"task": task, "protocol": "pure", "averaging": "micro", **dict.fromkeys(SCORES, f1)}


def number(text: str) -> float:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


@contextlib.contextmanager
def make_engine(name: str, study: Study) -> Iterator[object]:
    if name in ("serial", "real"):
        yield SerialEngine(execute if name == "serial" else trainable.execute)
        return
    from tune.cluster.connection import cluster
    from tune.ray_engine import RayEngine

    where = cluster(gpus=1) if name == "ray" else cluster(name)
    share, stall_s = (0.25 if name == "ray" else 0.0), 60 * study.budget.stall_minutes
    with where:
        yield RayEngine(execute, cpus=1, share=share, max_concurrent=2, stall_s=stall_s)


if __name__ == "__main__":
    from analysis.__main__ import main

    study_file, ledger_file, engine_name = sys.argv[1:4]
    run_command._ray_engine = lambda prepared, *_: make_engine(engine_name, prepared.study)
    main(["run", study_file, "--ledger", ledger_file])

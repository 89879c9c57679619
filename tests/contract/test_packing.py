"""Packing on Ray Tune with logical GPUs and a declared memory meter: a test of the scheduler, on no GPU."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.benchmarks.simulated import Maker, Rows, Trial, probe_row
from tune.engine import Message, Node, Placement, Task
from tune.packing.needs import Needs
from tune.packing.pool import Pool
from tune.packing.source import PackedSource
from tune.schedule import Schedule


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


def work(spec: str) -> Iterator[Message]:
    """A worker whose memory is declared in its spec; it waits until three have begun."""
    import ray

    told = json.loads(spec)
    yield Message("started", {"devices": ray.get_gpu_ids()})
    if "probe" in told:
        yield Message("completed", {"probe": told["probe"]})
        return
    folder = Path(told["folder"])
    (folder / told["key"]).touch()
    until = time.monotonic() + 60
    while len(list(folder.iterdir())) < 3:
        assert time.monotonic() < until, "the others do not start beside this one"
        time.sleep(0.05)
    if told["peak"] > told["cap"]:
        raise OutOfMemoryError("declared memory is over the cap")
    yield Message("completed")


@dataclass
class DeclaringMaker(Maker):
    folder: str = ""

    def placed(self, key: str, placement: Placement) -> Task:
        task = super().placed(key, placement)
        told = {"key": key, "peak": self.trials[key].peak, "cap": placement.cap, "folder": self.folder}
        spec = json.dumps(told)
        return Task(key, task.attempt, spec, placement)

    def probe(self, key: str, placement: Placement) -> Task:
        row = vars(probe_row(self.trials[key], placement.device_type))
        return Task(super().probe(key, placement).key, 1, json.dumps({"probe": row}), placement)


@pytest.mark.ray
def test_trials_share_a_logical_gpu_and_one_out_of_memory_goes_on_alone(tmp_path: Path) -> None:
    from tune import ray_engine
    from tune.cluster.connection import cluster

    ray_engine.ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    trials = [Trial("a", "s", 0.29, 0.29), Trial("b", "s", 0.29, 0.29), Trial("c", "s", 0.36, 0.29)]
    maker, rows = DeclaringMaker({trial.key: trial for trial in trials}, folder=str(tmp_path)), Rows()
    schedule = Schedule(trials, maker.make_task, max_attempts=1)
    with cluster(gpus=1):
        engine = ray_engine.RayEngine(work, cpus=0.1)
        assert [(node.gpus, node.device_type) for node in engine.nodes()] == [(1, "logical")]
        engine.run(PackedSource(schedule, maker, Pool(engine.nodes, cpus=0.1), Needs()), rows)
    assert schedule.completed == {"a", "b", "c"}
    ends = [
        (task.key, task.attempt, task.placement.share, message.event)
        for task, message in rows.rows
        if message.is_final and "probe" not in task.key
    ]
    assert sorted(ends) == [
        ("a", 1, 0.305, "completed"),
        ("b", 1, 0.305, "completed"),
        ("c", 1, 0.305, "failed"),
        ("c", 2, 0.375, "completed"),
    ]


@pytest.mark.ray
def test_devices_types_are_rays_resources() -> None:
    from ray._private.accelerators.nvidia_gpu import NvidiaGPUAcceleratorManager

    from tune.cluster.nodes import node_of
    from tune.ray_engine import RayEngine

    named = NvidiaGPUAcceleratorManager._gpu_name_to_accelerator_type("NVIDIA GeForce RTX 3090")
    assert named == "GeForce-RTX-3090", "Ray's rule has changed"

    resources = {"CPU": 8.0, "GPU": 3.0, "accelerator_type:GeForce-RTX-3090": 1.0}
    assert node_of(resources) == Node(8.0, 3, "GeForce-RTX-3090")
    assert node_of({"CPU": 2.0}) == Node(2.0, 0, "logical")
    task = Task("a", 1, "{}", Placement(share=0.375, device_type="GeForce-RTX-3090", cap=0.35))
    (bundle,) = RayEngine(work)._resources(task).bundles
    assert bundle == {"CPU": 1.0, "GPU": 0.375, "accelerator_type:GeForce-RTX-3090": 0.001}
    (plain,) = RayEngine(work, share=0.5)._resources(Task("b", 1, "{}")).bundles
    assert plain == {"CPU": 1.0, "GPU": 0.5}

"""Packing by measured memory, in simulated time: tests of the scheduler, on no GPU and without Ray."""

import itertools
import math
import random
import statistics

import pytest

from tests.benchmarks.packing import fewest_fills, outcome, pack
from tests.benchmarks.simulated import Maker, Rows, SimulatedEngine, Trial, probe_row
from tune.engine import Message, Node, Placement, SerialEngine, Task, failure
from tune.ledger.rows import AttemptRow
from tune.packing.needs import Needs
from tune.packing.pool import Pool
from tune.packing.source import PackedSource
from tune.schedule import Schedule


def run(trials: list[Trial], nodes: list[Node], needs: Needs | None = None, **settings):
    by_key = {trial.key: trial for trial in trials}
    engine = SimulatedEngine(nodes, by_key, **settings)
    maker, rows = Maker(by_key), Rows()
    schedule = Schedule(trials, maker.make_task, max_attempts=1)
    engine.run(PackedSource(schedule, maker, Pool(lambda: nodes), needs or Needs()), rows)
    return schedule, rows, engine


def trials_of(count: int, peak: float, probed: float | None = None, shape: str = "a") -> list[Trial]:
    return [Trial(f"{shape}{number}", shape, peak, probed or peak) for number in range(count)]


def test_packing_reaches_nine_tenths_of_the_exact_optimum_and_loses_no_neighbour() -> None:
    outcomes = [outcome(seed, devices=1) for seed in range(60)]
    assert statistics.fmean(item.ratio for item in outcomes) >= 0.9
    assert sum(item.lost for item in outcomes) == 0
    assert sum(item.out_of_memory for item in outcomes) > 0, "or nothing was re-queued"


def test_without_caps_neighbours_are_lost() -> None:
    trials = trials_of(6, peak=0.45, probed=0.3)
    assert pack(trials, devices=1, capped=False).lost != []
    assert pack(trials, devices=1).lost == []


def test_optimum_is_exact() -> None:
    assert fewest_fills([0.45, 0.27], [10, 20]) == 10
    assert fewest_fills([0.4], [5]) == 3
    rng = random.Random(5)
    for _ in range(20):
        peaks = [rng.uniform(0.2, 0.45) for _ in range(2)]
        counts = [rng.randint(1, 3) for _ in range(2)]
        items = [math.ceil(p * 10_000) for p, n in zip(peaks, counts, strict=True) for _ in range(n)]
        assert fewest_fills(peaks, counts) == _brute_force(items)


def _brute_force(items: list[int]) -> int:
    for bins in itertools.count(1):
        for places in itertools.product(range(bins), repeat=len(items)):
            loads = [0] * bins
            for place, item in zip(places, items, strict=True):
                loads[place] += item
            if max(loads) <= 10_000:
                return bins
    raise AssertionError


def test_each_shape_is_measured_once_on_a_device_of_its_own_before_it_starts() -> None:
    schedule, _, engine = run([*trials_of(3, 0.3), *trials_of(3, 0.4, shape="b")], [Node(8, 2)])
    kinds = [("probe" in task.key, task.placement.share) for task in engine.started]
    assert kinds[:2] == [(True, 1.0), (True, 1.0)]
    assert not any(is_probe for is_probe, _ in kinds[2:])
    assert len(schedule.completed) == 6


def test_out_of_memory_goes_on_at_the_next_larger_share_and_is_no_failure_of_the_job() -> None:
    schedule, rows, engine = run(trials_of(1, peak=0.45, probed=0.3), [Node(8, 1)])
    shares = [task.placement.share for task in engine.started[1:]]
    assert shares == [0.315, 0.375, 0.5]
    assert schedule.completed == {"a0"}
    events = [(task.attempt, message.event) for task, message in rows.rows if task.key == "a0"]
    assert [event for event in events if event[1] != "started"] == [
        (1, "failed"), (2, "failed"), (3, "completed"),
    ]  # fmt: skip


def test_what_a_whole_device_does_not_hold_fails_with_a_clear_line_and_so_do_its_like() -> None:
    trials = [*trials_of(3, peak=1.2, probed=0.9), *trials_of(1, 0.3, shape="b")]
    schedule, _, engine = run(trials, [Node(8, 1)])
    assert schedule.completed == {"b0"}
    assert set(schedule.failed) == {"a0", "a1", "a2"}
    for error in schedule.failed.values():
        assert "needs more than a whole device (logical); lower training.batch_size" in error
    assert [task.placement.share for task in engine.started if task.key == "a0"] == [0.945, 1.0]
    assert not any(task.key == "a2" for task in engine.started)


def test_what_is_refused_is_recorded() -> None:
    trials = trials_of(3, peak=1.2, probed=0.9)
    maker = Maker({trial.key: trial for trial in trials})
    schedule = Schedule(trials, maker.make_task)
    source = PackedSource(schedule, maker, Pool(lambda: [Node(8, 1)]), Needs())
    SimulatedEngine([Node(8, 1)], maker.trials).run(source, Rows())
    assert {key: message.content["error"] for key, message in maker.refused.items()} == {
        key: schedule.failed[key] for key in ("a1", "a2")
    }


def test_mixed_devices_each_get_their_own_share() -> None:
    class Mixed(SimulatedEngine):
        def _measured(self, task: Task) -> dict[str, object]:
            scale = {"GeForce-RTX-3090": 1.0, "A100": 0.25}[task.placement.device_type]
            return super()._measured(task) | {"peak_bytes": round(400_000 * scale)}

    trials = [Trial(f"t{n}", "a", 0.09, 0.4) for n in range(12)]
    by_key = {trial.key: trial for trial in trials}
    nodes = [Node(16, 1, "GeForce-RTX-3090"), Node(16, 1, "A100")]
    engine, maker = Mixed(nodes, by_key), Maker(by_key)
    schedule = Schedule(trials, maker.make_task)
    engine.run(PackedSource(schedule, maker, Pool(lambda: nodes), Needs()), Rows())
    assert len(schedule.completed) == 12
    placed = [task.placement for task in engine.started if "probe" not in task.key]
    assert {(item.device_type, item.share) for item in placed} == {
        ("GeForce-RTX-3090", 0.42), ("A100", 0.105),
    }  # fmt: skip


def test_a_type_that_is_too_small_is_left_to_the_others() -> None:
    trial = Trial("t", "a", 0.5, 0.5)
    needs = Needs({("a", name): probe_row(trial, name) for name in ("small", "large")})
    needs.ran_out("a", Placement(1.0, "small"))
    assert needs.sizes_of("a", ("small", "large")) == {"large": 525}


def test_cap_is_the_share_less_the_context() -> None:
    row = probe_row(Trial("t", "a", 0.3, 0.3))
    needs = Needs({("a", "logical"): type(row)(**{**vars(row), "context_bytes": 20_000})})
    assert needs.sizes_of("a", ["logical"]) == {"logical": 335}
    assert needs.placement("logical", 335) == Placement(0.335, "logical", cap=pytest.approx(0.315))


def test_a_new_driver_knows_what_ran_out_of_memory() -> None:
    packing = {"shape_id": "a", "device_type": "logical", "share": 0.315}
    attempt = AttemptRow(
        trial_id="t", attempt=1, provenance={"packing": packing}, status="failed",
        error="torch.OutOfMemoryError: CUDA out of memory", cpu_s=None, wall_s=None, artefacts={},
        finished=None,
    )  # fmt: skip
    trial = Trial("t", "a", 0.35, 0.3)
    needs = Needs({("a", "logical"): probe_row(trial)}, [attempt])
    assert needs.sizes_of("a", ["logical"]) == {"logical": 375}
    assert [task.placement.share for task in run([trial], [Node(8, 1)], needs)[2].started] == [0.375]


def test_a_probe_that_fails_leaves_whole_devices() -> None:
    class Broken(SimulatedEngine):
        def _outcome(self, task, device):
            end, message = super()._outcome(task, device)
            is_probe = "probe" in task.key
            return end, failure("x", retryable=False) if is_probe else message

    trials = trials_of(2, 0.3)
    by_key = {trial.key: trial for trial in trials}
    engine, maker = Broken([Node(8, 1)], by_key), Maker(by_key)
    engine.run(PackedSource(Schedule(trials, maker.make_task), maker, Pool(engine.nodes), Needs()), Rows())
    assert [task.placement.share for task in engine.started] == [1.0, 1.0, 1.0]


def test_a_new_shape_gets_a_device_that_runs_empty_for_its_measurement() -> None:
    trials = [*trials_of(20, 0.4), *trials_of(2, 0.3, shape="b")]
    needs = Needs({("a", "logical"): probe_row(trials[0])})
    schedule, _, engine = run(trials, [Node(99, 2)], needs)
    assert len(schedule.completed) == 22
    at = [task.key for task in engine.started].index("probe of b on logical")
    assert at < 8, "not after all the others"


def test_spent_budget_ends_the_run_though_tasks_are_drawn() -> None:
    trials = trials_of(20, 0.4)
    by_key = {trial.key: trial for trial in trials}
    engine, maker = SimulatedEngine([Node(8, 1)], by_key), Maker(by_key)
    schedule = Schedule(trials, maker.make_task)
    engine.run(
        PackedSource(schedule, maker, Pool(engine.nodes), Needs(), is_spent=lambda: engine.now >= 3), Rows()
    )
    assert 0 < len(schedule.completed) < 10
    assert len(schedule.remaining) == 20 - len(schedule.completed)


def source_on(cluster: list[Node], trial: Trial, types: tuple[str, ...]) -> tuple[PackedSource, Schedule]:
    """What is known of a trial on some types of devices, on a cluster that the test changes."""
    needs = Needs({(trial.shape, name): probe_row(trial, name) for name in types})
    maker = Maker({trial.key: trial})
    schedule = Schedule([trial], maker.make_task, pause_s=0.0)
    return PackedSource(schedule, maker, Pool(lambda: cluster), needs), schedule


def test_what_ran_on_the_only_device_of_its_type_is_tried_again_on_another() -> None:
    cluster = [Node(8, 1, "A100"), Node(8, 1, "H100")]
    source, _ = source_on(cluster, Trial("t", "a", 0.3, 0.3), ("A100", "H100"))
    first = source.next_task()
    assert first.placement.device_type == "A100"
    del cluster[0]
    source.ended(first, failure("the node died", retryable=True))
    assert source.next_task().placement.device_type == "H100"


def test_without_a_device_jobs_wait_for_one() -> None:
    cluster = [Node(8, 1, "A100")]
    source, schedule = source_on(cluster, Trial("t", "a", 0.3, 0.3), ("A100", "H100"))
    task = source.next_task()
    cluster.clear()
    source.ended(task, failure("torch.OutOfMemoryError: x", retryable=True))
    assert source.next_task() is None
    assert schedule.failed == {}
    assert not source.is_done()
    cluster.append(Node(8, 1, "H100"))
    assert source.next_task().placement.device_type == "H100"


def test_what_ran_out_of_memory_on_a_type_that_is_gone_is_measured_on_another() -> None:
    cluster = [Node(8, 1, "A100")]
    source, schedule = source_on(cluster, Trial("t", "a", 0.3, 0.3), ("A100",))
    task = source.next_task()
    cluster[:] = [Node(8, 1, "H100")]
    assert source.next_task() is None
    source.ended(task, failure("torch.OutOfMemoryError: x", retryable=True))
    assert source.next_task().key == "probe of a on H100"
    assert schedule.failed == {}


MACHINE = failure("OSError: disk", retryable=True)
INNOCENT = failure("a node ran low on memory", retryable=True, is_try=False)


@pytest.mark.parametrize(
    ("failures", "then"),
    [
        ([MACHINE], "probe of a on A100"),
        ([MACHINE, INNOCENT, MACHINE], "probe of a on A100"),
        ([MACHINE, MACHINE, MACHINE], "t"),
        ([failure("ValueError: x", retryable=False)], "t"),
        ([failure("torch.OutOfMemoryError: x", retryable=True)], "t"),
    ],
    ids=["machine", "no try", "thrice", "config", "memory"],
)
def test_a_measurement_that_failed_by_the_machine_is_made_again(failures: list[Message], then: str) -> None:
    source, schedule = source_on([Node(8, 1, "A100")], Trial("t", "a", 0.3, 0.3), ())
    for message in failures:
        task = source.next_task()
        assert task.key == "probe of a on A100"
        source.ended(task, message)
    assert source.next_task().key == then
    assert schedule.failed == {}


def test_packing_runs_on_the_serial_engine() -> None:
    def execute(spec: str):
        yield Message("started")
        trial = trials[0]
        if "probe" in spec:
            yield Message("completed", {"probe": vars(probe_row(trial))})
        else:
            yield Message("completed")

    trials = trials_of(2, 0.3)
    by_key = {trial.key: trial for trial in trials}
    engine, maker = SerialEngine(execute, poll_s=0.001), Maker(by_key)
    schedule = Schedule(trials, maker.make_task)
    engine.run(PackedSource(schedule, maker, Pool(engine.nodes), Needs()), Rows())
    assert schedule.completed == {"a0", "a1"}

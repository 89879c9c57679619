"""Packing by measured memory, in simulated time: tests of the scheduler, on no GPU and without Ray."""

import itertools
import math
import random
import statistics
import time
from pathlib import Path

import pytest

from lai_net.config import TrialConfig
from lai_net.errors import InputError
from lai_net.settings import with_settings
from tests.benchmarks.packing import fewest_fills, outcome, pack, random_mix
from tests.benchmarks.simulated import Maker, Rows, SimulatedEngine, Trial, probe_row
from tune.engine import Message, Node, Placement, SerialEngine, Task, failure, is_out_of_memory
from tune.ledger.ledger import AttemptRow, Ledger
from tune.packing.needs import Needs
from tune.packing.pool import Pool, best_next
from tune.packing.shape import shape_id
from tune.packing.shares import choose_sizes, needed_units, next_larger
from tune.packing.source import PackedSource
from tune.schedule import Schedule

NER = TrialConfig(phase="NER")


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


def test_cpus_bound_what_runs_side_by_side() -> None:
    pool = Pool(lambda: [Node(cpus=2, gpus=1)], cpus=1)
    for key in "ab":
        pool.take(key, "logical", 200)
    assert pool.choose({"logical": {200: 1}}, {}) is None
    pool.give_back("a")
    assert pool.choose({"logical": {200: 1}}, {}) == ("logical", 200)


def test_no_device_is_refused() -> None:
    with pytest.raises(InputError, match="no node has one"):
        Pool(lambda: [Node(cpus=4)])


def test_a_node_that_joins_late_counts_and_what_was_on_one_that_goes_is_counted_on_its_like() -> None:
    nodes = [Node(8, 1, "A100"), Node(8, 1, "A100")]
    pool = Pool(lambda: nodes)
    for key in "abcd":
        pool.take(key, "A100", 500)
    assert pool.choose({"A100": {500: 9}, "H100": {500: 9}}, {}) is None
    nodes = [Node(8, 1, "A100"), Node(8, 1, "H100")]
    pool.refresh()
    assert pool.device_types == ("A100", "H100")
    assert pool.choose({"A100": {500: 9}, "H100": {500: 9}}, {}) == ("H100", 500)
    for key in "ab":  # whichever the engine says are lost
        pool.give_back(key)
        assert pool.choose({"A100": {500: 9}}, {}) is None, "the other two run on what is left"
    pool.give_back("c")
    assert pool.choose({"A100": {500: 9}}, {}) == ("A100", 500)
    pool.give_back("d")
    assert pool.has_empty("A100")


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


def test_device_is_filled_with_what_leaves_the_least_room() -> None:
    assert best_next(550, {450: 9, 270: 9}, most=9) == 270
    assert best_next(550, {450: 9, 270: 9}, most=1) == 450
    assert best_next(1000, {500: 1, 300: 2}, most=9) == 500
    assert best_next(900, {300: 3, 450: 2, 600: 1}, most=9) == 600, "of equal fills the larger first"


def test_next_size_is_that_of_all_fills_counted() -> None:
    rng = random.Random(3)
    for _ in range(300):
        room, most = rng.randint(60, 200), rng.randint(1, 6)
        waiting = {rng.randint(10, 60): rng.randint(1, 3) for _ in range(rng.randint(1, 4))}
        items = [size for size, count in sorted(waiting.items(), reverse=True) for _ in range(count)]
        fills = [
            fill
            for number in range(1, most + 1)
            for fill in itertools.combinations(items, number)
            if sum(fill) <= room
        ]
        assert best_next(room, waiting, most) == max(fills, key=lambda fill: (sum(fill), fill))[0]


def test_many_small_sizes_take_no_time() -> None:
    began_s = time.process_time()
    best_next(970, dict.fromkeys((23, 24, 25, 26, 27, 28), 40), most=1000)
    assert time.process_time() - began_s < 0.5, "counting all fills takes seconds"


def test_device_is_filled_with_no_more_than_the_cpus_of_its_node_start() -> None:
    waiting = {"logical": {270: 2, 300: 1}}
    for cpus, expected in ((3, 270), (2, 300)):
        pool = Pool(lambda cpus=cpus: [Node(cpus, 1)])
        pool.take("a", "logical", 450)
        assert pool.choose(waiting, {}) == ("logical", expected)


def test_sizes_waste_least() -> None:
    assert choose_sizes([]) == ()
    assert choose_sizes([300, 310, 500], most=2) == (310, 500)
    rng = random.Random(0)
    for _ in range(20):
        needs = [rng.randint(200, 470) for _ in range(8)]
        best = min(
            sum(min(size for size in (*cuts, max(needs)) if size >= need) - need for need in needs)
            for cuts in itertools.combinations(sorted(set(needs)), 2)
        )
        sizes = choose_sizes(needs, most=3)
        assert sum(min(size for size in sizes if size >= need) - need for need in needs) == best


def test_shares_from_bytes() -> None:
    assert needed_units(probe_row(Trial("t", "a", 0.3, 0.3))) == 315
    assert needed_units(probe_row(Trial("t", "a", 0.99, 0.99))) == 1000
    assert [next_larger(units) for units in (315, 370, 375, 900, 1000)] == [375, 500, 500, 1000, None]


@pytest.mark.parametrize(
    ("setting", "value", "is_same"),
    [
        ("training.encoder_lr", 1e-4, True),
        ("training.epochs", 3, True),
        ("training.batch_size", 4, False),
        ("training.activation_checkpointing", True, False),
        ("training.precision", "bf16", False),
        ("graph.heads", 2, False),
        ("input.max_text_tokens", 90, False),
        ("graph.dropout", 0.2, True),
        ("graph.dropout", 0.0, False),
        ("head.dropout", 0.2, True),
        ("head.dropout", 0.0, False),
    ],
)
def test_shape_is_what_changes_memory(setting: str, value: object, is_same: bool) -> None:
    changed = shape_id(with_settings(NER, {setting: value}), "SciERC", "e")
    assert (changed == shape_id(NER, "SciERC", "e")) is is_same
    assert shape_id(NER, "ADE", "e") != shape_id(NER, "SciERC", "e")


@pytest.mark.parametrize(
    ("settings", "is_same"),
    [
        ({"head.symmetric_rule": "both", "head.relation_threshold": 0.3}, True),
        ({"head.overlapping_triples": "drop"}, True),
        ({"head.object_typing": "loss"}, False),
        ({"head.shortcut": False}, False),
    ],
)
def test_shape_of_re_is_what_changes_memory(settings: dict[str, object], is_same: bool) -> None:
    re = TrialConfig(phase="RE")
    assert (shape_id(with_settings(re, settings), "ADE", "e") == shape_id(re, "ADE", "e")) is is_same


def test_shape_without_a_graph_has_no_dropout_of_it() -> None:
    bare = with_settings(NER, {"graph.layers": 0})
    assert shape_id(bare, "ADE", "e") == shape_id(with_settings(bare, {"graph.dropout": 0.0}), "ADE", "e")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("Traceback\n  x\ntorch.OutOfMemoryError: CUDA out of memory. Tried", True),
        ("torch.AcceleratorError: CUDA error: out of memory\nCUDA kernel errors", True),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", True),
        ("ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory", False),
        ("ValueError: OutOfMemoryError", False),
        ("torch.OutOfMemoryError: 2 GiB\n\nDuring handling …\n\nTraceback\n  x\nValueError: wrong", False),
        ("ValueError: wrong\n\nDuring handling …\n\nTraceback\n  x\ntorch.OutOfMemoryError: 2 GiB", True),
    ],
)
def test_which_errors_are_the_devices_memory(error: str, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


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


def test_ledger_keeps_probes(tmp_path: Path) -> None:
    row = probe_row(random_mix(0)[0], "A100")
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.record_probe(row)
        ledger.record_probe(row)
        assert ledger.probes() == {(row.shape_id, "A100"): row}


V3 = Path(__file__).parent.parent / "assets" / "ledger-v3.sqlite"


def test_ledger_of_version_3_has_no_probes_until_it_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(V3.read_bytes())
    with Ledger.open(path, read_only=True) as old:
        assert old.probes() == {}
    with Ledger.open(path) as ledger:
        ledger.record_probe(probe_row(random_mix(0)[0]))
        assert len(ledger.probes()) == 1

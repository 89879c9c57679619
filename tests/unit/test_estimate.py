"""What the trials to run will cost."""

from pathlib import Path

import pytest

from lai_net.config import TrialConfig
from lai_net.errors import InputError
from lai_net.settings import with_settings
from tune.engine import Node
from tune.forecast.estimate import Estimate, estimate, estimate_lines
from tune.ledger.ledger import Ledger
from tune.ledger.rows import AttemptRow, ProbeRow, TrialRow
from tune.packing.shape import shape_id
from tune.planning.plan import PlannedTrial
from tune.spec.identity import spec_id
from tune.spec.study import Resources

CONFIG = with_settings(TrialConfig(phase="NER"), {"training.epochs": 4})


def planned(count: int) -> list[PlannedTrial]:
    return [
        PlannedTrial(dataset="d", fold=None, seed=seed, spec_id=spec_id(CONFIG), config=CONFIG)
        for seed in range(count)
    ]


def row_of(seed: int) -> TrialRow:
    from lai_net.active_settings import active_settings

    return TrialRow(
        trial_id=f"t{seed}", config_id="c", spec_id=spec_id(CONFIG), dataset="d", phase="NER", fold=None,
        seed=seed, config=active_settings(CONFIG), corpus_id="corpus", encoder_id="e",
    )  # fmt: skip


def finished(*wall_s: float) -> list[tuple[TrialRow, AttemptRow]]:
    return [
        (
            row_of(100 + number),
            AttemptRow(
                trial_id=f"t{100 + number}", attempt=1, provenance={}, status="completed", error=None,
                cpu_s=seconds, wall_s=seconds, artefacts={"best": f"best{number}"}, finished=None,
            ),
        )
        for number, seconds in enumerate(wall_s)
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def _cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)


def probe(ledger: Ledger, **changes) -> None:
    ledger.register_trials([row_of(0)])
    values = {
        "shape_id": shape_id(CONFIG, "d", "e"), "device_type": "logical", "meter": "declared",
        "peak_bytes": 200, "context_bytes": 0, "capacity_bytes": 1000, "step_s": 1.0, "largest_step_s": 3.0,
        "steps_per_epoch": 900, **changes,
    }  # fmt: skip
    ledger.record_probe(ProbeRow(**values))


def test_range_is_from_the_shortest_to_the_longest_like(ledger: Ledger) -> None:
    found, unmeasured = estimate(
        planned(8), finished(3600, 7200), ledger, Resources(gpus_per_trial=0.25, gpus=2)
    )
    assert unmeasured == []
    assert found.wall_s == 8 * 5400
    assert found.gpu_h == (2.0, 4.0)
    assert found.wall_h == (1.0, 2.0)
    assert found.measured == 2


def test_probe_stands_in_where_nothing_is_finished(ledger: Ledger) -> None:
    probe(ledger)
    found, unmeasured = estimate(planned(10), [], ledger, Resources(gpus_per_trial="measured", gpus=1))
    assert unmeasured == []
    assert found.probed == 10
    assert found.wall_s is None
    assert found.gpu_h == pytest.approx((10 * 1.0 * 0.21, 10 * 3.0 * 0.21))
    assert found.wall_h == pytest.approx((2.1, 6.3))


def test_no_measure_is_said(ledger: Ledger) -> None:
    assert estimate(planned(1), [], ledger, Resources()) == (
        Estimate(),
        ["no estimate: the ledger has no finished trial like those of d NER"],
    )


def test_unknown_number_of_gpus_gives_no_wall_clock(ledger: Ledger) -> None:
    found, _ = estimate(planned(1), finished(3600), ledger, Resources(gpus_per_trial=1))
    assert found.gpu_h == (1.0, 1.0)
    assert found.wall_h is None


def test_wall_clock_is_bounded_by_what_runs_side_by_side_and_by_the_longest(ledger: Ledger) -> None:
    resources = Resources(gpus_per_trial=0.1, gpus=10, max_concurrent=2)
    assert estimate(planned(8), finished(3600), ledger, resources)[0].wall_h == (4.0, 4.0)
    assert estimate(planned(1), finished(3600), ledger, resources)[0].wall_h == (1.0, 1.0)
    on_cpus = Resources(cpus_per_trial=4)
    assert estimate(planned(8), finished(3600), ledger, on_cpus)[0].wall_h == (4.0, 4.0)


def rtx(name: str, gpus: int, cpus: float = 8) -> Node:
    return Node(cpus, gpus, f"GeForce-RTX-{name}")


def test_hours_on_a_cluster_are_by_its_nodes(ledger: Ledger) -> None:
    nodes = [Node(0), rtx("3090", 2), rtx("3090", 1), rtx("4090", 1, cpus=1)]
    found, _ = estimate(planned(14), finished(3600), ledger, Resources(gpus_per_trial=0.5), None, None, nodes)
    assert found.wall_h == pytest.approx((2.0, 2.0)), "4, 2 and, for want of CPUs, 1 side by side"
    assert found.place == "3 nodes: 17 CPUs, 3 GeForce-RTX-3090, 1 GeForce-RTX-4090"
    assert estimate_lines(found)[-1] == f"2.0 to 2.0 h on {found.place}"
    on_cpus, _ = estimate(planned(34), finished(3600), ledger, Resources(), None, None, nodes)
    assert on_cpus.wall_h == pytest.approx((2.0, 2.0))


def test_measured_shares_count_by_the_type_of_device(ledger: Ledger) -> None:
    for name, peak, step_s in (("3090", 400, 1.0), ("4090", 200, 0.5), ("A100", 100, 9.0)):
        probe(
            ledger, device_type=f"GeForce-RTX-{name}", peak_bytes=peak, step_s=step_s, largest_step_s=step_s
        )
    found, _ = estimate(
        planned(10), [], ledger, Resources(gpus_per_trial="measured"), None, None,
        [rtx("3090", 1), rtx("4090", 1)],
    )  # fmt: skip
    lanes = 1 / 0.42 + 1 / 0.21
    assert found.wall_h == pytest.approx((10 * 0.5 / lanes, 10 * 1.0 / lanes)), "no A100 is there"


def test_a_cluster_that_holds_no_trial_is_refused(ledger: Ledger) -> None:
    resources = Resources(gpus_per_trial=1)
    with pytest.raises(
        InputError, match=r"needs 1 CPUs and 1 GPUs, but no node of the cluster.*1 nodes: 4 CPUs"
    ):
        estimate(planned(1), finished(3600), ledger, resources, nodes=[Node(4)])


def test_disk_is_by_models_of_like_trials(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "best0").mkdir()
    (tmp_path / "best0" / "model").write_bytes(b"x" * 2**20)
    found, _ = estimate(planned(8), finished(3600), ledger, Resources(), tmp_path)
    assert found.disk_gib == 8 / 1024


def test_lines() -> None:
    assert estimate_lines(Estimate()) == []
    lines = estimate_lines(Estimate(probed=2, gpu_h=(1.0, 2.5), wall_h=(0.5, 1.25), disk_gib=3.0))
    assert lines == [
        "2 trials without a finished like: by probes, without evaluation",
        "1.0 to 2.5 GPU-hours",
        "0.5 to 1.2 h on what [resources] give",
        "about 3.0 GiB of models",
    ]
    found = Estimate(wall_s=5400.0, measured=1, wall_h=(0.5, 1.25), disk_gib=3.0)
    assert estimate_lines(found)[0] == "about 1.5 h one after another (mean of 1 finished trial)"
    assert estimate_lines(found, is_bound=True) == [
        "at most 1.5 h one after another, were nothing stopped early (mean of 1 finished trial)",
        "at most 0.5 to 1.2 h on what [resources] give",
        "at most 3.0 GiB of models",
    ]

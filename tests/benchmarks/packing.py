"""`python -m tests.benchmarks.packing`: packing against the exact optimum, simulated.

A test of the scheduler in simulated time, not of a GPU. A mix is a study with a few config shapes, whose
peaks are uniform in 20 to 45 % of a device, and 5 to 20 trials of each. One shape in ten takes 5 to 10 % more
than its probe saw, so it runs out of memory and goes on at a larger share. The optimum knows all true peaks,
packs without a margin, and is exact: the fewest rounds of the devices, by integer programming over all ways
to fill one (all trials of a mix take equally long).
"""

import argparse
import datetime as dt
import math
import random
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from tests.benchmarks.simulated import Maker, Rows, SimulatedEngine, Trial
from tune.engine import Node
from tune.packing.needs import Needs
from tune.packing.pool import Pool
from tune.packing.shares import MARGIN, MAX_SIZES
from tune.packing.source import PackedSource
from tune.schedule import Schedule

_GRAIN = 10_000
"""The optimum's peaks are whole parts of a device, so fine that rounding favours neither."""


@dataclass(frozen=True)
class Outcome:
    """One mix.

    Attributes:
        ratio: optimal time / ours.
        lost: trials that a neighbour's memory ended.
        out_of_memory: tries that took more than their share.
        sizes: different shares that were handed out.
    """

    ratio: float
    lost: int
    out_of_memory: int
    sizes: int


def random_mix(seed: int) -> list[Trial]:
    """The trials of a mix, seed by seed as a plan orders them."""
    rng = random.Random(seed)
    trials = []
    for shape in range(rng.randint(3, 8)):
        peak = rng.uniform(0.20, 0.45)
        probed = peak / rng.uniform(1.05, 1.10) if rng.random() < 0.1 else peak * rng.uniform(0.97, 1.0)
        trials += [
            Trial(f"{shape}-{number}", str(shape), peak, probed) for number in range(rng.randint(5, 20))
        ]
    return sorted(trials, key=lambda trial: int(trial.key.partition("-")[2]))


def fewest_fills(peaks: Sequence[float], counts: Sequence[int]) -> int:
    """The least number of devices that hold all trials at once: cutting stock, solved exactly.

    Args:
        peaks: distinct, as shares of a device.
        counts: trials of each.
    """
    sizes = [math.ceil(peak * _GRAIN) for peak in peaks]
    fills = np.array(list(_fills(sizes, _GRAIN))).T
    solved = milp(
        np.ones(fills.shape[1]),
        integrality=np.ones(fills.shape[1]),
        bounds=Bounds(0, np.inf),
        constraints=LinearConstraint(fills, np.array(counts), np.inf),
    )
    if not solved.success:
        raise RuntimeError(solved.message)
    return round(solved.fun)


def _fills(sizes: Sequence[int], room: int) -> Iterator[tuple[int, ...]]:
    """How many of each size fill a device, in every way."""
    if not sizes:
        yield ()
        return
    for number in range(room // sizes[0] + 1):
        for rest in _fills(sizes[1:], room - number * sizes[0]):
            yield (number, *rest)


def pack(trials: Sequence[Trial], devices: int, *, capped: bool = True) -> SimulatedEngine:
    """Run a mix to its end on simulated devices of one node."""
    by_key = {trial.key: trial for trial in trials}
    engine = SimulatedEngine([Node(cpus=math.inf, gpus=devices)], by_key, capped=capped)
    maker = Maker(by_key)
    source = PackedSource(Schedule(trials, maker.make_task), maker, Pool(engine.nodes), Needs())
    engine.run(source, Rows())
    return engine


def outcome(seed: int, devices: int) -> Outcome:
    """Ours against the optimum on one mix."""
    trials = random_mix(seed)
    counts = Counter(trial.peak for trial in trials)
    engine = pack(trials, devices)
    optimum = math.ceil(fewest_fills(list(counts), list(counts.values())) / devices)
    shares = {task.placement.share for task in engine.started if "probe" not in task.key}
    return Outcome(optimum / engine.now, len(engine.lost), len(engine.out_of_memory), len(shares))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write `packing.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--mixes", type=int, default=200)
    given = parser.parse_args(arguments)
    lines = []
    for devices in (1, 3):
        found = [outcome(seed, devices) for seed in range(given.mixes)]
        ratios = sorted(item.ratio for item in found)
        lines.append(
            f"| {devices} | {given.mixes} | {statistics.fmean(ratios):.1%} | {statistics.median(ratios):.1%} "
            f"| {ratios[len(ratios) // 20]:.1%} | {ratios[0]:.1%} "
            f"| {sum(item.out_of_memory for item in found)} | {sum(item.lost for item in found)} "
            f"| {max(item.sizes for item in found)} |"
        )
    given.out.mkdir(parents=True, exist_ok=True)
    page = _PAGE.format(
        rows="\n".join(lines), margin=MARGIN, sizes=MAX_SIZES, date=dt.datetime.now(dt.UTC).date()
    )
    (given.out / "packing.md").write_text(page, encoding="utf-8")
    sys.stdout.write(page)


_PAGE = """# Packing trials on GPUs: a simulation of the scheduler

Written by `python -m tests.benchmarks.packing` ({date}); simulated time, no GPU. Random mixes of 3 to 8
config shapes with peaks of 20 to 45 % of a device and 5 to 20 trials each, which all take equally long. One
shape in ten takes 5 to 10 % more than its probe saw. Ours: margin {margin:.0%}, at most {sizes} sizes at a
time; what runs out of memory counts with the time that it lost, the few steps of a probe with none. The
optimum knows the true peaks, takes no margin, and is exact (integer programming over all ways to fill a
device).

Throughput as a share of the optimum's, over the mixes:

| devices | mixes | mean | median | 5th percentile | least | out of memory | neighbours lost | shares |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}
"""

if __name__ == "__main__":
    main()

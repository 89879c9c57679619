"""Simulations that hold the statistics against theory; also the source of docs/statistics-figures.md.

python tests/property/theory.py > docs/statistics-figures.md      # or: make statistics-figures
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from analysis.statistics.paired import sign_flip_p
from analysis.statistics.power import paired_power
from analysis.statistics.sequential import Design, decide
from analysis.statistics.summary import bca_interval, t_interval

Array = npt.NDArray[np.float64]
INTERVALS = {"t": t_interval, "BCa": bca_interval}
SHAPES: dict[str, tuple[Callable[[np.random.Generator, tuple[int, int]], Array], float]] = {
    "normal": (lambda rng, size: rng.normal(size=size), 0.0),
    "exponential (skewness 2)": (lambda rng, size: rng.exponential(size=size), 1.0),
    "log-normal (skewness 6.2)": (lambda rng, size: rng.lognormal(size=size), float(np.exp(0.5))),
    "one seed in ten collapses": (
        lambda rng, size: rng.normal(size=size) - 6 * (rng.random(size) < 0.1),
        -0.6,
    ),
}
"""How scores are drawn, and the true mean."""
_CHUNK = 200  # rows whose resamples fit into the memory side by side


def coverage(interval: str, shape: str, n: int, draws: int, seed: int = 1) -> float:
    """The share of nominal 95 % intervals of n scores that hold the true mean."""
    draw, truth = SHAPES[shape]
    scores = draw(np.random.default_rng(seed), (draws, n))
    held = 0
    for start in range(0, draws, _CHUNK):
        low, high = INTERVALS[interval](scores[start : start + _CHUNK])
        held += int(((low <= truth) & (truth <= high)).sum())
    return held / draws


def null_p_values(n: int, draws: int, seed: int = 1) -> Array:
    """Sign-flip p of differences that have no effect; skewed pairs, whose differences are symmetric."""
    pairs = np.random.default_rng(seed).lognormal(size=(draws, n, 2))
    return np.array([sign_flip_p(row) for row in pairs[..., 0] - pairs[..., 1]])


def simulated_power(effect: float, n: int, alpha: float, draws: int, seed: int = 1) -> float:
    """How often the sign-flip test marks normal differences of this mean and standard deviation 1."""
    deltas = np.random.default_rng(seed).normal(effect, 1, size=(draws, n))
    return float(np.mean([(sign_flip_p(row) or 1) < alpha for row in deltas]))


def false_marks(looks: Sequence[int], levels: int, draws: int, *, corrected: bool, seed: int = 1) -> float:
    """How often any of some levels without an effect is marked, over all looks.

    `corrected` False takes each look by itself at 0.05, as somebody would who adds seeds until p < 0.05.
    """
    rng = np.random.default_rng(seed)
    seeds = tuple(range(looks[-1]))
    designs = [Design(seeds=seeds, looks=tuple(looks), alpha=0.05, min_effect=0.0)]
    if not corrected:
        designs = [Design(seeds=seeds, looks=(count,), alpha=0.05, min_effect=0.0) for count in looks]
    everything = frozenset(seeds)
    marked = 0
    for _ in range(draws):
        shared = rng.normal(size=len(seeds))
        scores = {
            str(level): dict(enumerate(shared + rng.normal(size=len(seeds)))) for level in range(levels + 1)
        }
        settled = dict.fromkeys(scores, everything)
        marked += any(
            verdict.state == "different"
            for design in designs
            for verdict in decide(scores, settled, "0", design)[0].values()
        )
    return marked / draws


def main() -> Iterator[str]:
    """The figures as Markdown."""
    yield "# Figures of docs/statistics.md\n"
    yield "Written by `make statistics-figures`; do not edit. Simulated with fixed generators.\n"
    yield "## Coverage of nominal 95 % intervals of a mean (t: 100,000 draws, BCa: 20,000)\n"
    numbers = (3, 5, 8, 10, 20, 40)
    yield f"| scores | interval | {' | '.join(f'n = {n}' for n in numbers)} |"
    yield f"|---|---|{'---|' * len(numbers)}"
    for shape in SHAPES:
        for interval, draws in (("t", 100_000), ("BCa", 20_000)):
            held = (f"{coverage(interval, shape, n, draws):.3f}" for n in numbers)
            yield f"| {shape} | {interval} | {' | '.join(held)} |"
    yield "\n## Sign-flip test: probability of p ≤ a without an effect (100,000 draws)\n"
    yield "| n | smallest p | P(p ≤ smallest) | largest p ≤ 0.05 | P(p ≤ it) |"
    yield "|---|---|---|---|---|"
    for n in (5, 6, 8, 10):
        values = null_p_values(n, 100_000)
        least, level = 2.0 ** (1 - n), np.floor(0.05 * 2 ** (n - 1)) / 2 ** (n - 1)
        reached = f"{level:.4f} | {np.mean(values <= level):.4f}" if level else "none | –"
        yield f"| {n} | {least:.4f} | {np.mean(values <= least):.4f} | {reached} |"
    yield "\n## Power at p < 0.05: formula against the simulated sign-flip test (10,000 draws)\n"
    effects = (0.5, 1.0, 1.5, 2.0)
    yield f"| n | {' | '.join(f'delta / std = {effect}' for effect in effects)} |"
    yield f"|---|{'---|' * len(effects)}"
    for n in (5, 6, 7, 8, 10, 12):
        pairs = (
            f"{paired_power(effect, 1.0, n):.3f} / {simulated_power(effect, n, 0.05, 10_000):.3f}"
            for effect in effects
        )
        yield f"| {n} | {' | '.join(pairs)} |"
    yield "\n## Any false mark among 3 levels when seeds are added (8, 10, 12, 14 seeds; 4,000 draws)\n"
    yield "| looks | probability |"
    yield "|---|---|"
    looks = (8, 10, 12, 14)
    yield f"| each at 0.05, stop at the first mark | {false_marks(looks, 3, 4_000, corrected=False):.3f} |"
    yield f"| as `--until-decided` does | {false_marks(looks, 3, 4_000, corrected=True):.3f} |"


if __name__ == "__main__":
    print("\n".join(main()))  # noqa: T201 - this is the figures' command

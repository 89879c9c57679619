"""A search's configs and rules as plain values, and what scores over seeds say."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any, Literal

Facts = dict[str, Any]
State = Literal["running", "complete", "pruned", "failed", "repeat", "invalid"]
"""`repeat`: of a config that was in flight or had failed; any other repetition takes over the result."""
Origin = Literal["sampler", "untried"]
"""`untried`: drawn uniformly from what is left, since the sampler kept repeating itself."""


@dataclass(frozen=True)
class Suggestion:
    """Settings of the next config, and where they come from."""

    params: Mapping[str, Any]
    origin: Origin = "sampler"


def combination(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Names a config by its settings."""
    return tuple(sorted(params.items()))


@dataclass(frozen=True)
class Told:
    """What the sampler is told of one suggestion.

    Attributes:
        value: mean over seeds at full budget; None where there is none.
        n: how many seeds that mean has.
        curve: mean over seeds by epoch.
    """

    number: int
    params: Mapping[str, Any]
    config_id: str | None
    state: State
    value: float | None
    n: int
    curve: Mapping[int, float]


@dataclass
class Candidate:
    """A suggested config.

    Attributes:
        trials: trial_id by seed.
        bracket: of ASHA.
        same_as: number of the candidate that it repeats.
        started: seeds that have cost something.
        epochs: score by seed and epoch.
        stopped_at: epoch of the rung that stopped it; another seed may have gone beyond it before.
        finals: score at full budget by seed.
    """

    number: int
    params: Facts
    config_id: str | None
    trials: dict[int, str]
    bracket: int = 0
    same_as: int | None = None
    state: State = "running"
    started: set[int] = field(default_factory=set)
    epochs: dict[int, dict[int, float]] = field(default_factory=dict)
    stopped_at: int | None = None
    finals: dict[int, float] = field(default_factory=dict)

    def at(self, epoch: int) -> list[float]:
        """The scores of all seeds that have reached an epoch."""
        return [scores[epoch] for scores in self.epochs.values() if epoch in scores]

    @property
    def num_awaited(self) -> int:
        """Seeds that are still to start."""
        is_running = self.state == "running"
        return len(self.trials.keys() - self.started - self.finals.keys()) if is_running else 0

    def take_over(self, earlier: "Candidate") -> None:
        """Have the result of an equal candidate, if it has one."""
        self.same_as = earlier.number
        self.state = "repeat"
        if earlier.state in ("complete", "pruned"):
            self.state, self.epochs, self.finals = earlier.state, earlier.epochs, earlier.finals
            self.stopped_at = earlier.stopped_at

    def told(self) -> Told:
        """For the sampler."""
        reached = sorted({epoch for scores in self.epochs.values() for epoch in scores})
        is_complete = self.state == "complete"
        return Told(
            number=self.number,
            params=self.params,
            config_id=self.config_id,
            state=self.state,
            value=fmean(self.finals.values()) if is_complete else None,
            n=len(self.finals) if is_complete else len(self.epochs),
            curve={epoch: fmean(self.at(epoch)) for epoch in reached},
        )


@dataclass(frozen=True)
class Rules:
    """How a search decides.

    Attributes:
        seeds: of every config.
        seed: of the draw of brackets.
        factor: ASHA's reduction factor.
        rungs: epochs by bracket; empty where nothing is stopped.
        weights: share of configs by bracket.
        noise_margin: in standard errors of a config's mean.
    """

    seeds: tuple[int, ...]
    seed: int = 0
    factor: float = 3.0
    rungs: tuple[tuple[int, ...], ...] = ((),)
    weights: tuple[float, ...] = (1.0,)
    noise_margin: float = 0.0

    def bracket(self, number: int) -> int:
        """The bracket of a config, drawn by its number."""
        digest = hashlib.sha256(f"bracket {self.seed} {number}".encode()).digest()
        point = int.from_bytes(digest[:6]) / 2**48
        for bracket in range(len(self.weights)):
            point -= self.weights[bracket]
            if point < 0:
                return bracket
        return len(self.weights) - 1


def interval(scores: Sequence[float]) -> Facts:
    """n, mean, standard deviation (ddof = 1), 95 % Student-t interval of a mean F1, which lies within [0, 1].

    None where n is small.
    """
    from scipy.stats import t  # a second of import

    n = len(scores)
    if n < 2:
        return {"n": n, "mean": scores[0] if scores else None, "std": None, "ci_low": None, "ci_high": None}
    mean, std = fmean(scores), stdev(scores)
    half = float(t.ppf(0.975, n - 1)) * std / math.sqrt(n)
    low, high = max(0.0, mean - half), min(1.0, mean + half)
    return {"n": n, "mean": mean, "std": std, "ci_low": low, "ci_high": high}


def score_of(candidate: Candidate) -> Facts:
    """The mean that the sampler is told, its n, and the standard deviation over seeds."""
    if candidate.state != "complete":
        return {}
    scores = list(candidate.finals.values())
    return {"mean": fmean(scores), "n": len(scores), "std": stdev(scores) if len(scores) > 1 else None}

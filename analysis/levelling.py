"""Whether training has levelled off: what F1 still gains at its end, beside its spread over seeds.

The gain is that of the last tenth of the epochs, at least one. A seed is the unit: its gain is the mean over
the configs of a phase that have all of the base's seeds, since trials that share a seed are no independent
witnesses, and seeds are only alike if they are means over the same configs. Levelled off means that
the whole 95 % t interval of the mean gain lies within the standard deviation over seeds, rising that it lies
above it.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from analysis.frame import CellResults, Results
from analysis.statistics.summary import Summary, summarise
from analysis.tables.layout import interval_text, signed
from lai_net.config import TrialConfig
from lai_net.metrics.scoring import TASKS_OF_PHASE
from lai_net.wording import counted
from tune.results.curves import Curves
from tune.spec.identity import spec_id

RULE = (
    "Levelled off: the whole 95 % interval of the mean gain lies within the standard deviation over seeds; "
    "still rising: it lies above. A learning rate that decays flattens a curve by itself, so this says "
    "nothing of a longer schedule."
)


@dataclass(frozen=True, slots=True)
class Measure:
    """The F1 by which a training chooses its best epoch, and which its curve therefore shows.

    Attributes:
        name: `dev F1`, `test macro F1`, `dev RE+ F1`.
        is_between_gold: whether it is of relations between gold entities.
    """

    name: str
    is_between_gold: bool

    @classmethod
    def of(cls, config: TrialConfig) -> "Measure":
        """That of a config's trainings."""
        training = config.training
        takes_gold = training.selection_entities == "gold"
        averaging = "" if training.selection_averaging == "micro" else f"{training.selection_averaging} "
        name = f"{training.selection} {averaging}{'' if takes_gold else 'RE+ '}F1"
        return cls(name, config.phase == "RE" and takes_gold)


@dataclass(frozen=True, slots=True)
class ConfigCurves:
    """F1 in percent after each epoch of a config's whole trainings, by seed; folds are averaged."""

    dataset: str
    phase: str
    measure: Measure
    is_base: bool
    by_seed: Mapping[int, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Levelling:
    """The end of a phase's trainings, in percent points of F1.

    Attributes:
        measure: which F1.
        epochs: of a training.
        last: how many of them count as the end.
        num_configs: whose trainings these are.
        gain: in the last epochs, over seeds.
        spread: standard deviation over seeds after the last epoch, pooled over configs; None with one seed.
    """

    dataset: str
    phase: str
    measure: Measure
    epochs: int
    last: int
    num_configs: int
    gain: Summary
    spread: float | None

    @property
    def verdict(self) -> str:
        """By the rule of this module; too few seeds decide nothing."""
        low, high, spread = self.gain.ci_low, self.gain.ci_high, self.spread
        if self.gain.n > 1 and not self.gain.has_spread:
            return "equal gains at every seed cannot tell whether training had levelled off"
        if low is None or high is None or spread is None:
            return "one seed cannot tell whether training had levelled off"
        if -spread <= low and high <= spread:
            return "levelled off"
        return "not levelled off, still rising" if low > spread else "not shown to have levelled off"

    def sentence(self) -> str:
        """All of it in plain words."""
        end = "the last epoch" if self.last == 1 else f"the last {self.last} epochs"
        gain = "" if self.gain.mean is None else f"{signed(self.gain.mean)} points"
        text = f"{self.dataset} {self.phase}, {self.measure.name} in {end} of {self.epochs}: {gain}"
        if self.gain.ci_low is not None and self.gain.ci_high is not None:
            text += f" ({interval_text(self.gain.ci_low, self.gain.ci_high)}"
            text += f" over {self.gain.n} seeds, {counted(self.num_configs, 'config')})"
        if self.spread is not None:
            text += f", standard deviation over seeds {self.spread:.2f}"
        return f"{text}; {self.verdict}."


def config_curves(results: Results) -> list[ConfigCurves]:
    """The whole curves of the study's completed trials, a config once, in the order of the tables."""
    found: dict[tuple[str, str, str], ConfigCurves] = {}
    for cell in results.matched:
        config, place = cell.place.cell.config, cell.place
        if config is None or place.task != TASKS_OF_PHASE[config.phase][0]:
            continue
        key = (place.cell.dataset, config.phase, spec_id(config))
        known = found.get(key)
        is_base = place.cell.is_base or (known is not None and known.is_base)
        by_seed = (
            dict(_by_seed(cell, results.curves, config.training.epochs)) if known is None else known.by_seed
        )
        measure = Measure.of(config)
        found[key] = ConfigCurves(place.cell.dataset, config.phase, measure, is_base, by_seed)
    return [curves for curves in found.values() if curves.by_seed]


def _by_seed(cell: CellResults, curves: Curves, num_epochs: int) -> Iterator[tuple[int, tuple[float, ...]]]:
    for seed, scores in cell.scores.items():
        by_fold = [_whole(row, curves, num_epochs) for row in scores]
        if all(by_fold):
            yield seed, tuple(map(fmean, zip(*by_fold, strict=True)))


def _whole(row: Mapping[str, object], curves: Curves, num_epochs: int) -> tuple[float, ...]:
    """A trial's F1 after each epoch; empty where one is missing, or it was trained for others."""
    f1 = {epoch.epoch: epoch.f1 for epoch in curves.get(str(row["trial_id"]), ())}
    whole = [100 * value for number in range(1, num_epochs + 1) if (value := f1.get(number)) is not None]
    return tuple(whole) if len(whole) == len(f1) == num_epochs else ()


def levelling(configs: Sequence[ConfigCurves]) -> list[Levelling]:
    """How each dataset's phases end; those of one epoch have no end to speak of.

    Configs with another F1 or other epochs than the base are left out, since their ends do not compare, and
    so are those that lack seeds of the base.
    """
    by_phase: dict[tuple[str, str], list[ConfigCurves]] = defaultdict(list)
    for item in configs:
        by_phase[item.dataset, item.phase].append(item)
    return [found for own in by_phase.values() if (found := _levelling(own)) is not None]


def _levelling(configs: Sequence[ConfigCurves]) -> Levelling | None:
    first = min(configs, key=lambda item: not item.is_base)
    epochs = len(next(iter(first.by_seed.values())))
    configs = [
        item
        for item in configs
        if item.measure == first.measure
        and len(next(iter(item.by_seed.values()))) == epochs
        and item.by_seed.keys() >= first.by_seed.keys()
    ]
    if epochs < 2:
        return None
    last = max(1, round(epochs / 10))
    gains = [
        fmean(item.by_seed[seed][-1] - item.by_seed[seed][-1 - last] for item in configs)
        for seed in sorted(first.by_seed)
    ]
    ends = [[item.by_seed[seed][-1] for seed in first.by_seed] for item in configs]
    return Levelling(
        dataset=first.dataset,
        phase=first.phase,
        measure=first.measure,
        epochs=epochs,
        last=last,
        num_configs=len(configs),
        gain=summarise(gains),
        spread=_pooled(ends),
    )


def _pooled(groups: Sequence[Sequence[float]]) -> float | None:
    """The standard deviation within groups of one size; None where that is 1."""
    return None if len(groups[0]) < 2 else math.sqrt(fmean(map(variance, groups)))

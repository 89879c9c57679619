"""What `lai plan` says before anything runs: counts, what the rest will cost, and warnings."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lai_net.config import active_settings
from tune.ledger import AttemptRow, Ledger, TrialRow
from tune.plan import Plan, PlannedTrial

SIGNIFICANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Seconds that the trials to run will take, one after another, by the mean of like finished trials.

    None where some have no like: same dataset, phase, encoder and epochs. `measured` counts the likes.
    """

    cpu_s: float | None
    wall_s: float | None
    measured: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The counts of `lai plan`; `done` are the trials that the ledger has completed."""

    cells: int
    seeds: int
    runs: int
    trials: int
    folded: int
    done: int
    to_run: int
    estimate: Estimate
    warnings: tuple[str, ...]


def summarize(plan: Plan, ledger: Ledger) -> Summary:
    """Count a plan against a ledger; trials are matched by dataset, fold, seed and spec_id."""
    folds = {dataset.name: dataset.folds for dataset in plan.study.datasets}
    cells = [cell for cell in plan.cells if cell.config is not None]
    seeds = len(plan.study.seeds)
    runs = sum(folds[cell.dataset] for cell in cells) * seeds
    finished = _finished(ledger)
    done = {row.key for row, _ in finished}
    remaining = [trial for trial in plan.trials if trial.key not in done]
    estimate, unmeasured = _estimate(remaining, finished)
    return Summary(
        cells=len(cells),
        seeds=seeds,
        runs=runs,
        trials=len(plan.trials),
        folded=runs - len(plan.trials),
        done=len(plan.trials) - len(remaining),
        to_run=len(remaining),
        estimate=estimate,
        warnings=tuple(_warnings(plan, unmeasured)),
    )


def _finished(ledger: Ledger) -> list[tuple[TrialRow, AttemptRow]]:
    newest = ledger.newest_attempts()
    pairs = [(row, newest[row.trial_id]) for row in ledger.trials() if row.trial_id in newest]
    return [(row, attempt) for row, attempt in pairs if attempt.status == "completed"]


def _estimate(
    remaining: Sequence[PlannedTrial], finished: Sequence[tuple[TrialRow, AttemptRow]]
) -> tuple[Estimate, list[str]]:
    measured: dict[Any, list[tuple[float, float]]] = defaultdict(list)
    for row, attempt in finished:
        # A resumed attempt measured only its own part of the training.
        if attempt.attempt == 1 and attempt.cpu_s is not None and attempt.wall_s is not None:
            measured[_kind(row.dataset, row.config)].append((attempt.cpu_s, attempt.wall_s))
    kinds = [_kind(trial.dataset, active_settings(trial.config)) for trial in remaining]
    unmeasured = sorted({f"{dataset} {phase}" for dataset, phase, *_ in set(kinds) - measured.keys()})
    used = sum(len(measured[kind]) for kind in set(kinds) if kind in measured)
    if unmeasured:
        return Estimate(cpu_s=None, wall_s=None, measured=used), unmeasured
    means = {kind: [fmean(times) for times in zip(*measured[kind], strict=True)] for kind in set(kinds)}
    cpu_s, wall_s = (sum(means[kind][index] for kind in kinds) for index in (0, 1))
    return Estimate(cpu_s=cpu_s, wall_s=wall_s, measured=used), []


def _kind(dataset: str, settings: dict[str, Any]) -> tuple[str, str, str, int]:
    """What makes two trials cost about the same."""
    return dataset, settings["phase"], settings["encoder"]["name"], settings["training"]["epochs"]


def smallest_p(pairs: int, comparisons: int = 1) -> float:
    """The smallest p that so many pairs can reach after Holm's correction over so many comparisons."""
    return min(1.0, 2.0 ** (1 - pairs) * comparisons)


def _warnings(plan: Plan, unmeasured: Sequence[str]) -> list[str]:
    warnings = []
    num_seeds = len(plan.study.seeds)
    comparisons: dict[tuple[str, str, str], int] = defaultdict(int)
    for cell in plan.cells:
        if cell.config is not None and not cell.is_base:
            comparisons[cell.dataset, cell.phase, cell.factor] += 1
    most = max(comparisons.values(), default=0)
    best_p = smallest_p(num_seeds, most)
    if best_p >= SIGNIFICANCE:
        enough = next(n for n in range(num_seeds, 64) if smallest_p(n, most) < SIGNIFICANCE)
        factors = sorted({factor for (_, _, factor), count in comparisons.items() if count == most})
        warnings.append(
            f"{num_seeds} seeds cannot show a difference: with {most} comparisons ({', '.join(factors)}) the "
            f"smallest p after Holm is {best_p:.3g} (paired: 2/2^n each); {enough} seeds can"
        )
    for dataset in plan.study.datasets:
        if dataset.ner is None and plan.study.report.entities == "predicted":
            warnings.append(
                f"{dataset.name} has no NER phase, so its RE is not end to end: it is shown on gold entities"
            )
    if unmeasured:
        warnings.append(
            f"no estimate: the ledger has no finished trial like those of {', '.join(unmeasured)}"
        )
    return warnings

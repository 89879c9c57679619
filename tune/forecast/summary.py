"""What `lai plan` says before anything runs: counts, what the rest will cost, and warnings."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lai_net.config import EntitySource
from lai_net.doubts import doubts
from lai_net.wording import counted
from tune.engine import Node
from tune.forecast.estimate import Estimate, estimate
from tune.forecast.significance import SIGNIFICANCE, smallest_p
from tune.ledger.ledger import Ledger
from tune.ledger.rows import AttemptRow, TrialRow
from tune.planning.imported import lines_on_nameless
from tune.planning.plan import Plan, PlannedTrial
from tune.results.spared import UNLIKE, imported_results
from tune.spec.baseline import PL_MARKER
from tune.spec.cells import Cell
from tune.spec.idle import lines_on_idle
from tune.spec.study import Study


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a study comes to; `done` are the trials that the ledger has completed, or imported."""

    cells: int
    seeds: int
    runs: int
    trials: int
    folded: int
    done: int


@dataclass(frozen=True, kw_only=True)
class Summary(Counts):
    """What `lai plan` says."""

    to_run: int
    estimate: Estimate
    warnings: tuple[str, ...]


def summarize(
    plan: Plan, ledger: Ledger, folder: Path | None = None, nodes: Sequence[Node] | None = None
) -> Summary:
    """Count a plan against a ledger; trials are matched by dataset, fold, seed and spec_id.

    `folder` is the ledger's, whose models say how much disk the rest will take; `nodes` are a cluster's.
    """
    folds = {dataset.name: len(dataset.fold_numbers) for dataset in plan.study.datasets}
    cells = [cell for cell in plan.cells if cell.config is not None]
    seeds = len(plan.study.seeds)
    runs = sum(folds[cell.dataset] for cell in cells) * seeds
    finished = finished_trials(ledger)
    ran = {row.key for row, _ in finished}
    found = imported_results(plan, ledger)
    imported = found.trials - ran
    done, known = ran | imported, {row.key for row in ledger.trials()}
    remaining = [trial for trial in plan.trials if trial.key not in done]
    kept = _kept(plan, remaining)
    cost, unmeasured = estimate(remaining, finished, ledger, plan.study.resources, folder, kept, nodes)
    return Summary(
        cells=len(cells),
        seeds=seeds,
        runs=runs,
        trials=len(plan.trials),
        folded=runs - len(plan.trials),
        done=len(plan.trials) - len(remaining),
        to_run=len(remaining),
        estimate=cost,
        warnings=(
            *_warnings(plan, unmeasured, len(imported - known), len(found.unlike - done)),
            *lines_on_nameless(ledger, plan.study),
        ),
    )


def _kept(plan: Plan, remaining: Sequence[PlannedTrial]) -> list[PlannedTrial]:
    """Of the trials to run as many as have a model that stays, by `budget.keep_models`."""
    level = plan.study.budget.keep_models
    if level == "none":
        return []
    upstream = {item.upstream for item in plan.evaluations}
    best = {(trial.dataset, trial.phase): trial.key for trial in remaining}  # any may turn out to be
    stays = upstream | set(best.values())
    return [trial for trial in remaining if level == "all" or trial.key in stays]


def finished_trials(ledger: Ledger) -> list[tuple[TrialRow, AttemptRow]]:
    """The completed trials, each with its last attempt."""
    newest = ledger.newest_attempts()
    pairs = [(row, newest[row.trial_id]) for row in ledger.trials() if row.trial_id in newest]
    return [(row, attempt) for row, attempt in pairs if attempt.status == "completed"]


_LACKS: Mapping[EntitySource, str] = {
    "predicted": "is not end to end", "gold_typed_by_model": "has no types of a model",
}  # fmt: skip
"""What is said of RE that is shown on gold entities in place of what the report asks for."""


def _without_ner(plan: Plan) -> Iterator[str]:
    """A warning for each dataset whose RE needs an NER phase for what the report shows."""
    shown = plan.study.report.entities
    for dataset in plan.study.datasets:
        configs = [cell.config for cell in plan.cells if (cell.dataset, cell.phase) == (dataset.name, "RE")]
        if dataset.ner is None and any(config and shown not in config.evaluated_on for config in configs):
            yield (
                f"{dataset.name} has no NER phase, so its RE {_LACKS[shown]}: it is shown on gold entities"
            )


def _without_effect(study: Study, cells: Iterable[Cell]) -> Iterator[str]:
    """What a study sets in a phase, but changes nothing in any cell of it."""
    configs = defaultdict(list)
    for cell in cells:
        if cell.config is not None:
            is_theirs = cell.factor == "model" and cell.level == PL_MARKER and not cell.is_base
            configs[cell.dataset, cell.phase, is_theirs].append(cell.config)
    for (name, phase, is_theirs), found in configs.items():
        (dataset,) = (item for item in study.datasets if item.name == name)
        base = dataset.base(phase)
        spec = base.plmarker if base is not None and is_theirs else base
        yield from lines_on_idle(study, f"{name}, {phase}", spec, found)


def _warnings(plan: Plan, unmeasured: Sequence[str], num_said: int, num_unlike: int) -> list[str]:
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
            f"{counted(num_seeds, 'seed')} cannot show a difference: with {counted(most, 'comparison')} "
            f"({', '.join(factors)}) the smallest p after Holm is {best_p:.3g} (paired: 2/2^n each); "
            f"{enough} seeds can"
        )
    warnings += _without_ner(plan)
    warnings += _without_effect(plan.study, plan.cells)
    warnings += dict.fromkeys(doubt for trial in plan.trials for doubt in doubts(trial.config))
    if num_said:
        warnings.append(
            f"{num_said} trials are done by imported results, as far as these say; `lai run` compares ids"
        )
    if num_unlike:
        warnings.append(f"{num_unlike} imported trials do not count as done, {UNLIKE}")
    return [*warnings, *unmeasured]

"""More seeds for the cells that are not decided, and for those alone.

What is decided is statistics, which this package may not import. Here its verdicts become trials: of each
open cell and its base, and for end-to-end relations of the NER trials they need.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lai_net.wording import counted
from tune.engine import Node
from tune.forecast.estimate import Estimate
from tune.forecast.significance import SIGNIFICANCE, State, smallest_p
from tune.forecast.summary import Counts, summarize
from tune.ledger.ledger import Ledger
from tune.ledger.rows import TrialKey
from tune.planning.plan import make_plan
from tune.spec.cells import Cell, expand
from tune.spec.identity import spec_id
from tune.spec.study import Decide, Study, with_all_seeds


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Where a level's comparison with its base stands; scores in percent points of F1.

    Attributes:
        looks: seeds at each look that is planned.
        state: different, equivalent, open (more seeds will be added) or exhausted (undecided at the end).
        look: how many looks were made at it.
        n: pairs of seeds at the last of them.
        delta, ci_low, ci_high, p_adjusted: at that look; None before the first.
        missing: seeds that the cell lacks for the next look.
        base_missing: seeds that its base lacks.
    """

    dataset: str
    phase: str
    task: str
    factor: str
    level: str
    base_level: str
    looks: tuple[int, ...]
    state: State
    look: int
    n: int
    delta: float | None
    ci_low: float | None
    ci_high: float | None
    p_adjusted: float | None
    missing: tuple[int, ...]
    base_missing: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Growth(Counts):
    """What `lai plan --until-decided` says: counts of the study's own seeds, and the next look's cost.

    Attributes:
        to_run: trials that the next look waits for.
    """

    max_seeds: int
    step: int
    min_effect: float
    alpha: float
    decisions: tuple[Decision, ...]
    to_run: int
    estimate: Estimate
    warnings: tuple[str, ...]


def look_counts(study: Study, comparisons: int) -> tuple[int, ...]:
    """Seeds at each look: the study's own, then `step` more each time, the last look at `max_seeds`.

    Early looks at which so few seeds could mark nothing are left out, since each look makes all others
    stricter.
    """
    decide = _decide(study)
    looks = (*range(len(study.seeds), decide.max_seeds, decide.step), decide.max_seeds)
    while len(looks) > 1 and smallest_p(looks[0], comparisons * len(looks)) >= SIGNIFICANCE:
        looks = looks[1:]
    return looks


def needed_trials(study: Study, decisions: Iterable[Decision]) -> set[TrialKey]:
    """The trials that the open decisions wait for, done or not."""
    cells = {cell.key: cell for cell in expand(study)}
    keys: set[TrialKey] = set()
    for item in decisions:
        place = (item.dataset, item.phase, item.factor)
        keys |= _keys(study, cells[*place, item.level], item.missing)
        keys |= _keys(study, cells[*place, item.base_level], item.base_missing)
    return keys


def grow(
    study: Study, ledger: Ledger, decisions: Sequence[Decision], nodes: Sequence[Node] | None = None
) -> Growth:
    """What the next look costs, on a cluster's nodes or this machine; `study` has its `[decide]`."""
    decide = _decide(study)
    plan = make_plan(with_all_seeds(study)).only(needed_trials(study, decisions))
    own, summary = summarize(make_plan(study), ledger), summarize(plan, ledger, nodes=nodes)
    ahead = {"to_run": summary.to_run, "estimate": summary.estimate, "warnings": tuple(_warnings(decisions))}
    return Growth(**vars(own) | ahead | decide.model_dump(), alpha=SIGNIFICANCE, decisions=tuple(decisions))


def _keys(study: Study, cell: Cell, seeds: Sequence[int]) -> set[TrialKey]:
    (folds,) = (dataset.fold_numbers for dataset in study.datasets if dataset.name == cell.dataset)
    configs = [config for config in (cell.config, cell.upstream) if config is not None]
    return {
        (cell.dataset, fold, seed, spec_id(config)) for config in configs for seed in seeds for fold in folds
    }


def _decide(study: Study) -> Decide:
    if study.decide is None:
        raise ValueError("a study without [decide]")
    return study.decide


def _warnings(decisions: Iterable[Decision]) -> Iterator[str]:
    """Where even all the seeds could mark nothing."""
    families = Counter((item.dataset, item.task, item.factor, item.looks) for item in decisions)
    for (dataset, task, factor, looks), comparisons in families.items():
        best_p = smallest_p(looks[-1], comparisons * len(looks))
        if best_p >= SIGNIFICANCE:
            yield (
                f"{dataset} {task}, {factor}: {counted(looks[-1], 'seed')} cannot show a difference: with "
                f"{counted(comparisons, 'comparison')} the smallest p after Holm is {best_p:.3g}; "
                "raise max_seeds"
            )

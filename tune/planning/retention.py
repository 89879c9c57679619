"""Which trained models of a study stay on disk, and when another may go: `budget.keep_models`."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tune.ledger.ledger import Ledger
from tune.ledger.rows import AttemptRow, EvaluationRow, TrialRow
from tune.planning.plan import IdentifiedPlan, IdentifiedTrial, is_current
from tune.spec.study import KeepModels

STUDY, NOT_KEPT = "study", "not_kept"
"""Keys of an attempt's provenance: the study whose run it is, and why its model is gone."""
GONE = "; its model was not kept"
"""Said of such a trial where it is named as the best."""


@dataclass
class Retention:
    """Tells which models nothing needs any more. What another study's run trained is never among them.

    Attributes:
        study: its name.
        level: its `budget.keep_models`.
        plan: all trials and evaluations that it plans, done or not.
        pinned: further trials whose models stay at every level: a search's RE takes entities from one.
        fresh_seeds: of a search's confirmations, whose models "needed" keeps.
        search_score: what a search ranks a completed trial by; its best stay as those by F1 on dev do.
    """

    study: str
    level: KeepModels
    plan: IdentifiedPlan
    pinned: frozenset[str] = frozenset()
    fresh_seeds: frozenset[int] = frozenset()
    search_score: Callable[[IdentifiedTrial], float | None] = lambda _: None

    def __post_init__(self) -> None:
        self._open: dict[str, set[str]] = defaultdict(set)
        self._own: dict[str, TrialRow] = {}
        self.num_released = 0
        self._best: dict[tuple[str, str, str], tuple[float, frozenset[str]]] = {}
        self._upstream = {item.upstream_trial_id for item in self.plan.evaluations}

    @property
    def why(self) -> str:
        """What the ledger notes of a model that went."""
        return f'budget.keep_models = "{self.level}" of study {self.study}'

    def take_stock(self, ledger: Ledger) -> Iterator[str]:
        """The trials whose models may go now, by what the ledger holds; called once, at the start."""
        if self.level == "all":
            return
        for item in self.plan.remaining(ledger).evaluations:
            for trial_id in joined(item.trial_id, item.upstream_trial_id):
                self._open[trial_id].add(item.evaluation_id)
        newest = ledger.newest_attempts()
        trials = {trial.row.trial_id: trial for trial in self.plan.trials}
        for evaluation in filter(is_current, ledger.each_evaluation()):
            if (trial := trials.get(evaluation.trial_id)) is not None:
                self._rank(trial.row, "dev", evaluation.dev_f1(trial.config))
        for trial in trials.values():
            self._rank(trial.row, "search", self.search_score(trial))
        for trial_id, trial in trials.items():
            if trial_id in newest and self._is_ours(newest[trial_id]):
                self._own[trial_id] = trial.row
        yield from self._released(list(self._own))

    def completed(self, trial: IdentifiedTrial, evaluations: Iterable[EvaluationRow]) -> Iterator[str]:
        """The trials whose models may go once this one is trained, itself among them."""
        if self.level == "all":
            return
        trial_id, before = trial.row.trial_id, self._best_of(trial.row)
        self._own[trial_id] = trial.row
        self._rank(trial.row, "search", self.search_score(trial))
        for row in evaluations:
            self._rank(trial.row, "dev", row.dev_f1(trial.config))
            self._open[trial_id].discard(row.evaluation_id)
        yield from self._released(before | {trial_id})

    def evaluated(self, row: EvaluationRow) -> Iterator[str]:
        """The trials whose models may go after an evaluation; one that failed is still to be made."""
        if self.level == "all" or row.error is not None:
            return
        trials = joined(row.trial_id, row.upstream_trial_id)
        for trial_id in trials:
            self._open[trial_id].discard(row.evaluation_id)
        yield from self._released(trials)

    def _released(self, trial_ids: Iterable[str]) -> Iterator[str]:
        for trial_id in trial_ids:
            if trial_id in self._own and not self._is_needed(self._own[trial_id]):
                del self._own[trial_id]
                self.num_released += 1
                yield trial_id

    def _is_needed(self, row: TrialRow) -> bool:
        if self._open[row.trial_id] or row.trial_id in self.pinned:
            return True
        if self.level == "none":
            return False
        is_best = row.trial_id in self._best_of(row)
        return is_best or row.trial_id in self._upstream or row.seed in self.fresh_seeds

    def _is_ours(self, attempt: AttemptRow) -> bool:
        is_there = attempt.status == "completed" and NOT_KEPT not in attempt.provenance
        return is_there and attempt.provenance.get(STUDY) == self.study

    def _rank(self, row: TrialRow, measure: str, score: float | None) -> None:
        """Note the best of each dataset and phase, with its equals: the plan's order may change."""
        if score is not None:
            place = row.dataset, row.phase, measure
            best, equals = self._best.get(place, (-1.0, frozenset()))
            if score > best:
                self._best[place] = score, frozenset({row.trial_id})
            elif score == best:
                self._best[place] = score, equals | {row.trial_id}

    def _best_of(self, row: TrialRow) -> frozenset[str]:
        """The best so far of a trial's dataset and phase, by either measure."""
        places = ((row.dataset, row.phase, measure) for measure in ("dev", "search"))
        return frozenset[str]().union(*(self._best[place][1] for place in places if place in self._best))


def not_kept(ledger: Ledger) -> frozenset[str]:
    """The trials whose models went."""
    newest = ledger.newest_attempts()
    return frozenset(name for name, attempt in newest.items() if NOT_KEPT in attempt.provenance)


def joined(trial_id: str, upstream: str | None) -> tuple[str, ...]:
    """The trials whose models an evaluation takes."""
    return (trial_id,) if upstream is None else (trial_id, upstream)

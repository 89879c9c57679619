"""What a run has to do: the trainings and evaluations of a plan that its ledger lacks."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lai_net.config import EntitySource
from tune.ledger.ledger import Ledger
from tune.planning.plan import IdentifiedEvaluation, IdentifiedPlan, IdentifiedTrial
from tune.planning.retention import joined


@dataclass(frozen=True)
class Training:
    """A trial to train."""

    trial: IdentifiedTrial
    needs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The trial's id."""
        return self.trial.row.trial_id

    def __str__(self) -> str:
        return f"{self.trial} ({self.key})"


@dataclass(frozen=True)
class Evaluating:
    """A trained trial to evaluate: an RE trial on the entities that an NER trial predicts, or one alone."""

    trial: IdentifiedTrial
    upstream_trial_id: str | None
    entities: EntitySource
    splits: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def trial_ids(self) -> tuple[str, ...]:
        """Of the trials whose models it takes."""
        return joined(self.trial.row.trial_id, self.upstream_trial_id)

    @property
    def key(self) -> str:
        """The trials' ids, and whose entities it takes unless it is end to end."""
        source = () if self.is_end_to_end else (self.entities,)
        return "+".join((*self.trial_ids, *source))

    @property
    def is_end_to_end(self) -> bool:
        """Whether its entities are those that an NER trial predicts."""
        return self.upstream_trial_id is not None and self.entities == "predicted"

    def __str__(self) -> str:
        kind = "end-to-end evaluation" if self.is_end_to_end else "evaluation"
        return f"{kind} of {self.trial} ({self.key})"


def open_jobs(plan: IdentifiedPlan, ledger: Ledger) -> list[Training | Evaluating]:
    """What the ledger lacks: trainings in the plan's order, then evaluations.

    The evaluations of one trial alone come with its training, or, once their semantics were raised, by
    themselves.
    """
    remaining = plan.remaining(ledger)
    trainings = [Training(trial) for trial in remaining.trials]
    missing = {training.key for training in trainings}
    trials = {trial.row.trial_id: trial for trial in plan.trials}
    return [*trainings, *_end_to_end(remaining.evaluations, trials, missing)]


def _end_to_end(
    evaluations: Iterable[IdentifiedEvaluation], trials: Mapping[str, IdentifiedTrial], missing: set[str]
) -> Iterator[Evaluating]:
    splits: dict[tuple[str, str | None, EntitySource], list[str]] = {}
    for evaluation in evaluations:
        if evaluation.upstream_trial_id is not None or evaluation.trial_id not in missing:
            join = (evaluation.trial_id, evaluation.upstream_trial_id, evaluation.entities)
            splits.setdefault(join, []).append(evaluation.split)
    for (trial_id, upstream, entities), names in splits.items():
        needs = tuple(needed for needed in (trial_id, upstream) if needed in missing)
        yield Evaluating(trials[trial_id], upstream, entities, tuple(names), needs)

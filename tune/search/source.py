"""The source of a search's run: asks for configs when there is room, and feeds what happens into the log.

The log trails the ledger: a message is in the ledger before the search hears it. So at the start whatever the
ledger has and the log lacks is told first; then the search stands where an unbroken one would.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

from lai_net.config import TrialConfig
from lai_net.errors import InputError
from tune.engine import FailureKind, Message, Task
from tune.execution import Execution
from tune.ledger.ledger import Ledger
from tune.ledger.rows import AttemptRow
from tune.planning.jobs import Evaluating, Training
from tune.planning.plan import IdentifiedTrial
from tune.planning.retention import STUDY
from tune.schedule import Schedule
from tune.search.candidate import Candidate
from tune.search.known import known_result, ledger_spread, selected_score
from tune.search.log import DecisionLog, Suggest
from tune.search.plan import SearchPlan
from tune.search.report import most_trainings
from tune.search.state import Search

_BLAMELESS: tuple[FailureKind, ...] = ("machine", "stall")
"""Failures that say nothing of a config; memory of a device it may well need too much of."""


@dataclass(frozen=True)
class _Place:
    """What a trial is for: a seed of a candidate, or a fresh seed of its confirmation."""

    number: int
    seed: int
    is_confirmation: bool


@dataclass
class SearchSource:
    """A `tune.engine.Source` that suggests, stops and confirms.

    Attributes:
        plan: of the study.
        suggest: the sampler.
        identify: a planned trial with its ids.
        execution: the sink; makes tasks.
        max_attempts, is_spent: as `Schedule` takes them.
        jobs: those that were handed out, by key; a progress bar reads it.
    """

    plan: SearchPlan
    suggest: Suggest
    identify: Callable[[TrialConfig, int], IdentifiedTrial]
    execution: Execution
    max_attempts: int = 3
    is_spent: Callable[[], bool] = lambda: False
    jobs: MutableMapping[str, Training | Evaluating] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.schedule: Schedule[Training] = Schedule(
            (), self.execution.make_task, max_attempts=self.max_attempts, is_spent=self.is_spent
        )
        self.log = DecisionLog.resume(self._ledger, self.plan.search_id, Search(self.plan.rules))
        self._places: dict[str, _Place] = {}
        self._pending: deque[Training] = deque()
        upstream = self._queue_upstream()
        if self.log.size == 0:
            self._check_model(upstream)
            self.log.decide("begin", **ledger_spread(self._ledger, self.plan, upstream), upstream=upstream)
        if self.search.upstream != upstream:
            raise InputError(
                f"the search goes by the entities of NER trial {self.search.upstream}, which would be "
                f"{upstream} now: corpus or encoder have changed; name another search.seed"
            )
        for candidate in self.search.candidates:
            if candidate.same_as is None and candidate.trials:
                self._catch_up(candidate)
        if self.search.chosen:
            self._confirm()
        self._check_model(upstream)

    @property
    def search(self) -> Search:
        """Where the search stands."""
        return self.log.search

    @property
    def _ledger(self) -> Ledger:
        return self.execution.ledger

    def next_task(self) -> Task | None:
        """A retry, a seed of a config that is on its way, a new config, or a confirmation."""
        task = self.schedule.next_task()
        if task is not None or self.is_spent() or self._has_given_up:
            return task
        while not self._pending and self._is_ready and self._advance():
            pass
        if not self._pending:
            return None
        self.schedule.add(self._pending.popleft())
        return self.schedule.next_task()

    def is_done(self) -> bool:
        """Whether the search is over, or nothing runs and nothing new may start."""
        has_failed = self.search.upstream in self.schedule.failed
        is_over = has_failed or self.is_spent() or self.is_over() or self._has_given_up or self._waits
        return self.schedule.is_done() and is_over

    def goes_on(self, task: Task, message: Message) -> bool:
        """Whether the config of a trial does."""
        place = self._places.get(task.key)
        if place is None or place.is_confirmation:
            return True
        candidate = self.search.candidates[place.number]
        if message.event == "epoch" and message.content["epoch"] not in candidate.epochs.get(place.seed, {}):
            self._tell_epoch(place, message.content)
        if candidate.state != "running":
            self._drop(candidate)
        return candidate.state == "running"

    def ended(self, task: Task, message: Message) -> None:
        """Take a result or a failure that is final; a try that is to be repeated is no word yet."""
        self.schedule.ended(task, message)
        place = self._places.get(task.key)
        if place is None:  # the upstream trial: facts about configs alone are told
            return
        if task.key in self.schedule.completed:
            self._tell_done(task.key, place)
        elif self.schedule.failures.get(task.key) in _BLAMELESS:
            return  # no word on the config: the next call tries again
        elif task.key in self.schedule.failed and place.is_confirmation:
            self._tell_confirmed(place.number)
        elif task.key in self.schedule.failed:
            error = self.schedule.failed[task.key].strip().splitlines()[-1]
            self.log.decide("failed", number=place.number, seed=place.seed, error=error)
            self._drop(self.search.candidates[place.number])

    def is_over(self) -> bool:
        """Whether neither a config nor a confirmation is left to start."""
        is_chosen = self.search.chosen == self._choice()
        return is_chosen and not self._pending and self._reason() is not None

    @property
    def left(self) -> list[str]:
        """Keys of trials that the next call tries again: they failed for this run, not their configs."""
        blameless = (key for key, kind in self.schedule.failures.items() if kind in _BLAMELESS)
        return [key for key in blameless if self._is_wanted(self._places.get(key))]

    def _is_wanted(self, place: _Place | None) -> bool:
        """Whether a trial's result still counts; that of the upstream trial, which has no place, does."""
        if place is None or place.is_confirmation:
            return True
        return self.search.candidates[place.number].state == "running"

    @property
    def _has_given_up(self) -> bool:
        """Whether so many configs are left that the next would only be left, too."""
        numbers = {self._places[key].number for key in self.left if key in self._places}
        return len(numbers) >= self.plan.spec.budget.failures

    @property
    def _waits(self) -> bool:
        """Whether nothing can be decided before what is left has been tried again."""
        return bool(self.left) and not self._pending and self._reason() is not None

    def _queue_upstream(self) -> str | None:
        """The NER trial whose entities RE goes by, by its id; what the ledger lacks is trained first."""
        if self.plan.upstream is None:
            return None
        job = self.identify(self.plan.upstream.config, self.plan.upstream.seed)
        self._ledger.register_trials([job.row])
        if self._ledger.status(job.row.trial_id) != "completed":
            training = Training(job)
            self.jobs[training.key] = training
            self._pending.append(training)
        return job.row.trial_id

    def _check_model(self, upstream: str | None) -> None:
        """Refuse a search that has something to train and whose NER trial has no model any more."""
        is_over = self.is_over() or most_trainings(self.plan, self.search) == 0
        if upstream is not None and upstream not in self.jobs and not is_over:
            self.execution.check_models([upstream])

    @property
    def _is_ready(self) -> bool:
        """Whether configs can be trained: the upstream trial is there, where one is needed."""
        upstream = self.search.upstream
        return upstream is None or upstream not in self.jobs or upstream in self.schedule.completed

    def _config(self, params: Mapping[str, Any]) -> TrialConfig:
        return self.plan.config(params, self.search.upstream)

    def _reason(self) -> str | None:
        return self.search.spent(self.plan.budget, self.plan.space.size)

    def _advance(self) -> bool:
        """One more suggestion, or the choice for confirmation; False where there is nothing to decide."""
        if self._reason() is None:
            self._take_suggestion()
            return True
        if self.search.num_running or self.search.chosen == self._choice():
            return False
        self.log.decide(
            "choose",
            budget=self.plan.budget,
            size=self.plan.space.size,
            best=self.plan.spec.confirm.best,
            seeds=self.plan.fresh_seeds,
        )
        self._confirm()
        return True

    def _choice(self) -> dict[str, Any]:
        """What the study asks to confirm, as `Search.chosen` keeps it."""
        asked = {"best": self.plan.spec.confirm.best, "seeds": list(self.plan.fresh_seeds)}
        return asked | {"numbers": self.search.chosen.get("numbers")}

    def _take_suggestion(self) -> None:
        suggested = self.suggest([candidate.told() for candidate in self.search.candidates])
        asked = {"params": dict(suggested.params), "origin": suggested.origin}
        try:
            config = self._config(suggested.params)
        except InputError:
            self.log.decide("suggest", **asked, config_id=None, trials=(), known=())
            return
        trials = self._register(config, self.plan.rules.seeds)
        known = [
            (seed, *found) for seed, trial in trials.items() if (found := known_result(self._ledger, trial))
        ]
        self.log.decide(
            "suggest",
            **asked,
            config_id=next(iter(trials.values())).row.config_id,
            trials=[(seed, trial.row.trial_id) for seed, trial in trials.items()],
            known=known,
        )
        candidate = self.search.candidates[-1]
        if candidate.state == "running":
            missing = {seed: trial for seed, trial in trials.items() if seed not in candidate.finals}
            self._queue(missing, candidate.number, is_confirmation=False)

    def _register(self, config: TrialConfig, seeds: Iterable[int]) -> dict[int, IdentifiedTrial]:
        trials = {seed: self.identify(config, seed) for seed in seeds}
        self._ledger.register_trials([trial.row for trial in trials.values()])
        return trials

    def _queue(self, trials: dict[int, IdentifiedTrial], number: int, *, is_confirmation: bool) -> None:
        """What is on its way or was tried in this run stays as it is: a choice may be made anew meanwhile."""
        for seed, trial in trials.items():
            training = Training(replace(trial, cells=f"config {number}"))
            if training.key in self.jobs:
                continue
            self.jobs[training.key] = training
            self._places[training.key] = _Place(number, seed, is_confirmation)
            self._pending.append(training)

    def _drop(self, candidate: Candidate) -> None:
        """Start no further seed of a config that is over."""
        keys = set(candidate.trials.values())
        for training in [item for item in self._pending if item.key in keys]:
            self._pending.remove(training)
            del self.jobs[training.key]

    def _tell_epoch(self, place: _Place, report: dict[str, Any]) -> None:
        self.log.decide(
            "epoch",
            number=place.number,
            seed=place.seed,
            epoch=report["epoch"],
            score=report["dev"]["f1"],
            wall_s=report.get("wall_s", 0.0),
        )

    def _tell_done(self, trial_id: str, place: _Place) -> None:
        if place.is_confirmation:
            self._tell_confirmed(place.number)
            return
        config = self._config(self.search.candidates[place.number].params)
        score = selected_score(config, self._ledger.epochs(trial_id))
        self.log.decide("done", number=place.number, seed=place.seed, score=score)

    def _catch_up(self, candidate: Candidate) -> None:
        """Tell what a killed driver could not, settle what it left running, queue what is missing."""
        trials = self._register(self._config(candidate.params), candidate.trials)
        for seed, trial_id in candidate.trials.items():
            place = _Place(candidate.number, seed, is_confirmation=False)
            for report in self._ledger.epochs(trial_id):
                if candidate.state == "running" and report["epoch"] not in candidate.epochs.get(seed, {}):
                    self._tell_epoch(place, report)
            is_new = candidate.state == "running" and seed not in candidate.finals
            if is_new and self._ledger.status(trial_id) == "completed":
                self._tell_done(trial_id, place)
        if candidate.state == "running":
            missing = {seed: trial for seed, trial in trials.items() if seed not in candidate.finals}
            self._queue(missing, candidate.number, is_confirmation=False)
            return
        for trial_id in candidate.trials.values():
            *_, newest = (None, *self._ledger.attempts(trial_id))
            if newest is not None and newest.status == "running" and self._is_ours(newest):
                self.execution.prune(trial_id, newest.attempt)

    def _is_ours(self, attempt: AttemptRow) -> bool:
        """Whether this study started it; another may go on with what a search has stopped."""
        return attempt.provenance.get(STUDY) == self.execution.retention.study

    def _confirm(self) -> None:
        """Queue the chosen configs' fresh seeds that the ledger lacks."""
        for number in self.search.chosen["numbers"]:
            trials = self._confirmation_trials(number)
            missing = {seed: trial for seed, trial in trials.items() if not known_result(self._ledger, trial)}
            self._queue(missing, number, is_confirmation=True)
            self._tell_confirmed(number)

    def _confirmation_trials(self, number: int) -> dict[int, IdentifiedTrial]:
        config = self._config(self.search.candidates[number].params)
        return self._register(config, self.search.chosen["seeds"])

    def _tell_confirmed(self, number: int) -> None:
        """Log a confirmation once all its seeds have ended, unless each has been in one."""
        trials = self._confirmation_trials(number)
        found = {seed: known_result(self._ledger, trial) for seed, trial in trials.items()}
        scores = [(seed, result[0]) for seed, result in found.items() if result]
        left = set(self.left)
        failed = sum(trial.row.trial_id in self.schedule.failed.keys() - left for trial in trials.values())
        known = self.search.confirmed_on.get(number)
        is_known = known is not None and {seed for seed, _ in scores} <= known
        if len(scores) + failed == len(trials) and not is_known:
            self.log.decide("confirm", number=number, scores=scores, failed=failed)

"""What a search knows and decides, as a machine that is fed facts one by one; no Optuna, no ledger, no clock.

Every public verb takes facts as JSON values and returns what follows from them and from all facts before.
A search that goes on and a replay of its log call the same verbs, so that a log can be checked word by word.

A config is the unit, seeds are its replicas: a rung compares means over the seeds that have reached it, a
stop ends all seeds of a config, and the sampler is told one mean with its n.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from tune.search.candidate import Candidate, Facts, Rules, Told, combination, interval, score_of
from tune.search.rungs import Rungs, Spread

_MAX_BARREN = 100
"""Suggestions in a row that are no new config, after which a space without end counts as exhausted."""


@dataclass
class Search:
    """The machine. See the module's text."""

    rules: Rules
    candidates: list[Candidate] = field(default_factory=list)
    used: Facts = field(default_factory=lambda: {"trials": 0, "epochs": 0, "hours": 0.0, "failures": 0})
    """What counts against the budget."""
    chosen: Facts = field(default_factory=dict)
    """The facts of the newest choice for confirmation; empty while configs are still suggested."""
    ended_by: str | None = None
    """What let no further config start; None while configs are still suggested."""
    confirmed: dict[int, Facts] = field(default_factory=dict)
    """By number: what the confirmation on the most seeds found, with them."""
    confirmed_on: dict[int, set[int]] = field(default_factory=dict)
    """By number: the seeds of all its confirmations."""
    upstream: str | None = None
    """The id of the NER trial whose predicted entities RE goes by; None without one."""

    def __post_init__(self) -> None:
        self._rungs = Rungs(self.rules.factor)
        self._spread = Spread()
        self._counted: set[tuple[int, str | None]] = set()
        self._barren = 0

    @property
    def num_running(self) -> int:
        """Configs that are neither over nor complete."""
        return sum(candidate.state == "running" for candidate in self.candidates)

    @property
    def has_margin(self) -> bool:
        """Whether a config can be told from noise: no margin is asked for, or seeds give one."""
        return self.rules.noise_margin == 0 or len(self.rules.seeds) > 1 or bool(self._spread.prior)

    def begin(
        self,
        *,
        spread: Sequence[tuple[int, float, int]],
        counted: Sequence[tuple[int, str]] = (),
        upstream: str | None = None,
    ) -> Facts:
        """Take in the ledger's spread over seeds.

        Args:
            spread: (epoch, sum of squares, degrees of freedom).
            counted: (epoch, config_id) of the configs in it; suggested later, they do not count again.
            upstream: see the attribute.
        """
        self.upstream = upstream
        self._counted = {(epoch, config_id) for epoch, config_id in counted}
        self._spread = Spread({epoch: (squares, freedom) for epoch, squares, freedom in spread})
        return {}

    def suggest(
        self,
        *,
        params: Facts,
        config_id: str | None,
        trials: Sequence[tuple[int, str]],
        known: Sequence[tuple[int, float, Sequence[tuple[int, float]]]],
        origin: str = "sampler",  # noqa: ARG002 - a fact for the log
    ) -> Facts:
        """Take a suggestion.

        Args:
            params: the settings.
            config_id: None where the settings do not go together.
            trials: (seed, trial_id).
            known: (seed, score, [(epoch, score)…]) of those that the ledger has at full budget.
            origin: see `Suggestion`.
        """
        number = len(self.candidates)
        candidate = Candidate(number, params, config_id, dict(trials), self.rules.bracket(number))
        earlier = next((item for item in self.candidates if item.config_id == config_id), None)
        if config_id is None:
            candidate.state = "invalid"
        elif earlier is not None:
            candidate.take_over(earlier)
        else:
            for seed, score, scores in known:
                self._take_known(candidate, seed, score, dict(scores))
        self.candidates.append(candidate)
        is_new = config_id is not None and earlier is None
        self._barren = 0 if is_new else self._barren + 1
        self.chosen, self.ended_by = {}, None
        return {
            "number": number,
            "state": candidate.state,
            "same_as": candidate.same_as,
            "bracket": candidate.bracket,
            **score_of(candidate),
        }

    def _take_known(self, candidate: Candidate, seed: int, score: float, scores: dict[int, float]) -> None:
        candidate.epochs[seed] = scores
        candidate.finals[seed] = score
        for epoch in set(self.rules.rungs[candidate.bracket]) & scores.keys():
            self._rungs.record(candidate.bracket, epoch, candidate.number, fmean(candidate.at(epoch)))
        if len(candidate.finals) == len(self.rules.seeds):
            candidate.state = "complete"

    def epoch(self, *, number: int, seed: int, epoch: int, score: float, wall_s: float) -> Facts:
        """Take an epoch's score; says whether the config goes on, with the numbers behind it."""
        candidate = self.candidates[number]
        self._count_start(candidate, seed)
        self.used["epochs"] += 1
        self.used["hours"] += wall_s / 3600
        if candidate.state != "running":
            return {"verdict": "stop"}
        candidate.epochs.setdefault(seed, {})[epoch] = score
        bracket = candidate.bracket
        if epoch not in self.rules.rungs[bracket]:
            return {"verdict": "continue"}
        scores = candidate.at(epoch)
        mean = fmean(scores)
        cut = self._rungs.cut(bracket, epoch, number)
        margin = self._margin(epoch, len(scores))
        self._rungs.record(bracket, epoch, number, mean)
        if cut is not None and margin is not None and mean < cut - margin:
            candidate.state, candidate.stopped_at = "pruned", epoch
        verdict = "stop" if candidate.state == "pruned" else "continue"
        return {"verdict": verdict, "mean": mean, "n": len(scores), "cut": cut, "margin": margin}

    def _margin(self, epoch: int, n: int) -> float | None:
        """How far below the cut a mean over n seeds may lie; None where the noise is not known."""
        if self.rules.noise_margin == 0:
            return 0.0
        groups = (
            item.at(epoch)
            for item in self.candidates
            if item.same_as is None and (epoch, item.config_id) not in self._counted
        )
        variance = self._spread.variance(epoch, groups)
        return None if variance is None else self.rules.noise_margin * math.sqrt(variance / n)

    def done(self, *, number: int, seed: int, score: float) -> Facts:
        """Take a score at full budget; a config is complete with the last of its seeds."""
        candidate = self.candidates[number]
        if candidate.state == "running":
            candidate.finals[seed] = score
            if len(candidate.finals) == len(self.rules.seeds):
                candidate.state = "complete"
        return {"state": candidate.state, **score_of(candidate)}

    def failed(self, *, number: int, seed: int, error: str) -> Facts:  # noqa: ARG002 - facts for the log
        """Take a failure: a mean over fewer seeds would be another thing, so the config has none."""
        candidate = self.candidates[number]
        self._count_start(candidate, seed)
        if candidate.state == "running":
            candidate.state = "failed"
            self.used["failures"] += 1
        return {"state": candidate.state}

    def _count_start(self, candidate: Candidate, seed: int) -> None:
        self.used["trials"] += seed not in candidate.started
        candidate.started.add(seed)

    def spent(self, budget: Facts, size: int | None) -> str | None:
        """Which bound lets no further config start, or None. `size` is the space's, where it is finite."""
        awaited = sum(candidate.num_awaited for candidate in self.candidates)
        reserved = {"trials": awaited + len(self.rules.seeds) - 1}  # a config starts with all seeds, or not
        for name in ("failures", "trials", "epochs", "hours"):
            bound = budget[name]
            if bound is not None and self.used[name] + reserved.get(name, 0) >= bound:
                return name
        if size is None:
            return "space" if self._barren >= _MAX_BARREN else None
        return "space" if len({combination(item.params) for item in self.candidates}) >= size else None

    def choose(self, *, budget: Facts, size: int | None, best: int, seeds: Sequence[int]) -> Facts:
        """End the suggestions and choose the configs to confirm: the best means at full budget."""
        reason = self.ended_by = self.spent(budget, size)
        self.chosen = {"best": best, "seeds": list(seeds)}
        picked = self.picked(best)
        self.chosen["numbers"] = [told.number for told in picked]
        means = [[told.number, told.value, told.n] for told in picked]
        return {"reason": reason, "used": dict(self.used), "chosen": means}

    def picked(self, best: int) -> list[Told]:
        """The configs that are confirmed once suggestions have ended."""
        return [] if self.ended_by == "failures" else self.ranking()[:best]

    def ranking(self) -> list[Told]:
        """The complete configs, best mean first."""
        complete = (item for item in self.candidates if item.state == "complete" and item.same_as is None)
        return sorted(
            (item.told() for item in complete), key=lambda told: (-(told.value or 0.0), told.number)
        )

    def confirm(self, *, number: int, scores: Sequence[tuple[int, float]], failed: int) -> Facts:
        """Take a config's scores on fresh seeds; gives their mean with a 95 % t interval.

        Fewer seeds than it was confirmed on before replace nothing.
        """
        found = {"failed": failed, **interval([score for _, score in scores])}
        self.confirmed_on[number] = {seed for seed, _ in scores} | self.confirmed_on.get(number, set())
        if len(scores) >= len(self.confirmed.get(number, {}).get("seeds", ())):
            self.confirmed[number] = {"seeds": [seed for seed, _ in scores], "scores": dict(scores), **found}
        return found

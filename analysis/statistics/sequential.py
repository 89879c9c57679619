"""Adding seeds until a comparison is decided, without paying for it in false positives.

A factor's levels are compared with their base at planned numbers of seeds ("looks"), fixed before the first.
With K looks each is made at level alpha / K (Bonferroni over looks), with Holm over the factor's levels; a
level that was decided keeps the p of its look in that correction. So the probability of marking any level
that does not differ is at most alpha over all looks, whatever is stopped when: each p-value of a level
without a difference, had its seeds all been run, would be at most a with probability a at each look.
The looks are replayed from the first one each time, so that asking twice is no further look.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.statistics.multiplicity import holm
from analysis.statistics.paired import paired_deltas, sign_flip_p
from analysis.statistics.summary import summarise
from tune.forecast.significance import State


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a level's comparison with the base stands.

    Attributes:
        state: different (adjusted p below alpha), equivalent (the interval of the delta lies within the
            smallest effect of interest), open (waits for seeds), exhausted (undecided at the last look).
        look: the number of looks made at it, 0 for none.
        n: pairs of seeds at that look.
        delta: mean difference to the base there.
        ci_low: lower end of its interval at confidence 1 - alpha / K; None without a spread.
        ci_high: its upper end.
        p: two-sided sign-flip p there, uncorrected; 1 where fewer than two pairs are.
        p_adjusted: by Holm and for K looks; compare it with alpha.
        missing: seeds that the level lacks for its next look; empty unless open.
    """

    state: State = "open"
    look: int = 0
    n: int = 0
    delta: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    missing: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What is fixed before the first look.

    Attributes:
        seeds: in the order in which they are added.
        looks: how many of them each look takes.
        alpha: probability of a false mark in one family over all looks.
        min_effect: a delta within ± this, in the unit of the scores, is of no interest.
    """

    seeds: tuple[int, ...]
    looks: tuple[int, ...]
    alpha: float
    min_effect: float


def decide(
    scores: Mapping[str, Mapping[int, float]],
    settled: Mapping[str, frozenset[int]],
    base: str,
    design: Design,
) -> tuple[dict[str, Verdict], tuple[int, ...]]:
    """Replay the looks at one family of comparisons.

    Args:
        scores: of each level by seed.
        settled: of each level the seeds of which no score is to come; a look waits for the others.
        base: the level that all others are compared with.
        design: what was fixed before.

    Returns:
        The verdict on each level but the base, and the seeds that the base lacks for the next look.
    """
    verdicts = {level: Verdict() for level in scores if level != base}
    confidence = 1 - design.alpha / len(design.looks)
    for look, count in enumerate(design.looks, 1):
        is_open = [level for level, verdict in verdicts.items() if verdict.state == "open"]
        window = design.seeds[:count]
        lacking = {
            level: tuple(seed for seed in window if seed not in settled[level]) for level in (base, *is_open)
        }
        if not is_open:
            return verdicts, ()
        if any(lacking.values()):
            waiting = {level: replace(verdicts[level], missing=lacking[level]) for level in is_open}
            return verdicts | waiting, lacking[base]
        own_base = {seed: scores[base][seed] for seed in window if seed in scores[base]}
        for level in is_open:
            verdicts[level] = _look(paired_deltas(scores[level], own_base), confidence, look)
        adjusted = holm([verdict.p for verdict in verdicts.values()])
        for level, p in zip(tuple(verdicts), adjusted, strict=True):
            if level in is_open and p is not None:
                verdicts[level] = _judged(verdicts[level], min(1.0, p * len(design.looks)), design)
    closed = {
        level: replace(verdict, state="exhausted")
        for level, verdict in verdicts.items()
        if verdict.state == "open"
    }
    return verdicts | closed, ()


def _look(deltas: Sequence[float], confidence: float, look: int) -> Verdict:
    found = summarise(deltas, confidence)
    p = sign_flip_p(deltas)
    return Verdict(
        look=look, n=found.n, delta=found.mean, ci_low=found.ci_low, ci_high=found.ci_high,
        p=1.0 if p is None else p,
    )  # fmt: skip


def _judged(found: Verdict, p_adjusted: float, design: Design) -> Verdict:
    state = judge(p_adjusted, found.ci_low, found.ci_high, min_effect=design.min_effect, alpha=design.alpha)
    return replace(found, state=state, p_adjusted=p_adjusted)


def judge(
    p_adjusted: float | None, low: float | None, high: float | None, *, min_effect: float, alpha: float
) -> State:
    """Different, equivalent or open, by a look's adjusted p and the ends of its interval (see `Verdict`)."""
    if p_adjusted is not None and p_adjusted < alpha:
        return "different"
    is_inside = low is not None and high is not None and -min_effect <= low and high <= min_effect
    return "equivalent" if is_inside else "open"

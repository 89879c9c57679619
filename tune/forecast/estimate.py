"""What the trials to run will cost, from finished trials and probes of the ledger."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from lai_net.active_settings import active_settings
from lai_net.files import size_gib
from lai_net.wording import counted
from tune.engine import Node
from tune.forecast.cost import Cost, CostModel, nodes_in_words
from tune.ledger.ledger import Ledger
from tune.ledger.rows import AttemptRow, TrialRow
from tune.planning.plan import PlannedTrial
from tune.spec.study import Resources

_SAMPLES = 3
"""Of the models of like trials, whose sizes are looked up."""

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the trials to run will take; None where something has no measure.

    A trial is measured by its likes, the finished trials of the same dataset, phase, encoder and epochs, or
    else by a probe of its shape. The range is from the shortest to the longest like, or from ordinary steps
    to steps of the largest batch; a probe knows no evaluation.

    Attributes:
        cpu_s: CPU seconds by the mean of likes.
        wall_s: seconds one after another by the mean of likes.
        measured: how many likes there are.
        probed: trials that only a probe measures.
        gpu_h: hours of whole GPUs, least and most: each trial's hours by its share.
        wall_h: on the nodes of a cluster, or this machine's CPUs and the GPUs of the study's [resources],
            packed without gaps.
        place: what `wall_h` is for, in words.
        disk_gib: of the models that stay.
    """

    cpu_s: float | None = None
    wall_s: float | None = None
    measured: int = 0
    probed: int = 0
    gpu_h: Range | None = None
    wall_h: Range | None = None
    place: str = "what [resources] give"
    disk_gib: float | None = None


Kind = tuple[str, str, str, int]


def estimate(
    remaining: Sequence[PlannedTrial],
    finished: Sequence[tuple[TrialRow, AttemptRow]],
    ledger: Ledger,
    resources: Resources,
    folder: Path | None = None,
    kept: Sequence[PlannedTrial] | None = None,
    nodes: Sequence[Node] | None = None,
) -> tuple[Estimate, list[str]]:
    """Of the trials to run; second, a line that names what has no measure, if anything has none.

    Args:
        remaining: to run.
        finished: completed trials of the ledger with their last attempts.
        ledger: for probes.
        resources: of the study.
        folder: the ledger's, where the models of finished trials lie; None leaves the disk out.
        kept: those of the trials to run whose models stay; None are all.
        nodes: of a cluster; None is this machine, with the GPUs of `resources`.

    Raises:
        InputError: no node can hold a trial.
    """
    likes, kind_of = _likes(finished), _kinds(remaining)
    kinds = [kind_of[trial.dataset, trial.spec_id] for trial in remaining]
    costs = _costs(remaining, kind_of, likes, CostModel(ledger, resources, nodes))
    used = sum(len(likes.get(kind, ())) for kind in set(kinds))
    unmeasured = {kind[:2] for kind, cost in zip(kinds, costs, strict=True) if cost is None}
    if unmeasured:
        names = ", ".join(f"{dataset} {phase}" for dataset, phase in sorted(unmeasured))
        line = f"no estimate: the ledger has no finished trial like those of {names}"
        return Estimate(measured=used), [line]
    known = [cost for cost in costs if cost is not None]
    has_likes = set(kinds) <= likes.keys()
    stay = [kind_of[trial.dataset, trial.spec_id] for trial in (remaining if kept is None else kept)]
    found = Estimate(
        cpu_s=_total_mean(kinds, likes, "cpu_s") if has_likes else None,
        wall_s=_total_mean(kinds, likes, "wall_s") if has_likes else None,
        measured=used,
        probed=sum(kind not in likes for kind in kinds),
        gpu_h=_gpu_h(known),
        wall_h=_wall_h(known),
        disk_gib=None if folder is None else _disk_gib(stay, likes, folder),
    )
    return found if nodes is None else replace(found, place=nodes_in_words(nodes)), []


def _likes(finished: Sequence[tuple[TrialRow, AttemptRow]]) -> dict[Kind, list[AttemptRow]]:
    """Attempts by kind; a resumed one measured only its own part of the training."""
    likes: dict[Kind, list[AttemptRow]] = defaultdict(list)
    for row, attempt in finished:
        if attempt.attempt == 1 and attempt.cpu_s is not None and attempt.wall_s is not None:
            likes[_kind(row.dataset, row.config)].append(attempt)
    return dict(likes)


def _kind(dataset: str, settings: Mapping[str, Any]) -> Kind:
    """What makes two trials cost about the same."""
    return dataset, settings["phase"], settings["encoder"]["name"], settings["training"]["epochs"]


def _kinds(trials: Sequence[PlannedTrial]) -> dict[tuple[str, str], Kind]:
    """By dataset and spec_id; trials are many, configs are few."""
    configs = {(trial.dataset, trial.spec_id): trial.config for trial in trials}
    return {place: _kind(place[0], active_settings(config)) for place, config in configs.items()}


def _costs(
    trials: Sequence[PlannedTrial],
    kind_of: Mapping[tuple[str, str], Kind],
    likes: Mapping[Kind, Sequence[AttemptRow]],
    model: CostModel,
) -> list[Cost | None]:
    """Of each trial; None where it has no measure."""
    cost_of = {}
    for place, trial in {(trial.dataset, trial.spec_id): trial for trial in trials}.items():
        seconds = [like.wall_s for like in likes.get(kind_of[place], ()) if like.wall_s is not None]
        cost_of[place] = model.cost(trial, seconds)
    return [cost_of[trial.dataset, trial.spec_id] for trial in trials]


def _total_mean(kinds: Sequence[Kind], likes: Mapping[Kind, Sequence[AttemptRow]], name: str) -> float:
    means = {kind: fmean(getattr(like, name) for like in likes[kind]) for kind in set(kinds)}
    return math.fsum(means[kind] for kind in kinds)


def _gpu_h(costs: Sequence[Cost]) -> Range:
    least, most = ([cost.share * getattr(cost, name) for cost in costs] for name in ("least_s", "most_s"))
    return math.fsum(least) / 3600, math.fsum(most) / 3600


def _wall_h(costs: Sequence[Cost]) -> Range | None:
    """No shorter than the longest trial; None where nothing holds a trial, as far as the study says."""
    if not all(cost.lanes for cost in costs):
        return None
    hours = []
    for name in ("least_s", "most_s"):
        seconds = [getattr(cost, name) for cost in costs]
        packed = math.fsum(took / cost.lanes for took, cost in zip(seconds, costs, strict=True))
        hours.append(max(packed, *seconds, 0.0) / 3600)
    return hours[0], hours[1]


def _disk_gib(
    kinds: Sequence[Kind], likes: Mapping[Kind, Sequence[AttemptRow]], folder: Path
) -> float | None:
    sizes = {}
    for kind in set(kinds):
        models = [like.artefacts["best"] for like in likes.get(kind, ()) if "best" in like.artefacts]
        found = [size for name in models[:_SAMPLES] if (size := size_gib(folder / name)) > 0]
        if not found:
            return None
        sizes[kind] = fmean(found)
    return math.fsum(sizes[kind] for kind in kinds)


def estimate_lines(found: Estimate, *, is_bound: bool = False) -> list[str]:
    """What is known, for people; of a search, which may stop trials early, it is a bound."""
    lines = []
    bound, about = ("at most ", "at most ") if is_bound else ("", "about ")
    if found.wall_s is not None:
        lines.append(
            f"{about}{found.wall_s / 3600:.1f} h one after another"
            f"{', were nothing stopped early' if is_bound else ''} "
            f"(mean of {counted(found.measured, 'finished trial')})"
        )
    if found.probed:
        lines.append(
            f"{counted(found.probed, 'trial')} without a finished like: by probes, without evaluation"
        )
    if found.gpu_h is not None and found.gpu_h[1] > 0:
        lines.append(f"{bound}{_words(found.gpu_h)} GPU-hours")
    if found.wall_h is not None:
        lines.append(f"{bound}{_words(found.wall_h)} h on {found.place}")
    if found.disk_gib is not None:
        lines.append(f"{about}{found.disk_gib:.1f} GiB of models")
    return lines


def _words(hours: Range) -> str:
    return f"{hours[0]:.1f} to {hours[1]:.1f}"

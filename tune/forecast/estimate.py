"""What the trials to run will cost, from finished trials and probes of the ledger."""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from lai_net.config import active_settings
from lai_net.errors import InputError
from tune.engine import Node
from tune.ledger.ledger import AttemptRow, Ledger, ProbeRow, TrialRow
from tune.packing.needs import Needs
from tune.packing.shape import shape_id
from tune.packing.shares import UNITS
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


@dataclass(frozen=True)
class _Cost:
    """Seconds of one trial, its share of a GPU, and how many of its kind run side by side."""

    least_s: float
    most_s: float
    share: float
    lanes: float


def estimate(
    remaining: Sequence[PlannedTrial],
    finished: Sequence[tuple[TrialRow, AttemptRow]],
    ledger: Ledger,
    resources: Resources,
    folder: Path | None = None,
    kept: Sequence[PlannedTrial] | None = None,
    nodes: Sequence[Node] | None = None,
) -> tuple[Estimate, list[str]]:
    """Of the trials to run; second, what has no measure, by dataset and phase.

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
    likes = _likes(finished)
    configs = {(trial.dataset, trial.spec_id): trial for trial in remaining}
    kind_of = {key: _kind(key[0], active_settings(trial.config)) for key, trial in configs.items()}
    kinds = [kind_of[trial.dataset, trial.spec_id] for trial in remaining]
    used = sum(len(likes[kind]) for kind in set(kinds) if kind in likes)
    probes = _Probes(ledger, resources, nodes)
    cost_of = {
        key: probes.cost(
            trial, [like.wall_s for like in likes.get(kind_of[key], ()) if like.wall_s is not None]
        )
        for key, trial in configs.items()
    }
    costs = [cost_of[trial.dataset, trial.spec_id] for trial in remaining]
    unmeasured = sorted(
        {f"{kind[0]} {kind[1]}" for kind, cost in zip(kinds, costs, strict=True) if cost is None}
    )
    known = [cost for cost in costs if cost is not None]
    if unmeasured:
        return Estimate(measured=used), unmeasured
    has_likes = set(kinds) <= likes.keys()
    return (
        Estimate(
            cpu_s=_total_mean(kinds, likes, "cpu_s") if has_likes else None,
            wall_s=_total_mean(kinds, likes, "wall_s") if has_likes else None,
            measured=used,
            probed=sum(kind not in likes for kind in kinds),
            gpu_h=_total([(cost.least_s * cost.share, cost.most_s * cost.share) for cost in known]),
            wall_h=_wall_h(known),
            **({} if nodes is None else {"place": _words_on(nodes)}),
            disk_gib=_disk_gib(
                [kind_of[item.dataset, item.spec_id] for item in (remaining if kept is None else kept)],
                likes,
                folder,
            ),
        ),
        [],
    )


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


def _total_mean(kinds: Sequence[Kind], likes: Mapping[Kind, Sequence[AttemptRow]], name: str) -> float:
    means = {kind: fmean(getattr(like, name) for like in likes[kind]) for kind in set(kinds)}
    return math.fsum(means[kind] for kind in kinds)


def _total(seconds: Sequence[Range]) -> Range:
    """Hours."""
    return math.fsum(least for least, _ in seconds) / 3600, math.fsum(most for _, most in seconds) / 3600


class _Probes:
    """Probes of a ledger, and the shares that follow from them.

    Raises:
        InputError: no node can hold a trial.
    """

    def __init__(self, ledger: Ledger, resources: Resources, nodes: Sequence[Node] | None) -> None:
        self._resources = resources
        self._types = None if nodes is None else {node.device_type for node in nodes if node.gpus}
        self._nodes = nodes or [Node(os.cpu_count() or 1, resources.gpus or 0)]
        if nodes is not None and not any(self._lanes_on(node, resources.fixed_share) for node in nodes):
            raise InputError(
                f"a trial needs {resources.cpus_per_trial:g} CPUs and {resources.fixed_share:g} GPUs, but no "
                f"node of the cluster holds that ({_words_on(nodes)}); change the study's [resources]"
            )
        self._needs = Needs(ledger.probes())
        self._by_shape: dict[str, list[ProbeRow]] = defaultdict(list)
        for (shape, _), row in ledger.probes().items():
            if self._types is None or row.device_type in self._types:
                self._by_shape[shape].append(row)
        rows = ledger.trials() if self._by_shape else []
        self._encoder_ids = {row.config["encoder"]["name"]: row.encoder_id for row in rows}

    def cost(self, trial: PlannedTrial, wall_s: Sequence[float]) -> _Cost | None:
        """Of a trial whose likes took so long; None where neither they nor a probe say."""
        encoder_id = self._encoder_ids.get(trial.config.encoder.name)
        shape = "" if encoder_id is None else shape_id(trial.config, trial.dataset, encoder_id)
        rows = self._by_shape.get(shape, [])
        shares = self._shares(shape, rows)
        share = max(shares.values(), default=1.0) if self._is_measured else self._resources.fixed_share
        lanes = self._lanes(shares, share)
        if wall_s:
            return _Cost(min(wall_s), max(wall_s), share, lanes)
        if not rows:
            return None
        epochs = trial.config.training.epochs
        least = min(row.step_s * row.steps_per_epoch for row in rows) * epochs
        most = max(row.largest_step_s * row.steps_per_epoch for row in rows) * epochs
        return _Cost(least, most, share, lanes)

    @property
    def _is_measured(self) -> bool:
        return self._resources.gpus_per_trial == "measured"

    def _shares(self, shape: str, rows: Sequence[ProbeRow]) -> dict[str, float]:
        """Of a device, by its type, as far as it was measured."""
        if not self._is_measured:
            return {}
        sizes = self._needs.sizes_of(shape, [row.device_type for row in rows])
        return {device_type: size / UNITS for device_type, size in sizes.items()}

    def _lanes(self, share_of: Mapping[str, float], share: float) -> float:
        """How many trials of such shares run side by side."""
        lanes = sum(self._lanes_on(node, share_of.get(node.device_type, share)) for node in self._nodes)
        most = self._resources.max_concurrent
        return lanes if most is None else min(lanes, most)

    def _lanes_on(self, node: Node, share: float) -> float:
        if self._is_measured:
            return min(node.fits(self._resources.cpus_per_trial, 0), node.gpus / share)
        return node.fits(self._resources.cpus_per_trial, share)


def _wall_h(costs: Sequence[_Cost]) -> Range | None:
    """No shorter than the longest trial; None where nothing holds a trial, as far as the study says."""
    if not all(cost.lanes for cost in costs):
        return None
    hours = []
    for name in ("least_s", "most_s"):
        seconds = [getattr(cost, name) for cost in costs]
        packed = math.fsum(took / cost.lanes for took, cost in zip(seconds, costs, strict=True))
        hours.append(max(packed, *seconds, 0.0) / 3600)
    return hours[0], hours[1]


def _words_on(nodes: Sequence[Node]) -> str:
    """What a cluster holds, for people."""
    gpus = Counter(name for node in nodes for name in [node.device_type] * node.gpus)
    held = [f"{sum(node.cpus for node in nodes):g} CPUs", *(f"{gpus[name]} {name}" for name in sorted(gpus))]
    return f"{sum(node.cpus > 0 for node in nodes)} nodes: {', '.join(held)}"


def _disk_gib(
    kinds: Sequence[Kind], likes: Mapping[Kind, Sequence[AttemptRow]], folder: Path | None
) -> float | None:
    if folder is None:
        return None
    sizes = {}
    for kind in set(kinds):
        models = [like.artefacts["best"] for like in likes.get(kind, ()) if "best" in like.artefacts]
        found = [size for name in models[:_SAMPLES] if (size := _size(folder / name)) > 0]
        if not found:
            return None
        sizes[kind] = fmean(found)
    return math.fsum(sizes[kind] for kind in kinds) / 2**30


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file())


def estimate_lines(found: Estimate) -> list[str]:
    """What is known, for people."""
    lines = []
    if found.probed:
        lines.append(f"{found.probed} trials have no finished like: by probes, without evaluation")
    if found.gpu_h is not None and found.gpu_h[1] > 0:
        lines.append(f"{_words(found.gpu_h)} GPU-hours")
    if found.wall_h is not None:
        lines.append(f"{_words(found.wall_h)} h on {found.place}")
    if found.disk_gib is not None:
        lines.append(f"about {found.disk_gib:.1f} GiB of models")
    return lines


def _words(hours: Range) -> str:
    return f"{hours[0]:.1f} to {hours[1]:.1f}"

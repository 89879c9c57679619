"""The trials behind the cells: config, seeds, scores, learning curves, where they ran, how to run them again.

Cells that share a config share their trials, so there is one `Evidence` a config (with, for end-to-end
relations, the NER config whose entities they take); all cells that it fills point to it.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.frame import CellResults, Results
from analysis.levelling import Measure
from analysis.place import Place
from analysis.retrain import train_command
from analysis.tables.efficiency import REPRESENTATION_OF_METHOD
from lai_net.active_settings import active_settings, idle_settings
from lai_net.config import TrialConfig
from lai_net.metrics.scoring import SCORES
from lai_net.settings import flat
from lai_net.wording import counted
from tune.planning.explanation import Fields
from tune.results.curves import Curves
from tune.results.table import ResultRow, representation_of
from tune.spec.baseline import LAI_NET
from tune.spec.cells import base_config
from tune.spec.identity import digest, spec_id

CellKey = tuple[str, str, str, str]
"""dataset, task, factor, level"""
Points = tuple[tuple[int, float], ...]
"""(epoch, F1 in percent of what an epoch is chosen by)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A trial behind a cell, an imported row, or a planned seed that has no trial yet.

    Attributes:
        state: see `analysis.frame.Results`.
        scores: precision, recall and F1 in percent by task; empty without an evaluation.
        values: a row of the long table; all None for a seed without a trial.
        error: what a failed trial said, in one line.
        cpu_s: of all epochs; None where the ledger does not know.
    """

    seed: int
    fold: int | None
    state: str
    scores: Mapping[str, tuple[float | None, ...]]
    values: ResultRow
    error: str = ""
    curve: Points = ()
    cpu_s: float | None = None

    @property
    def name(self) -> str:
        """Seed and fold in words."""
        return f"seed {self.seed}" + ("" if self.fold is None else f", fold {self.fold}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known of one config of a study.

    Attributes:
        anchor: its name on the page, which depends on the dataset's name and the configs alone.
        title: dataset, phase and factors in words.
        settings: what acts, by dotted name, as the study plans it; at a neutral value only if it is changed.
        changed: those that differ from the base, with the base's value; `-` where it has no effect there.
        measure: what its curves show (see `analysis.levelling.Measure`).
        command: trains the first of the runs once more.
        upstream: anchor of the NER config whose predicted entities it takes; empty without one, and where
            that config has no cell.
        cells: keys of those that it fills.
        runs: by seed and fold.
    """

    anchor: str
    title: str
    dataset: str
    tasks: tuple[str, ...]
    settings: Mapping[str, Any]
    changed: Mapping[str, Any]
    measure: Measure
    command: str
    upstream: str
    cells: tuple[CellKey, ...]
    runs: tuple[Run, ...]

    @property
    def is_imported(self) -> bool:
        """Whether rows from elsewhere are among its runs."""
        return any(run.values["origin"] == "imported" for run in self.runs)

    @property
    def is_assumed(self) -> bool:
        """Whether some of them joined by their factors alone."""
        return any(run.values["origin"] == "imported" and run.values.spec_id is None for run in self.runs)


def collect_evidence(results: Results) -> list[Evidence]:
    """The evidence of every config that has a seed, done or planned, in the order of the tables."""
    groups: dict[str, list[CellResults]] = {}
    for found in results.matched:
        if found.place.cell.config is not None and (found.scores or found.unfinished):
            own = spec_id(found.place.cell.config)
            groups.setdefault(_anchor(found.place, own, found.place.upstream), []).append(found)
    by_trial = {row["trial_id"]: row for row in reversed(results.long) if row["trial_id"]}
    every = [_evidence(anchor, group, results, by_trial) for anchor, group in groups.items()]
    return [item if item.upstream in groups else dataclasses.replace(item, upstream="") for item in every]


def _anchor(place: Place, own: str, upstream: str | None) -> str:
    return f"trials-{digest([place.cell.dataset, own, upstream])[:10]}"


def _evidence(
    anchor: str,
    group: Sequence[CellResults],
    results: Results,
    by_trial: Mapping[str, ResultRow],
) -> Evidence:
    place = group[0].place
    config, base = place.cell.config, base_config(place.dataset, place.cell.phase)
    if config is None or base is None:
        raise ValueError("a cell without a config has no evidence")
    by_task: dict[str, CellResults] = {}
    for found in group:
        by_task.setdefault(found.place.task, found)
    own, bases = _stated(config), _stated(base)
    changed = {name: bases.get(name, "-") for name in own if own[name] != bases.get(name, "-")}
    runs = tuple(_runs(by_task, results, by_trial))
    first = runs[0]
    fold = place.dataset.fold_numbers[0] if first.fold is None else first.fold
    return Evidence(
        anchor=anchor,
        title=_title(place),
        dataset=place.cell.dataset,
        tasks=tuple(by_task),
        settings=flat(active_settings(config)) | {name: own[name] for name in changed},
        changed=changed,
        measure=Measure.of(config),
        command=train_command(
            place.dataset, config, seed=first.seed, fold=fold, joins_ner=place.upstream is not None
        ),
        upstream="" if place.upstream is None else _anchor(place, place.upstream, None),
        cells=tuple(key for found in group for key in _keys(found.place)),
        runs=runs,
    )


def _stated(config: TrialConfig) -> Fields:
    """The settings that act, those at their neutral value among them, which identity leaves out."""
    idle = idle_settings(config)
    every = flat(dataclasses.asdict(config))
    return {name: value for name, value in every.items() if name not in idle} | flat(active_settings(config))


def _keys(place: Place) -> Iterator[CellKey]:
    """By what names the tables know a cell: its own, and those under which other tables show it again."""
    cell = place.cell
    yield cell.dataset, place.task, cell.factor, cell.level
    if cell.is_base:
        yield cell.dataset, place.task, "model", place.values["model"]
    is_shown_again = cell.factor == "method" and not place.study.factors.representation
    if is_shown_again and cell.level in REPRESENTATION_OF_METHOD:
        yield cell.dataset, place.task, "representation", REPRESENTATION_OF_METHOD[cell.level]


def _title(place: Place) -> str:
    """Dataset, phase and factors in words; what LAI-Net's way to represent a span implies is not said."""
    values, cell = place.values, place.cell
    parts = [values["model"]] if values["model"] != LAI_NET else []
    parts += [counted(values["gcn_layers"], "GCN layer")]
    if values["gcn_heads"] is not None:
        parts.append(counted(values["gcn_heads"], "head"))
    if values["entity_filter"] is not None:
        parts.append(f"{'with' if values['entity_filter'] else 'without'} filter")
    parts.append(f"mask {values['attention_mask']}")
    if not values["annotations"]:
        parts.append("without annotations")
    if values["representation"] != representation_of({**values, "representation": None}):
        parts.append(f"representation {values['representation']}")
    return f"{cell.dataset} {cell.phase}, {', '.join(parts)}"


def _runs(
    by_task: Mapping[str, CellResults],
    results: Results,
    by_trial: Mapping[str, ResultRow],
) -> Iterator[Run]:
    """By seed: a run a fold, or what keeps the seed from having any."""
    for seed in sorted({seed for found in by_task.values() for seed in (*found.scores, *found.unfinished)}):
        folds: dict[int | None, dict[str, ResultRow]] = {}
        for task, found in by_task.items():
            for row in found.scores.get(seed, ()):
                folds.setdefault(row["fold"], {})[task] = row
        for fold, rows in sorted(folds.items(), key=lambda item: -1 if item[0] is None else item[0]):
            scores = {task: tuple(_percent(row[name]) for name in SCORES) for task, row in rows.items()}
            yield _run(seed, fold, "completed", scores, next(iter(rows.values())), results.curves)
        if folds:
            continue
        state, trials = next(iter(by_task.values())).unfinished[seed]
        for name in sorted({name for name in trials if name}) or [""]:
            values = by_trial.get(name, ResultRow({}))
            error = results.errors.get(name, "")
            yield _run(seed, values["fold"], state, {}, values, results.curves, error)


def _run(
    seed: int,
    fold: int | None,
    state: str,
    scores: Mapping[str, tuple[float | None, ...]],
    values: ResultRow,
    curves: Curves,
    error: str = "",
) -> Run:
    epochs = tuple(curves.get(values["trial_id"] or "", ()))
    seconds = [epoch.cpu_s for epoch in epochs if epoch.cpu_s is not None]
    return Run(
        seed=seed,
        fold=fold,
        state=state,
        scores=scores,
        values=values,
        error=error,
        curve=tuple((epoch.epoch, 100 * epoch.f1) for epoch in epochs if epoch.f1 is not None),
        cpu_s=sum(seconds) if seconds else None,
    )


def _percent(score: float | None) -> float | None:
    return None if score is None else 100 * score

"""Ledger and study joined: one row per cell, task and seed, on which tables and figures are computed.

What is shown is the study's `[report]`: split, entities, protocol, and each dataset's averaging. A run joins
a cell by its `spec_id`, dataset and seed; an imported row by its factor columns, whatever its seed. Only
completed, full-budget trials have a score here; a seed with folds counts when all its folds are there.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from lai_net.config import TrialConfig
from lai_net.errors import InputError
from tune.cells import Cell, expand
from tune.identity import spec_id
from tune.ledger import Ledger
from tune.results import ResultRow, long_table
from tune.study import DatasetSpec, Study, load_study

TASKS = {"NER": ("NER",), "RE": ("RE", "RE+")}
SCORES = ("precision", "recall", "f1")
CELL_COLUMNS = (
    "table", "dataset", "phase", "task", "factor", "level", "is_base", "exists", "planned_seeds",
    "split", "entities", "protocol", "averaging", "selection", "encoder",
    "seed", "state", *SCORES, "trial_ids",
)  # fmt: skip

Scores = tuple[ResultRow, ...]
"""The rows that make one score: one, or one a fold."""


@dataclass(frozen=True)
class Results:
    """A study with what its ledger holds.

    Attributes:
        study: the study as parsed.
        long: the long results table (scores 0-1) of what the study plans, and of imported rows.
        cells: `CELL_COLUMNS`, one row per cell, task and seed (scores 0-1). `state` is completed, failed,
            running, pruned, planned, or `inapplicable` (one row without seed) where there is no such cell.
            `trial_ids` are separated by spaces.
    """

    study: Study
    long: tuple[ResultRow, ...]
    cells: pd.DataFrame


def load(ledger: str | Path, study: str | Path) -> pd.DataFrame:
    """The cells' frame of `Results` for a notebook: `analysis.load("runs/ledger.sqlite", "demo")`."""
    return read_results(ledger, study).cells


def read_results(ledger: str | Path, study: str | Path) -> Results:
    """Read a study's results from its ledger; a ledger that is not there yet is an empty one.

    Raises:
        InputError: the study or the ledger cannot be read, or two results claim one place.
    """
    parsed = load_study(study)
    with Ledger.read_or_empty(Path(ledger)) as opened:
        rows = tuple(long_table(opened, parsed))
    return Results(parsed, rows, join_cells(parsed, rows))


def join_cells(study: Study, rows: Iterable[ResultRow]) -> pd.DataFrame:
    """The cells' frame of a study (see `Results`) from its long table."""
    by_spec: dict[Any, list[ResultRow]] = defaultdict(list)
    by_factors: dict[Any, list[ResultRow]] = defaultdict(list)
    for row in rows:
        if row.spec_id is None:
            by_factors[_factors_of_row(row)].append(row)
        elif row["seed"] in study.seeds:
            by_spec[row["dataset"], row.spec_id].append(row)
    records: list[dict[str, Any]] = []
    for cell in expand(study):
        found: list[ResultRow] = []
        upstream: list[ResultRow] = []
        if cell.config is not None:
            found += by_spec[cell.dataset, spec_id(cell.config)]
            found += by_factors[_factors_of_cell(cell.dataset, cell.config)]
        if cell.upstream is not None:
            upstream = by_spec[cell.dataset, spec_id(cell.upstream)]
        for task in TASKS[cell.phase]:
            records += _cell_records(_Place(study, cell, task), found, upstream)
    frame = pd.DataFrame.from_records(records, columns=list(CELL_COLUMNS))
    return frame.astype({"seed": "Int64", **dict.fromkeys(SCORES, "float64")})


@dataclass(frozen=True)
class _Place:
    """A cell and a task of a study: which scores are shown there."""

    study: Study
    cell: Cell
    task: str

    @cached_property
    def dataset(self) -> DatasetSpec:
        return next(item for item in self.study.datasets if item.name == self.cell.dataset)

    @cached_property
    def view(self) -> dict[str, Any]:
        """What a row must say to be shown; an imported row may leave all but the task and split open."""
        report = self.study.report
        config = self.cell.config
        return {
            "task": self.task,
            "split": report.split,
            "entities": self.entities,
            "protocol": report.protocol,
            "averaging": self.dataset.averaging,
            "selection": None if config is None else config.training.selection,
            "model": "LAI-Net",
            "status": "completed",
        }

    @property
    def entities(self) -> str:
        """Predicted in NER; in RE what the report asks for, gold where the dataset has no NER phase."""
        if self.cell.phase == "NER":
            return "predicted"
        return "gold" if self.cell.upstream is None else self.study.report.entities

    @cached_property
    def upstream(self) -> str | None:
        """`spec_id` of the NER trial whose entities are shown; None where gold ones are, and in NER."""
        if self.cell.upstream is None or self.entities == "gold":
            return None
        return spec_id(self.cell.upstream)

    def shows(self, row: ResultRow) -> bool:
        """Whether a row of the cell's config belongs here."""
        if row.spec_id is not None and row.upstream_spec_id != self.upstream:
            return False
        return all(row[name] in (value, None, "") for name, value in self.view.items())


def _cell_records(
    place: _Place, found: Sequence[ResultRow], upstream: Sequence[ResultRow]
) -> Iterator[dict[str, Any]]:
    """The frame's rows of one cell and task: scores by seed, then the seeds that have none yet."""
    cell, view = place.cell, place.view
    shared = {
        "table": cell.table, "dataset": cell.dataset, "phase": cell.phase, "task": place.task,
        "factor": cell.factor, "level": str(cell.level), "is_base": cell.is_base,
        "exists": cell.config is not None, "planned_seeds": len(place.study.seeds), "trial_ids": "",
        **{name: view[name] for name in ("split", "entities", "protocol", "averaging", "selection")},
    }  # fmt: skip
    if cell.config is None:
        yield shared | {"state": "inapplicable", "encoder": None}
        return
    scores = _by_seed(place, found)
    for seed, rows in sorted(scores.items()):
        yield shared | {
            "state": "completed", "seed": seed, "encoder": rows[0]["encoder"],
            **{name: _mean([row[name] for row in rows]) for name in SCORES},
            "trial_ids": " ".join(_trial_ids(rows)),
        }  # fmt: skip
    unfinished: dict[int, set[str]] = {seed: set() for seed in place.study.seeds}
    for row in (*found, *(upstream if place.upstream else ())):
        if row["status"] != "completed":
            unfinished.setdefault(row["seed"], set()).add(row["status"])
    for seed in sorted(unfinished.keys() - scores.keys()):
        yield shared | {"state": _worst(unfinished[seed]), "seed": seed, "encoder": cell.config.encoder.name}


def _by_seed(place: _Place, found: Iterable[ResultRow]) -> dict[int, Scores]:
    """The shown rows of each seed that is complete; a run outdoes an imported row."""
    folds: dict[int, dict[int | None, ResultRow]] = defaultdict(dict)
    for row in found:
        if not place.shows(row):
            continue
        known = folds[row["seed"]].setdefault(row["fold"], row)
        if known.spec_id == row.spec_id and any(known[name] != row[name] for name in SCORES):
            raise InputError(
                f"ledger: two results claim {place.cell.dataset} {place.task} {place.cell.factor}="
                f"{place.cell.level} seed {row['seed']} (trials {known['trial_id'] or 'imported'} and "
                f"{row['trial_id'] or 'imported'}), with different scores; keep them in two ledgers"
            )
    complete = {seed: _complete(by_fold, place.dataset.folds) for seed, by_fold in folds.items()}
    return {seed: rows for seed, rows in complete.items() if rows}


def _complete(by_fold: Mapping[int | None, ResultRow], num_folds: int) -> Scores:
    """The rows of all folds, or the one row that says no fold, or nothing."""
    numbered = tuple(row for fold, row in by_fold.items() if fold is not None)
    if len(numbered) >= num_folds:
        return numbered
    return (by_fold[None],) if None in by_fold else ()


def _trial_ids(rows: Sequence[ResultRow]) -> list[str]:
    ids = {row[name] for row in rows for name in ("trial_id", "upstream_trial_id")}
    return sorted(ids - {None, ""})


def _factors_of_cell(dataset: str, config: TrialConfig) -> tuple[Any, ...]:
    return _factors(
        dataset, config.phase, config.graph.layers, config.graph.heads, config.filter.enabled,
        config.input.attention_mask, config.input.annotations,
    )  # fmt: skip


def _factors_of_row(row: ResultRow) -> tuple[Any, ...]:
    names = ("dataset", "phase", "gcn_layers", "gcn_heads", "entity_filter", "attention_mask", "annotations")
    return _factors(*(row[name] for name in names))


def _factors(
    dataset: str, phase: str, layers: int, heads: int, entity_filter: bool, mask: str, annotations: bool
) -> tuple[Any, ...]:
    """The factors that act: no heads without layers, no filter in RE, no Vis. without annotations."""
    return (
        dataset,
        phase,
        layers,
        heads if layers else None,
        entity_filter if phase == "NER" else None,
        "inv" if mask == "vis" and not annotations else mask,
        annotations,
    )


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return fmean(known) if len(known) == len(scores) else None


def _worst(states: set[str]) -> str:
    """What keeps a score from being there, the most telling first."""
    return next((state for state in ("failed", "pruned", "running") if state in states), "planned")

"""A cell and task of a study: what a result must say to be shown there."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lai_net.active_settings import active_settings
from lai_net.config import PHASES
from lai_net.metrics.scoring import TASKS_OF_PHASE
from tune.results.table import FACTOR_COLUMNS, ResultRow, config_values, factors_of, representation_of
from tune.spec.baseline import LAI_NET, PL_MARKER, model_of
from tune.spec.cells import Cell, base_config, expand
from tune.spec.identity import spec_id
from tune.spec.study import DatasetSpec, Factors, Study

_ANY_MODEL = ("dataset", "phase")
"""The factor columns that PL-Marker has, too: it has no graph, filter, mask or annotations to compare."""
VIEW_COLUMNS = (
    "task", "encoder", "model", "epochs", "split", "entities", "protocol", "averaging", "selection", "fold",
)  # fmt: skip
"""These must be as shown, or left open by an imported row."""
_TRAINED = ("encoder", "model", "epochs", "selection")
"""Those of them that a config settles, under whatever path it had its encoder."""
_EVALUATED = tuple(name for name in VIEW_COLUMNS if name not in _TRAINED)
"""The others."""


def places(study: Study) -> Iterator["Place"]:
    """All cells of a study by task, in the order of the tables."""
    datasets = {dataset.name: dataset for dataset in study.datasets}
    for cell in expand(study):
        for task in TASKS_OF_PHASE[cell.phase]:
            yield Place(study, datasets[cell.dataset], cell, task)


@dataclass(frozen=True)
class Place:
    """A cell and task."""

    study: Study
    dataset: DatasetSpec
    cell: Cell
    task: str

    @cached_property
    def values(self) -> dict[str, Any]:
        """Both kinds of columns; None for a factor that does not act, and where there is no such cell."""
        report, config = self.study.report, self.cell.config
        view = {
            "task": self.task, "split": report.split, "entities": self.entities,
            "protocol": report.protocol, "averaging": self.dataset.averaging, "fold": _folds(self.dataset),
        }  # fmt: skip
        if config is None:
            return dict.fromkeys((*FACTOR_COLUMNS, *VIEW_COLUMNS)) | view
        place = {"dataset": self.cell.dataset, "phase": self.cell.phase, "epochs": config.training.epochs}
        return config_values(active_settings(config)) | place | view

    @property
    def entities(self) -> str:
        """Predicted in NER; in RE what the report asks for, gold where that needs an NER phase in vain."""
        if self.cell.phase == "NER":
            return "predicted"
        shown, config = self.study.report.entities, self.cell.config
        has_it = self.cell.upstream is not None or (config is not None and shown in config.evaluated_on)
        return shown if has_it else "gold"

    @cached_property
    def upstream(self) -> str | None:
        """`spec_id` of the NER trial whose entities or types are shown; None where none is needed."""
        config = self.cell.config
        if self.cell.upstream is None or (config is not None and self.entities in config.evaluated_on):
            return None
        return spec_id(self.cell.upstream)

    def shows(self, row: ResultRow) -> bool:
        """Whether a row of the cell's config belongs here: its scores, or that it has none."""
        upstream = {self.upstream} if row["status"] == "completed" else {self.upstream, None}
        if row.spec_id is not None and row.upstream_spec_id not in upstream:
            return False
        columns = VIEW_COLUMNS if row.spec_id is None else _EVALUATED
        return all(self.agrees(row, name) for name in columns)

    def agrees(self, row: ResultRow, column: str) -> bool:
        """Whether a column of a row is as here.

        A trial without scores stands for all tasks of its phase, and its epochs for no more than it had.
        """
        if column == "fold":
            return self._takes_fold(row["fold"])
        if column in ("task", "epochs") and row["status"] != "completed":
            return True
        if column in FACTOR_COLUMNS and column not in _ANY_MODEL and _are_pl_marker(row, self.values):
            return True
        if column == "representation":
            return bool(representation_of(row) == representation_of(self.values))
        is_open = row[column] is None and column in VIEW_COLUMNS
        return is_open or bool(row[column] == self.values[column])

    def _takes_fold(self, fold: int | None) -> bool:
        """Whether a row of a fold counts; one that names none stands for the mean over all of them."""
        if fold is None:
            return self.dataset.only_folds is None
        return self.dataset.folds == 1 or fold in self.dataset.fold_numbers


def _folds(dataset: DatasetSpec) -> str | None:
    """The folds that are taken, in words; None where the study says nothing of any."""
    if dataset.folds == 1:
        return None
    return f"0-{dataset.folds - 1}" if dataset.only_folds is None else ", ".join(map(str, dataset.only_folds))


def joined_by(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """What an imported row, or a place's values, is joined by: its factors; of PL-Marker its model alone."""
    if values["model"] == PL_MARKER:
        return (PL_MARKER, *(values[name] for name in _ANY_MODEL))
    return factors_of(values)


def _are_pl_marker(*values: Mapping[str, Any]) -> bool:
    return all(item["model"] == PL_MARKER for item in values)


def with_imported_models(study: Study, rows: Iterable[ResultRow]) -> Study:
    """The study with the factor `model` where imported rows bring a PL-Marker that it does not plan."""
    is_brought = any(row.spec_id is None and row["model"] == PL_MARKER for row in rows)
    if not is_brought or study.factors.model or study.search is not None:
        return study
    bases = [base_config(dataset, phase) for dataset in study.datasets for phase in PHASES]
    if any(base is not None and model_of(base) == PL_MARKER for base in bases):
        return study
    alone = {"method": (LAI_NET,)} if study.factors == Factors() else {}
    factors = study.factors.model_copy(update={"model": (LAI_NET, PL_MARKER), **alone})
    return study.model_copy(update={"factors": factors})

"""Tables of speed beside F1: Table 3 (PL-Marker and LAI-Net) and the four representations (Eq. 1 to 4).

F1 is the study's, over seeds; speed and memory are one machine's benchmark (`analysis.speed`), each of the
settings behind the F1 beside it. What was not measured with those settings is left blank, or left out.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from analysis.paper import published_values
from analysis.speed import REPRESENTATIONS, Speed, speed_of
from analysis.tables.layout import LAYOUTS
from analysis.tables.overall import NUMBER as OVERALL
from analysis.tables.overall import model_cells
from analysis.tables.rows import MISSING, Row, compute_rows, with_best
from lai_net.config import PHASES, TrialConfig
from lai_net.metrics.scoring import TASKS_OF_PHASE
from tune.spec.baseline import LAI_NET, PL_MARKER
from tune.spec.cells import with_representation

NUMBERS = TABLE_3, REPRESENTATION_TABLE = "3", "representations"
SPEED, _MEMORY = "sentences_per_second", "peak_mib"
_MODELS = (PL_MARKER, LAI_NET)
"""The base first, as in the paper."""
F1_TASK = {"NER": "NER", "RE": "RE+"}
"""What Table 3 prints as F1 of a phase: its "RE" rows have the RE+ scores of Table 1."""
REPRESENTATION_OF_METHOD = {"w/o 1st": "enumerate", "w/o 2nd": "annotate"}
"""Without the graph these two methods differ by the representation alone."""

Measured = Mapping[tuple[str, str, str], Speed]
"""By dataset, phase and level."""


@dataclass(frozen=True)
class SpeedComparison:
    """What one of the two tables compares.

    Attributes:
        number: the table's.
        cells: those behind the F1 scores.
        speeds: of the very settings of these cells.
        is_planned: whether the study asks for these cells as a factor of their own.
    """

    number: str
    cells: pd.DataFrame
    speeds: Measured
    is_planned: bool

    @property
    def is_shown(self) -> bool:
        """Whether there is more to it than in the other tables."""
        return self.is_planned or bool(self.speeds)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The table's."""
        rows = _speed_rows if self.number == TABLE_3 else _representation_rows
        return rows(self.cells, self.speeds)

    def notes(self) -> list[str]:
        """What a caption must say of the benchmark, and of what the numbers are not comparable with."""
        said = [_benchmark(self.speeds)]
        if self.number == TABLE_3:
            return [*said, _brackets(self.rows), *_papers(self.rows)]
        if any(row.metric == _MEMORY for row in self.rows):
            said.append("Peak memory: its growth during inference.")
        if not self.is_planned:
            said.append(
                "F1 of enumerate and annotate: the methods w/o 1st and w/o 2nd, which have no graph; what is "
                "measured has none either. Their differences to the base are in Table 4."
            )
        return said


def beside_speeds(cells: pd.DataFrame, speeds: Sequence[Speed], number: str) -> SpeedComparison:
    """Join a study's cells with the benchmark's speeds for one of `NUMBERS`."""
    if number == TABLE_3:
        own = model_cells(cells)
        own = own.assign(table=TABLE_3, is_base=own["level"] == PL_MARKER)
        return SpeedComparison(number, own, _measured(own, speeds, ()), is_planned=False)
    own = _representation_cells(cells)
    is_planned = bool((cells["table"] == REPRESENTATION_TABLE).any())
    return SpeedComparison(number, own, _measured(own, speeds, REPRESENTATIONS), is_planned)


def left_out(cells: pd.DataFrame, speeds: Sequence[Speed], shown: Container[str]) -> list[str]:
    """A sentence for each table that a study with cells lacks: why.

    Args:
        cells: the study's.
        speeds: the benchmark's rows.
        shown: numbers of the tables that there are.
    """
    if cells.empty:
        return []
    why = "speed of these settings was not measured" if speeds else "no speed benchmark was given (--speed)"
    done = cells[cells["state"] == "completed"]
    if speeds and len(done) and done["config"].isna().all():
        why = "imported rows do not say all settings on which speed depends"
    reasons = {TABLE_3: f"Table 3 (inference speed): {why}."}
    if _representation_cells(cells).empty:
        why = "the study does not vary it"
    reasons[REPRESENTATION_TABLE] = f"Four ways to represent a span: {why}."
    others = LAYOUTS.keys() - {*reasons, *cells["table"], OVERALL}
    unvaried = {
        number: f"Table {number} ({LAYOUTS[number].title}): the study does not vary it."
        for number in sorted(others)
    }
    return [reason for number, reason in (unvaried | reasons).items() if number not in shown]


def _measured(cells: pd.DataFrame, speeds: Sequence[Speed], levels: Sequence[str]) -> Measured:
    """The speeds of the cells' configs, and of the levels that they lack."""
    if not speeds:
        return {}
    found = {}
    for (dataset, phase), part in cells.groupby(["dataset", "phase"], sort=False):
        configs = {str(level): _trained(own) for level, own in part.groupby("level", sort=False)}
        for level, config in (_in_each_representation(configs, levels) | configs).items():
            speed = speed_of(speeds, str(dataset), config)
            if speed is not None:
                found[str(dataset), str(phase), level] = speed
    return found


def _trained(part: pd.DataFrame) -> TrialConfig | None:
    """The config behind the F1 of a cell, or to be; None where a score's rows do not say theirs."""
    done = part[part["state"] == "completed"]
    configs = list((part if done.empty else done)["config"])
    return configs[0] if all(isinstance(config, TrialConfig) for config in configs) else None


def _in_each_representation(
    configs: Mapping[str, TrialConfig | None], levels: Sequence[str]
) -> dict[str, TrialConfig | None]:
    """The first of a study's configs in the representations of these levels."""
    first = next((config for config in configs.values() if config is not None), None)
    return {level: first and with_representation(first, level) for level in levels}


def _speed_rows(frame: pd.DataFrame, speeds: Measured) -> tuple[Row, ...]:
    """Table 3: F1 and speed of both models, the changes against PL-Marker as in the paper."""
    f1 = {
        (row.dataset, row.task, row.level): row for row in compute_rows(frame, TABLE_3) if row.metric == "f1"
    }
    rows: list[Row] = []
    for dataset, phase in dict.fromkeys((dataset, phase) for dataset, phase, _ in speeds):
        scores = (f1.get((dataset, F1_TASK[phase], model)) for model in _MODELS)
        rows += [row for row in scores if row is not None]
        rows += _speeds_of_models(dataset, phase, speeds)
    return tuple(rows)


def _representation_rows(frame: pd.DataFrame, speeds: Measured) -> tuple[Row, ...]:
    """F1 of each task, then each phase's speed and peak memory where any was measured."""
    f1 = [row for row in compute_rows(frame, REPRESENTATION_TABLE) if row.metric == "f1"]
    shown = {
        (metric, phase)
        for (_, phase, _), speed in speeds.items()
        for metric in (SPEED, _MEMORY)
        if _value(speed, metric) is not None
    }
    rows: list[Row] = []
    for dataset, part in frame.groupby("dataset", sort=False):
        phases = list(dict.fromkeys(part["phase"]))
        for task in (task for phase in phases for task in TASKS_OF_PHASE[phase]):
            own = {row.level: row for row in f1 if (row.dataset, row.task) == (dataset, task)}
            rows += [own.get(level) or _gap(str(dataset), task, level) for level in REPRESENTATIONS]
        for metric in (SPEED, _MEMORY):
            for phase in phases:
                if (metric, phase) in shown:
                    rows += _measured_rows(str(dataset), phase, metric, speeds)
    return tuple(rows)


def _brackets(rows: Sequence[Row]) -> str:
    changed = {row.metric for row in rows if row.delta is not None}
    units = {"f1": "of F1 in points", SPEED: "of speed in percent"}
    said = [text for metric, text in units.items() if metric in changed]
    return f"In brackets: the change against PL-Marker, {', '.join(said)}." if said else ""


def _papers(rows: Sequence[Row]) -> Iterator[str]:
    """Of the published values beside ours what is not as it seems."""
    published = {(row.metric, row.task) for row in rows if row.paper is not None}
    if ("f1", F1_TASK["RE"]) in published:
        yield "The paper's F1 of RE is its RE+."
    if any(metric == SPEED for metric, _ in published):
        yield "The paper's speeds were taken on a GPU (RTX 3090): not comparable with ours."


def _benchmark(measured: Measured) -> str:
    """How speed and memory were measured; nothing where they were not."""
    speeds = list(measured.values())
    if not speeds:
        return ""
    repetitions, date = (_joined(getattr(item, name) for item in speeds) for name in ("repetitions", "date"))
    shapes = {phase: _joined(item.shape for item in speeds if item.phase == phase) for phase in PHASES}
    shape = "; ".join(f"{phase}: {text}" for phase, text in shapes.items() if text)
    machine = _joined(f"{item.processor}, threads: {item.threads}" for item in speeds)
    return (
        f"Sentences/s: sentences per second of CPU time at inference, median over {repetitions} repetitions, "
        f"measured {date} on {machine}, with the study's settings ({shape}) and arranged as named."
    )


def _joined(values: Iterable[object]) -> str:
    return " and ".join(dict.fromkeys(map(str, values)))


def _speeds_of_models(dataset: str, phase: str, speeds: Measured) -> list[Row]:
    base = speeds.get((dataset, phase, PL_MARKER))
    rows = []
    for model in _MODELS:
        paper = published_values().get((dataset, phase, "model", model, SPEED))
        row = Row(
            table=TABLE_3, dataset=dataset, task=phase, factor="model", level=model, metric=SPEED, split="",
            n=0, mark=MISSING, paper=paper, is_base=model == PL_MARKER,
        )  # fmt: skip
        row = _filled(row, speeds.get((dataset, phase, model)))
        if base is not None and row.mean is not None and model != PL_MARKER:
            row = replace(row, delta=row.mean - base.sentences_per_cpu_second)
        rows.append(row)
    return with_best(rows)


def _measured_rows(dataset: str, phase: str, metric: str, speeds: Measured) -> list[Row]:
    """Speed or memory of all representations in one phase."""
    rows = [
        _filled(_gap(dataset, phase, level, metric), speeds.get((dataset, phase, level)))
        for level in REPRESENTATIONS
    ]
    return with_best(rows, lowest=metric == _MEMORY)


def _filled(row: Row, speed: Speed | None) -> Row:
    """A row with what was measured; as it was where nothing was."""
    value = None if speed is None else _value(speed, row.metric)
    if speed is None or value is None:
        return row
    return replace(row, n=speed.repetitions, mean=value, mark="", note=speed.variant)


def _value(speed: Speed, metric: str) -> float | None:
    return speed.sentences_per_cpu_second if metric == SPEED else speed.peak_mib


def _gap(dataset: str, task: str, level: str, metric: str = "f1") -> Row:
    return Row(
        table=REPRESENTATION_TABLE, dataset=dataset, task=task, factor="representation", level=level,
        metric=metric, split="", n=0, mark=MISSING,
    )  # fmt: skip


def _representation_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of the factor `representation`; where there are none, the two methods without a graph.

    Those have no base here: Table 4 compares them, and a comparison is tested once.
    """
    own = cells[cells["table"] == REPRESENTATION_TABLE]
    if len(own):
        return own
    bare = cells[(cells["factor"] == "method") & cells["level"].isin(list(REPRESENTATION_OF_METHOD))]
    return bare.assign(
        table=REPRESENTATION_TABLE, factor="representation",
        level=bare["level"].map(REPRESENTATION_OF_METHOD), is_base=False,
    )  # fmt: skip

"""Tables of speed beside F1: Table 3 (PL-Marker and LAI-Net) and the four representations (Eq. 1 to 4).

F1 is the study's, over seeds; speed and memory are one machine's benchmark (`analysis.speed`), of the fastest
variant each, all at one encoder and precision.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pandas as pd

from analysis.paper import published_values
from analysis.speed import MODELS, REPRESENTATIONS, Speed, comparable, fastest
from analysis.tables.overall import model_cells
from analysis.tables.rows import MISSING, Row, compute_rows, with_best
from tune.results import TASKS

TABLE_3, REPRESENTATION_TABLE = "3", "representations"
_SPEED, _MEMORY = "sentences_per_second", "peak_mib"
_BASE = "PL-Marker"
_F1_TASK = {"NER": "NER", "RE": "RE+"}
"""What Table 3 prints as F1 of a phase: its "RE" rows have the RE+ scores of Table 1."""
REPRESENTATION_OF_METHOD = {"w/o 1st": "enumerate", "w/o 2nd": "annotate"}
"""Without the graph these two methods differ by the representation alone."""


def rows_and_cells(
    cells: pd.DataFrame, speeds: Sequence[Speed], table: str
) -> tuple[tuple[Row, ...], pd.DataFrame]:
    """The rows of one of the two tables, and the cells behind their F1 scores."""
    if table == TABLE_3:
        frame = model_cells(cells)
        frame = frame.assign(table=TABLE_3, is_base=frame["level"] == _BASE)
        return _speed_rows(cells, frame, speeds), frame
    frame = _representation_cells(cells)
    return _representation_rows(cells, frame, speeds), frame


def _speed_rows(cells: pd.DataFrame, frame: pd.DataFrame, speeds: Sequence[Speed]) -> tuple[Row, ...]:
    """Table 3: F1 and speed of both models, the changes against PL-Marker as in the paper."""
    f1 = compute_rows(frame, TABLE_3)
    rows: list[Row] = []
    for dataset, phase in _measured_phases(cells, speeds):
        by_level = {
            row.level: row
            for row in f1
            if (row.dataset, row.task, row.metric) == (dataset, _F1_TASK[phase], "f1")
        }
        rows += [by_level[model] for model in MODELS if model in by_level]
        rows += _speeds_of_models(dataset, phase, _side_by_side(cells, speeds, dataset))
    return tuple(rows)


def _representation_rows(
    cells: pd.DataFrame, frame: pd.DataFrame, speeds: Sequence[Speed]
) -> tuple[Row, ...]:
    """F1 of each task, speed and peak memory of each phase, a level a representation."""
    f1 = [row for row in compute_rows(frame, REPRESENTATION_TABLE) if row.metric == "f1"]
    rows: list[Row] = []
    for dataset in dict.fromkeys(cells["dataset"]):
        phases = list(dict.fromkeys(cells.loc[cells["dataset"] == dataset, "phase"]))
        for task in (task for phase in phases for task in TASKS[phase]):
            own = {row.level: row for row in f1 if (row.dataset, row.task) == (dataset, task)}
            rows += [own.get(level) or _gap(dataset, task, level) for level in REPRESENTATIONS]
        side_by_side = _side_by_side(cells, speeds, dataset)
        for metric in (_SPEED, _MEMORY):
            for phase in phases:
                rows += _measured(dataset, phase, metric, side_by_side)
    return tuple(rows)


def notes(cells: pd.DataFrame, speeds: Sequence[Speed], table: str) -> list[str]:
    """What a caption must say of the benchmark, and of what the numbers are not comparable with."""
    said = [_benchmark(shown_speeds(cells, speeds))]
    if table == TABLE_3:
        said.append(
            "In brackets: the change against PL-Marker, of F1 in points, of speed in percent. The paper's F1 "
            "of RE is its RE+, and its speeds were taken on a GPU (RTX 3090): not comparable with ours."
        )
        return said
    said.append("Peak memory: its growth during inference." if said[0] else "")
    if not (cells["table"] == REPRESENTATION_TABLE).any():
        said.append("F1 of enumerate and annotate: the methods w/o 1st and w/o 2nd, both without a graph.")
    return said


def _benchmark(speeds: Sequence[Speed]) -> str:
    """How speed and memory were measured; nothing where they were not."""
    if not speeds:
        return ""
    repetitions, date = (_joined(getattr(item, name) for item in speeds) for name in ("repetitions", "date"))
    setting = _joined(" ".join(item.setting) for item in speeds)
    machine = _joined(f"{item.processor}, threads: {item.threads}" for item in speeds)
    return (
        f"Sentences/s: sentences per second of CPU time at inference, median over {repetitions} repetitions, "
        f"measured {date} on {machine}, encoder and precision: {setting}; the fastest variant of each is "
        "shown and named."
    )


def shown_speeds(cells: pd.DataFrame, speeds: Sequence[Speed]) -> tuple[Speed, ...]:
    """Those of the study's datasets that stand side by side."""
    datasets = dict.fromkeys(cells["dataset"])
    return tuple(speed for name in datasets for speed in _side_by_side(cells, speeds, name))


def _joined(values: Iterable[object]) -> str:
    return " and ".join(dict.fromkeys(map(str, values)))


def _side_by_side(cells: pd.DataFrame, speeds: Sequence[Speed], dataset: str) -> tuple[Speed, ...]:
    return comparable(speeds, dataset, set(cells["encoder"].dropna()))


def _measured_phases(cells: pd.DataFrame, speeds: Sequence[Speed]) -> Iterator[tuple[str, str]]:
    measured = {(speed.dataset, speed.phase) for speed in speeds if speed.step == "inference"}
    pairs = cells[["dataset", "phase"]].drop_duplicates().itertuples(index=False, name=None)
    yield from (pair for pair in pairs if pair in measured)


def _speeds_of_models(dataset: str, phase: str, speeds: Sequence[Speed]) -> list[Row]:
    found = {model: fastest(speeds, phase, model=model) for model in MODELS}
    base = found[_BASE]
    rows = []
    for model, speed in found.items():
        paper = published_values().get((dataset, phase, "model", model, _SPEED))
        empty = Row(
            table=TABLE_3, dataset=dataset, task=phase, factor="model", level=model, metric=_SPEED, split="",
            n=0, mark=MISSING, paper=paper, is_base=model == _BASE,
        )  # fmt: skip
        if speed is None:
            rows.append(empty)
            continue
        value = speed.sentences_per_cpu_second
        has_delta = base is not None and model != _BASE
        delta = value - base.sentences_per_cpu_second if has_delta and base is not None else None
        rows.append(replace(empty, n=speed.repetitions, mean=value, mark="", delta=delta, note=speed.variant))
    return with_best(rows)


def _measured(dataset: str, phase: str, metric: str, speeds: Sequence[Speed]) -> list[Row]:
    """Speed or memory of all representations in one phase."""
    rows = []
    for level in REPRESENTATIONS:
        row = _gap(dataset, phase, level, metric)
        speed = fastest(speeds, phase, representation=level)
        value = None
        if speed is not None:
            value = speed.sentences_per_cpu_second if metric == _SPEED else speed.peak_mib
        if speed is not None and value is not None:
            row = replace(row, n=speed.repetitions, mean=value, mark="", note=speed.variant)
        rows.append(row)
    return with_best(rows, lowest=metric == _MEMORY)


def _gap(dataset: str, task: str, level: str, metric: str = "f1") -> Row:
    return Row(
        table=REPRESENTATION_TABLE, dataset=dataset, task=task, factor="representation", level=level,
        metric=metric, split="", n=0, mark=MISSING,
    )  # fmt: skip


def _representation_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of the factor `representation`; where there are none, the two methods without a graph."""
    own = cells[cells["table"] == REPRESENTATION_TABLE]
    if len(own):
        return own
    bare = cells[(cells["factor"] == "method") & cells["level"].isin(list(REPRESENTATION_OF_METHOD))]
    return bare.assign(
        table=REPRESENTATION_TABLE, factor="representation",
        level=bare["level"].map(REPRESENTATION_OF_METHOD), is_base=bare["level"] == "w/o 2nd",
    )  # fmt: skip

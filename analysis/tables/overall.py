"""Table 1: what the paper prints of other models, as printed, then LAI-Net and PL-Marker of this study.

The base of each dataset and phase is one of the two, as its settings say. A study without the factor `model`
has no cells of the other one: its rows have the paper's values alone, and it has no line of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from analysis.paper import VERSION, baselines, published_values, why_unpublished
from analysis.tables.layout import NAMES, Grid, Line, counts_differ, entry_of, published_entry
from analysis.tables.rows import PUBLISHED, Row, compute_rows
from lai_net.metrics.scoring import SCORES, TASKS
from tune.spec.baseline import LAI_NET, PL_MARKER, as_pl_marker

NUMBER = "1"
MODELS = (LAI_NET, PL_MARKER)
_FACTOR = "model"
_OURS = "this study"
NOTE = (
    f"In italics: the scores that the {VERSION} prints, those of other models among them, with the encoders "
    "that it names, a dash where it has none; they are no results of this project."
)


def overall_rows(cells: pd.DataFrame) -> tuple[Row, ...]:
    """The paper's other models, then LAI-Net and PL-Marker of each dataset and task, all three metrics."""
    cells = model_cells(cells)
    encoders = {
        (str(dataset), str(level)): " and ".join(
            sorted(set(_with_numbers(part)["encoder"].dropna().astype(str)))
        )
        for (dataset, level), part in cells.groupby(["dataset", "level"], sort=False)
    }
    ours = [
        replace(row, encoder=encoders.get((row.dataset, row.level), ""))
        for row in compute_rows(cells, NUMBER)
    ]
    rows: list[Row] = []
    for dataset in dict.fromkeys(row.dataset for row in ours):
        rows += _baseline_rows(dataset, _comparable(cells[cells["dataset"] == dataset]))
        rows += [row for row in ours if row.dataset == dataset]
    return tuple(rows)


def _with_numbers(part: pd.DataFrame) -> pd.DataFrame:
    """Of a model's seeds those behind its numbers; before there are any, those that are planned."""
    done = part[part["state"] == "completed"]
    return done if len(done) else part


def _comparable(cells: pd.DataFrame) -> list[str]:
    """The tasks in which the paper's models may stand beside a dataset's cells; those without a cell, too."""
    shown = cells.drop_duplicates("task").to_dict("records")
    apart = {item["task"] for item in shown if why_unpublished(item)}
    return [task for task in TASKS if task not in apart] if len(apart) < len(shown) else []


def model_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """Of each dataset and phase the cells of the factor `model`, else the base; then what is not planned."""
    # `model` is a study's first factor, so where a phase has it, its base is the first one.
    bases = cells["factor"].where(cells["is_base"]).groupby([cells["dataset"], cells["phase"]])
    factor = bases.transform("first")
    own = cells[(cells["factor"] == factor) & (cells["is_base"] | (factor == _FACTOR))]
    own = own.assign(table=NUMBER, factor=_FACTOR, level=own["model"])
    others = _unplanned(own)
    return pd.concat([own, others]) if len(others) else own


def _unplanned(own: pd.DataFrame) -> pd.DataFrame:
    """The model that a dataset and task lacks; PL-Marker with the config that a study would give it.

    That is for the speed of its model. Nothing says which LAI-Net would stand beside a PL-Marker.
    """
    num_models = own.groupby(["dataset", "task"])["level"].transform("nunique")
    alone = own[num_models < len(MODELS)].drop_duplicates(["dataset", "task"])
    is_ours = alone["level"] == LAI_NET
    configs = [
        as_pl_marker(config) if ours and config is not None else None
        for ours, config in zip(is_ours, alone["config"], strict=True)
    ]
    other = is_ours.map({True: PL_MARKER, False: LAI_NET})
    return alone.assign(
        level=other, model=other, is_base=False, state="planned", planned_seeds=0, trial_ids="", encoder=None,
        config=pd.Series(configs, alone.index, dtype=object), **dict.fromkeys(SCORES, float("nan")),
    )  # fmt: skip


def _baseline_rows(dataset: str, tasks: Sequence[str]) -> Iterator[Row]:
    values = published_values()
    for model in baselines():
        if model.dataset != dataset or model.model in MODELS:
            continue
        for task in tasks:
            for metric in SCORES:
                yield Row(
                    table=NUMBER, dataset=dataset, task=task, factor=_FACTOR, level=model.model,
                    metric=metric, split="test", mark=PUBLISHED, encoder=model.backbone,
                    paper=values.get((dataset, task, _FACTOR, model.model, metric)),
                )  # fmt: skip


def printed_rows(rows: Sequence[Row]) -> list[Row]:
    """Those that have a line of their own: the paper's other models, and what the study plans or has."""
    own = {(row.dataset, row.level) for row in rows if row.planned}
    return [row for row in rows if row.mark == PUBLISHED or (row.dataset, row.level) in own]


def arrange_overall(rows: Sequence[Row]) -> Grid:
    """A line a model: the paper's in its order, then ours."""
    tasks = [task for task in TASKS if any(row.task == task for row in rows)]
    columns = [(task, metric) for task in tasks for metric in SCORES]
    places = {(row.dataset, row.level, row.task, row.metric): row for row in rows}
    printed = {(row.dataset, row.level) for row in printed_rows(rows)}
    shows_n = counts_differ(rows)
    lines: list[Line] = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        own: list[Line] = []
        for model in baselines():
            found = [places.get((dataset, model.model, *column)) for column in columns]
            if model.dataset == dataset and any(row is not None and row.paper is not None for row in found):
                name = f"{model.label}, paper" if model.model in MODELS else model.label
                own.append(Line((dataset, name, model.backbone), tuple(map(published_entry, found))))
        for level in (model for model in MODELS if (dataset, model) in printed):
            found = [places.get((dataset, level, *column)) for column in columns]
            encoder = next((row.encoder for row in found if row is not None and row.encoder), "")
            entries = tuple(entry_of(row, shows_delta=False, shows_n=shows_n) for row in found)
            own.append(Line((dataset, f"{level}, {_OURS}", encoder), entries))
        lines += [replace(line, labels=("", *line.labels[1:])) if n else line for n, line in enumerate(own)]
    return Grid(
        stubs=("Dataset", "Model", "Encoder"),
        groups=tuple((task, len(SCORES)) for task in tasks),
        columns=tuple(NAMES[metric] for _, metric in columns),
        lines=tuple(lines),
    )

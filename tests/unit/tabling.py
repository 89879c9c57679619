"""A study with three of the paper's tables, and its rows. No test."""

from typing import Any

from analysis.tables.rows import Row
from analysis.tables.table import Table

STUDY = """
name = "s"
seeds = [1, 2, 3]
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "demo-ner"
set = { "encoder.name" = "minilm" }
[datasets.re]
preset = "demo-re"
[factors]
gcn_layers = [0, 1, 2]
entity_filter = ["with", "without"]
method = ["LAI-Net", "w/o 1st"]
mask = ["Inv.", "Full"]
"""


RE = {"phase": "RE", "task": "RE", "gcn_layers": 2, "entity_filter": ""}


def row_of(rows: tuple[Row, ...], task: str, factor: str, level: str, metric: str = "f1") -> Row:
    (found,) = [
        row for row in rows if (row.task, row.factor, row.level, row.metric) == (task, factor, level, metric)
    ]
    return found


def table_row(table: Table, level: str, task: str = "NER", metric: str = "f1") -> Row:
    (found,) = [row for row in table.rows if (row.level, row.task, row.metric) == (level, task, metric)]
    return found


def three_levels(imported: Any, result_row: Any) -> Any:
    """Base 60, 62, 64; 0 layers 58, 61, 60 and one seed without partner; Full failed; the rest not run."""

    def make(dataset: str = "SciERC", **changes: Any) -> Any:
        changes |= {"dataset": dataset}
        rows = [result_row(f1, seed=seed, **changes) for seed, f1 in ((1, 0.60), (3, 0.64), (2, 0.62))]
        none = changes | {"gcn_layers": 0, "gcn_heads": ""}
        rows += [
            result_row(f1, seed=seed, **none) for seed, f1 in ((9, 0.90), (3, 0.60), (2, 0.61), (1, 0.58))
        ]
        rows += [
            result_row("", seed=seed, attention_mask="full", status="failed", **changes) for seed in (1, 2, 3)
        ]
        study = STUDY.replace("SciERC", dataset).replace("minilm", changes.get("encoder", "minilm"))
        return imported(study, rows).cells

    return make

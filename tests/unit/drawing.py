"""What figures are drawn of. No test."""

from typing import Any

from analysis.tables.rows import Row

STUDY = """
name = "s"
seeds = [1, 2, 3]
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "demo-ner"
[factors]
gcn_layers = [0, 1, 2]
"""


def two_levels(imported: Any, result_row: Any) -> Any:
    """Base 60, 62, 64 (seeds 1 to 3); 0 layers 58, 61, 60; 2 layers not run."""
    rows = [result_row(f1, seed=seed, trial_id=f"b{seed}") for seed, f1 in ((1, 0.60), (3, 0.64), (2, 0.62))]
    none = {"gcn_layers": 0, "gcn_heads": ""}
    rows += [result_row(f1, seed=seed, **none) for seed, f1 in ((1, 0.58), (2, 0.61), (3, 0.60))]
    return imported(STUDY, rows).cells


def row(metric: str, level: str, mean: float | None, **changes: Any) -> Row:
    values = {"table": "3", "dataset": "D", "task": "RE", "factor": "model", "split": "test", "n": 2}
    return Row(**values | {"metric": metric, "level": level, "mean": mean} | changes)

"""Tables of ten thousand trials: CPU seconds from the ledger to the last byte."""

import csv
import random
import time
from itertools import product
from pathlib import Path

import pytest

from analysis.frame import read_results
from analysis.tables.render import to_csv, to_latex, to_markdown
from analysis.tables.table import compute_tables
from tune.ledger.ledger import Ledger
from tune.results.importing import import_csv

pytestmark = pytest.mark.slow

MOST_CPU_SECONDS = 5
SEEDS = 520
STUDY = f"""
name = "large"
seeds = {SEEDS}
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "demo-ner"
[datasets.re]
preset = "demo-re"
[factors]
gcn_layers = [0, 1, 2, 3, 4, 5]
gcn_heads = [1, 2, 3, 4, 6]
"""


def test_tables_of_ten_thousand_trials_take_seconds(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    assert _write_rows(tmp_path / "rows.csv") >= 10_000 * 3 / 2  # RE trials have two rows
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        import_csv(tmp_path / "rows.csv", ledger)
    start = time.process_time()
    results = read_results(tmp_path / "ledger.sqlite", tmp_path / "study.toml")
    written = [
        render(table) for table in compute_tables(results.cells) for render in (to_csv, to_markdown, to_latex)
    ]
    assert time.process_time() - start <= MOST_CPU_SECONDS
    assert results.cells["state"].eq("completed").mean() > 0.9
    assert len(written) == 6


def _write_rows(path: Path) -> int:
    """NER at 1 layer and RE at 2 are the bases; heads vary there, layers at 4 heads."""
    rng = random.Random(0)
    rows = []
    for task, base in (("NER", 1), ("RE", 2), ("RE+", 2)):
        cells = {(layers, 4 if layers else "") for layers in range(6)} | {
            (base, heads) for heads in (1, 2, 3, 6)
        }
        phase = {
            "phase": "NER" if task == "NER" else "RE",
            "task": task,
            "dataset": "SciERC",
            "split": "test",
        }
        phase |= {
            "entity_filter": "true" if task == "NER" else "",
            "attention_mask": "inv",
            "annotations": "true",
        }
        for (layers, heads), seed in product(sorted(cells, key=str), range(SEEDS)):
            scores = dict.fromkeys(("precision", "recall", "f1"), rng.gauss(0.6, 0.01))
            rows.append(phase | {"seed": seed, "gcn_layers": layers, "gcn_heads": heads} | scores)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)

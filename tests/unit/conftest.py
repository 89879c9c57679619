"""A ledger; imported results, synthetic ones and those of a study that grows; a benchmark of speed."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.frame import Results, read_results
from tests.unit.growing import Place
from tests.unit.measuring_speed import write_benchmark
from tune.ledger.ledger import Ledger
from tune.results.importing import import_csv

BASE = {
    "dataset": "SciERC", "phase": "NER", "task": "NER", "split": "test", "seed": 1, "gcn_layers": 1,
    "gcn_heads": 4, "entity_filter": "true", "attention_mask": "inv", "annotations": "true",
}  # fmt: skip


@dataclass(frozen=True)
class Imported:
    """A ledger that holds imported rows alone, and a study on it."""

    ledger: Path
    study: Path

    @property
    def results(self) -> Results:
        return read_results(self.ledger, self.study)

    @property
    def cells(self) -> pd.DataFrame:
        return self.results.cells


@pytest.fixture
def result_row() -> Callable[..., dict[str, Any]]:
    """A row of the base NER cell of SciERC, precision = recall = F1, with changes."""

    def make(f1: float | str, **changes: Any) -> dict[str, Any]:
        return BASE | {"precision": f1, "recall": f1, "f1": f1} | changes

    return make


@pytest.fixture
def imported(tmp_path: Path) -> Callable[[str, Sequence[Mapping[str, Any]]], Imported]:
    """Write the study and the rows as files and import the rows."""

    def make(study: str, rows: Sequence[Mapping[str, Any]]) -> Imported:
        paths = Imported(tmp_path / "ledger.sqlite", tmp_path / "study.toml")
        paths.study.write_text(study, encoding="utf-8")
        table = tmp_path / "rows.csv"
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
            writer.writeheader()
            writer.writerows(rows)
        with Ledger.open(paths.ledger) as ledger:
            import_csv(table, ledger)
        return paths

    return make


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("made"))


@pytest.fixture
def place(made: Place, tmp_path: Path) -> Place:
    """A fresh copy of the importing ledger."""
    fresh = object.__new__(Place)
    fresh.__dict__.update(made.__dict__, folder=tmp_path, ledger=tmp_path / "ledger.sqlite")
    with Ledger.open(fresh.ledger) as ledger:
        import_csv(made.long, ledger, made.curves)
    return fresh


@pytest.fixture
def benchmark_file(tmp_path: Path) -> Path:
    return write_benchmark(tmp_path)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new one, open for writing."""
    with Ledger.open(tmp_path / "ledger.sqlite") as opened:
        yield opened

"""What the preprint printed (Tables 1 to 5, Appendix B): to be compared with, never a result of ours.

"LAI: Label Annotation Interaction based Representation Enhancement for End to End Relation Extraction",
version 1. An empty field is a dash in the paper. `settings.csv` is its Appendix B.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from tune.results.table import SCORES

VERSION = "preprint v1 (doi 10.20944/preprints202505.1990.v1)"
_FACTOR_COLUMNS = {"table1.csv": "model", "table4.csv": "method", "table5.csv": "mask"}
_BASELINE_COLUMNS = ("dataset", "model", "year", "backbone")

Place = tuple[str, str, str, str, str]
"""dataset, task, factor, level, metric"""


@dataclass(frozen=True)
class Baseline:
    """A model of Table 1; `year` is empty where the paper gives none."""

    dataset: str
    model: str
    year: str
    backbone: str

    @property
    def label(self) -> str:
        """As the paper names it."""
        return f"{self.model} ({self.year})" if self.year else self.model


@cache
def baselines() -> tuple[Baseline, ...]:
    """The models of Table 1, dataset by dataset, as the paper orders them; LAI-Net is the last of each."""
    fields = [Baseline(*(row[name] for name in _BASELINE_COLUMNS)) for row in _rows("table1.csv")]
    return tuple(dict.fromkeys(fields))


@cache
def published_values() -> dict[Place, float]:
    """Every printed score in percent, and Table 3's sentences per second, by its place.

    Table 3's F1 scores are those of Table 1 (its "RE" rows print RE+); they are not read twice.
    """
    values = {
        (row["dataset"], row["task"], "model", row["model"], row["metric"]): float(row["value"])
        for row in _rows("table3.csv")
        if row["metric"] not in SCORES
    }
    for name in ("table1.csv", "table2.csv", "table4.csv", "table5.csv"):
        for row in _rows(name):
            factor = _FACTOR_COLUMNS.get(name) or row["factor"]
            level = row[_FACTOR_COLUMNS.get(name, "level")]
            for metric in SCORES:
                if row.get(metric):
                    values[row["dataset"], row["task"], factor, level, metric] = float(row[metric])
    return values


def published_encoders(dataset: str) -> list[str]:
    """The encoders behind the paper's numbers on a dataset; empty for a dataset that it does not have."""
    return sorted({row["encoder"] for row in _rows("settings.csv") if row["dataset"] == dataset})


def _rows(name: str) -> list[dict[str, str]]:
    text = (files(__name__) / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))

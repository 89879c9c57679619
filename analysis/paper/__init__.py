"""What the preprint printed (Tables 1 to 5, Appendix B): to be compared with, never a result of ours.

"LAI: Label Annotation Interaction based Representation Enhancement for End to End Relation Extraction",
version 1. An empty field is a dash in the paper. `settings.csv` is its Appendix B.
"""

import csv
from functools import cache
from importlib.resources import files

from tune.results import SCORES

VERSION = "preprint v1 (doi 10.20944/preprints202505.1990.v1)"
_FACTOR_COLUMNS = {"table4.csv": "method", "table5.csv": "mask"}

Place = tuple[str, str, str, str, str]
"""dataset, task, factor, level, metric"""


@cache
def published_values() -> dict[Place, float]:
    """Every printed score of Tables 2, 4 and 5 in percent, by its place."""
    values: dict[Place, float] = {}
    for name in ("table2.csv", "table4.csv", "table5.csv"):
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

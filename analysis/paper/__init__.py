"""What the preprint printed (Tables 1 to 5, Appendix B): to be compared with, never a result of ours.

"LAI: Label Annotation Interaction based Representation Enhancement for End to End Relation Extraction",
version 1. An empty field is a dash in the paper. `settings.csv` is its Appendix B.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from analysis.paper.tables import FOLDER, read_rows, read_tables
from lai_net.metrics.scoring import SCORES

VERSION = "preprint v1 (doi 10.20944/preprints202505.1990.v1)"
_FACTORS = {1: "model", 3: "model", 4: "method", 5: "mask"}
"""Of the tables that have one alone."""
_VIEW = {
    "split": ("test", "split, the paper's is"),
    "entities": ("predicted", "entities, the paper's are"),
    "protocol": ("pure", "protocol, the paper's is"),
}
_BASELINE_COLUMNS = ("dataset", "model", "year", "backbone")


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
    rows = read_rows(FOLDER / "table1.csv", _BASELINE_COLUMNS)
    return tuple(dict.fromkeys(Baseline(*(row[name] for name in _BASELINE_COLUMNS)) for _, row in rows))


@cache
def published_values() -> dict[tuple[str, str, str, str, str], float]:
    """Every printed score in percent, and Table 3's sentences per second.

    By dataset, task, factor, level and metric. Table 3's F1 scores are those of Table 1 (its "RE" rows print
    RE+); they do not stand here twice.
    """
    values = {}
    for (table, dataset, task, row, metric), value in read_tables().values.items():
        if table == 3 and metric in SCORES:
            continue
        factor, level = (_FACTORS[table], row) if table in _FACTORS else row.split(" ", 1)
        values[dataset, task, factor, level, metric] = float(value)
    return values


def published_encoders(dataset: str) -> list[str]:
    """The encoders behind the paper's numbers on a dataset; empty for a dataset that it does not have."""
    return _stated(dataset, "encoder")


def why_unpublished(shown: Mapping[Any, Any]) -> str:
    """Why scores on a dataset that the paper has do not compare with its values; empty where they may.

    Args:
        shown: `dataset`, `averaging`, `only_folds` (in words; empty where all are taken), `split`, `entities`
            and `protocol` of a cell and task.
    """
    averagings = _stated(shown["dataset"], "averaging")
    if not averagings:
        return ""
    reasons = []
    if shown["only_folds"]:
        reasons.append(f"{shown['only_folds']} alone, the paper's are means over all folds")
    if shown["averaging"] not in averagings:
        reasons.append(f"{shown['averaging']} averages, the paper's are {' and '.join(averagings)}")
    reasons += [
        f"{shown[name]} {words} {paper}" for name, (paper, words) in _VIEW.items() if shown[name] != paper
    ]
    return "; ".join(reasons)


@cache
def _stated(dataset: str, column: str) -> list[str]:
    """What the paper's settings say of a dataset, each value once; empty where the paper does not have it."""
    rows = read_rows(FOLDER / "settings.csv", ("dataset", column))
    return sorted({row[column] for _, row in rows if row["dataset"] == dataset})

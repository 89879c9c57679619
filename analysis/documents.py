"""Counts per document of a cell's trials, read from the ledger for `analysis.statistics.bootstrap`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.frame import CellResults
from analysis.statistics.bootstrap import Counts
from tune.ledger.ledger import Ledger
from tune.results.table import ResultRow
from tune.spec.identity import evaluation_id


def read_documents(ledger: Ledger, cell: CellResults) -> tuple[Counts, ...]:
    """The counts of a cell's seeds, one array a fold; empty where a seed's were not recorded.

    Imported rows have none, nor have evaluations that were made before the ledger knew them.
    """
    by_fold: dict[int | None, list[Mapping[str, Any]]] = {}
    for rows in cell.scores.values():
        for row in rows:
            found = _recorded(ledger, cell, row)
            if found is None:
                return ()
            by_fold.setdefault(row["fold"], []).append(found)
    return tuple(_stack(models) for _, models in sorted(by_fold.items(), key=lambda item: item[0] or 0))


def _recorded(ledger: Ledger, cell: CellResults, row: ResultRow) -> Mapping[str, Any] | None:
    if row["origin"] != "run":
        return None
    name = evaluation_id(row["trial_id"], row["upstream_trial_id"], row["split"], row["entities"])
    wanted = (cell.place.task, row["protocol"])
    return next((item for item in ledger.documents(name) if (item["task"], item["protocol"]) == wanted), None)


def _stack(models: Sequence[Mapping[str, Any]]) -> Counts:
    """[models, documents, labels, 3]; a label that a model neither saw nor predicted counts 0 there."""
    labels = sorted({label for model in models for label in model["labels"]})
    counts = np.zeros((len(models), len(models[0]["counts"]), len(labels), 3), dtype=np.int64)
    for index, model in enumerate(models):
        columns = [labels.index(label) for label in model["labels"]]
        counts[index][:, columns] = np.reshape(model["counts"], (len(model["counts"]), len(columns), 3))
    return counts

"""F1 under resampled test documents: how much a score owes to which documents are in the split.

This is another question than the spread over seeds, and the two are never mixed: here the trained models
are fixed and documents are drawn with replacement; all models of a cell are scored on the same draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lai_net.metrics.scoring import Averaging

Counts = npt.NDArray[np.int64]
"""[models, documents, labels, 3]: gold, predicted and matched of each document."""
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class DocumentInterval:
    """Scores in 0-1.

    Attributes:
        documents: how many were drawn from.
        score: the mean F1 of the models on the documents as they are.
        error: standard deviation of that mean over the draws; None where each split is one document.
        low: lower end of the percentile interval; None likewise.
        high: its upper end.
    """

    documents: int
    score: float
    error: float | None = None
    low: float | None = None
    high: float | None = None


def document_interval(
    folds: Sequence[Counts],
    averaging: Averaging,
    rng: np.random.Generator,
) -> DocumentInterval:
    """95 % bootstrap interval of the mean F1 of models over a test split's documents.

    Args:
        folds: the counts of each fold; without folds, one item. Documents are drawn within their fold.
        averaging: over labels; macro as in `lai_net.metrics.scoring`.
        rng: draws.
    """
    score = float(np.mean([f1(counts.sum(axis=1), averaging).mean() for counts in folds]))
    documents = sum(counts.shape[1] for counts in folds)
    if documents == len(folds):
        return DocumentInterval(documents, score)
    drawn = np.mean([_drawn_scores(counts, averaging, rng) for counts in folds], axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return DocumentInterval(documents, score, float(drawn.std(ddof=1)), float(low), float(high))


def f1(counts: npt.NDArray[np.int64], averaging: Averaging) -> npt.NDArray[np.float64]:
    """F1 of counts [..., labels, 3]; a label that is neither in gold nor predicted is no part of a macro."""
    if averaging == "micro":
        gold, predicted, matched = np.moveaxis(counts.sum(axis=-2), -1, 0)
        return _ratio(2 * matched, gold + predicted)
    gold, predicted, matched = np.moveaxis(counts, -1, 0)
    present = (gold + predicted > 0).sum(axis=-1)
    return _ratio(_ratio(2 * matched, gold + predicted).sum(axis=-1), present)


def _drawn_scores(counts: Counts, averaging: Averaging, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Mean F1 of the models at each draw."""
    models, documents, labels, _ = counts.shape
    times = rng.multinomial(documents, np.full(documents, 1 / documents), size=RESAMPLES)
    sums = times @ counts.transpose(1, 0, 2, 3).reshape(documents, -1)
    scores: npt.NDArray[np.float64] = f1(sums.reshape(RESAMPLES, models, labels, 3), averaging).mean(axis=1)
    return scores


def _ratio(top: npt.ArrayLike, bottom: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Their quotient; 0 where there is nothing to divide by."""
    above, below = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    return np.divide(above, below, out=np.zeros(above.shape), where=below > 0)

"""How sure the order of a factor's levels is, given scores paired by seed.

The posterior of the levels' means: a multivariate t around the observed means with the observed covariance
over seeds and n - 1 degrees of freedom, so that the posterior of each difference is the one behind the paired
t interval. A bootstrap over seeds would be overconfident: with five seeds it has 126 distinct samples and
no allowance for the estimated variance.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.statistics.summary import DIGITS

_DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class Ranking:
    """Posterior probabilities over the levels' order.

    Attributes:
        best: of each level, that its true mean is the highest.
        order: that the whole order of the observed means is the true one; None where levels tie.
        beats: [i, j]: that level i's true mean exceeds level j's; 0.5 on the diagonal.
        ties: by index, those levels that have the same score as another at every seed.
    """

    best: tuple[float, ...]
    order: float | None
    beats: tuple[tuple[float, ...], ...]
    ties: tuple[tuple[int, ...], ...]


def is_rankable(scores: npt.NDArray[np.float64]) -> bool:
    """Whether no two levels differ by the same at every seed: without a spread nothing is known of chance.

    Args:
        scores: [seeds, levels].
    """
    differences = (scores[:, :, None] - scores[:, None, :]).round(DIGITS)
    is_constant = np.ptp(differences, axis=0) == 0
    return not (is_constant & (differences[0] != 0)).any()


def rank(scores: npt.NDArray[np.float64], rng: np.random.Generator) -> Ranking:
    """Rank levels by their scores.

    Args:
        scores: [seeds, levels], at least two of each, and rankable; a row is one seed.
        rng: draws from the posterior.
    """
    n, levels = scores.shape
    means = scores.mean(axis=0)
    spread = rng.standard_normal((_DRAWS, n)) @ (scores - means) / np.sqrt(n * (n - 1))
    draws = means + spread * np.sqrt((n - 1) / rng.chisquare(n - 1, size=_DRAWS))[:, None]
    alike: dict[bytes, list[int]] = defaultdict(list)
    for level, column in enumerate(scores.round(DIGITS).T):
        alike[column.tobytes()].append(level)
        draws[:, level] = draws[:, alike[column.tobytes()][0]]
    ties = tuple(tuple(group) for group in alike.values() if len(group) > 1)
    is_best = draws >= draws.max(axis=1, keepdims=True)
    ordered = draws[:, np.argsort(-means, kind="stable")]
    above = draws[:, :, None] - draws[:, None, :]
    beats = (above > 0).mean(axis=0) + (above == 0).mean(axis=0) / 2
    return Ranking(
        # Levels that tie share a win.
        best=tuple((is_best / is_best.sum(axis=1, keepdims=True)).mean(axis=0).tolist()),
        order=None if ties else float((np.diff(ordered, axis=1) <= 0).all(axis=1).mean()),
        beats=tuple(map(tuple, beats.reshape(levels, levels).tolist())),
        ties=ties,
    )

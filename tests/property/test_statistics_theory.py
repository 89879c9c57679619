"""Intervals, tests, power and rankings against theory, by simulation with fixed generators."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.paired import hedges_g, sign_flip_p
from analysis.statistics.power import paired_power
from analysis.statistics.ranking import rank

sys.path.insert(0, str(Path(__file__).parent))
from theory import coverage, false_marks, main, null_p_values, simulated_power


@pytest.mark.parametrize("n", [5, 10])
def test_t_interval_covers_normal_data(n: int) -> None:
    assert coverage("t", "normal", n, 20_000) == pytest.approx(0.95, abs=4 * 0.0016)


def test_bca_interval_undercovers_with_few_scores() -> None:
    assert 0.78 <= coverage("BCa", "normal", 5, 1_000) <= 0.86
    assert coverage("BCa", "normal", 5, 1_000) < coverage("BCa", "normal", 10, 1_000) < 0.94


@pytest.mark.parametrize("n", [5, 6, 8, 10])
def test_sign_flip_p_has_its_level_at_every_attainable_value(n: int) -> None:
    draws = 6_000
    values = null_p_values(n, draws)
    for k in range(1, 2 ** (n - 1) + 1):
        level = k / 2 ** (n - 1)
        error = math.sqrt(level * (1 - level) / draws)
        assert abs(np.mean(values <= level) - level) <= 4.5 * error + 1e-12, level


def test_sign_flip_p_ignores_what_both_share() -> None:
    rng = np.random.default_rng(5)
    for n in (5, 8, 12):
        scores, base = rng.normal(size=(2, n))
        shift, seeds = rng.normal(scale=10), rng.normal(scale=10, size=n)
        p = sign_flip_p(scores - base)
        assert sign_flip_p((scores + shift) - (base + shift)) == p
        assert sign_flip_p((scores + seeds) - (base + seeds)) == p, "a seed's own effect, too"
        assert sign_flip_p(base - scores) == p
        assert sign_flip_p(7.5 * (scores - base)) == p


@pytest.mark.parametrize(
    ("effect", "n", "alpha"), [(1, 8, 0.05), (2, 6, 0.05), (1, 12, 0.01), (2, 8, 0.01), (1.5, 9, 0.01)]
)
def test_power_is_that_of_the_simulated_test(effect: float, n: int, alpha: float) -> None:
    assert paired_power(effect, 1.0, n, alpha) == pytest.approx(
        simulated_power(effect, n, alpha, 2_000), abs=0.04
    )


def test_pairing_gains_power_from_what_seeds_share() -> None:
    rng, n, draws = np.random.default_rng(6), 8, 1_000
    shared = rng.normal(scale=2, size=(draws, n))
    base, scores = shared + rng.normal(size=(draws, n)), shared + rng.normal(size=(draws, n)) + 1.5
    paired = np.mean([(sign_flip_p(a - b) or 1) < 0.05 for a, b in zip(scores, base, strict=True)])
    other = np.mean(
        [(sign_flip_p(a - rng.permutation(b)) or 1) < 0.05 for a, b in zip(scores, base, strict=True)]
    )
    assert paired > 0.65
    assert other < 0.35


def test_hedges_g_is_unbiased() -> None:
    deltas = np.random.default_rng(7).normal(0.8, 1, size=(8_000, 5))
    uncorrected = deltas.mean(axis=1) / deltas.std(axis=1, ddof=1)
    assert np.mean([hedges_g(row) for row in deltas]) == pytest.approx(0.8, abs=0.03)
    assert uncorrected.mean() > 0.95


def test_ranking_agrees_with_the_paired_t_posterior() -> None:
    scores = np.random.default_rng(8).normal([0, 0.5, 0.6, -1], 1, size=(6, 4))
    ranking = rank(scores, np.random.default_rng(0))
    for i in range(4):
        for j in range(4):
            if i != j:
                expected = stats.ttest_1samp(scores[:, i] - scores[:, j], 0, alternative="greater").pvalue
                assert ranking.beats[i][j] == pytest.approx(1 - expected, abs=0.015)


def test_probability_of_the_best_level_is_calibrated() -> None:
    rng, claimed, right = np.random.default_rng(9), [], []
    for _ in range(200):
        truth = rng.normal(scale=3, size=3)
        ranking = rank(truth + rng.normal(scale=2, size=(5, 3)), rng)
        chosen = int(np.argmax(ranking.best))
        claimed.append(ranking.best[chosen])
        right.append(chosen == np.argmax(truth))
    assert np.mean(claimed) == pytest.approx(np.mean(right), abs=0.06)


@pytest.mark.slow
def test_the_docs_show_what_the_simulations_give() -> None:
    figures = Path(__file__).parents[2] / "docs" / "statistics-figures.md"
    assert figures.read_text() == "\n".join(main()) + "\n"


def test_adding_seeds_until_decided_keeps_its_level() -> None:
    looks = (8, 10, 12)
    assert false_marks(looks, 3, 400, corrected=True) <= 0.05
    assert false_marks(looks, 3, 400, corrected=False) > 0.06

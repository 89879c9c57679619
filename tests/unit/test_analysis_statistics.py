"""Statistics against known values and against theory."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.statistics.multiplicity import holm
from analysis.statistics.paired import EXACT_UP_TO, paired_deltas, sign_flip_p
from analysis.statistics.summary import Summary, summarise
from tune.summary import smallest_p


def test_summary_of_nothing_and_of_one_score_claims_no_spread() -> None:
    assert summarise([]) == Summary(n=0)
    assert summarise([0.5]) == Summary(n=1, mean=0.5)


def test_summary_uses_ddof_1_and_student_t() -> None:
    summary = summarise([1.0, 2.0, 3.0])
    assert (summary.n, summary.mean, summary.std) == (3, 2.0, 1.0)
    low, high = stats.t.interval(0.95, df=2, loc=2.0, scale=1 / np.sqrt(3))
    assert (summary.ci_low, summary.ci_high) == pytest.approx((low, high))


@pytest.mark.parametrize("n", [5, 10])
def test_interval_covers_the_mean_of_normal_data(n: int) -> None:
    draws = np.random.default_rng(7).normal(size=(2000, n))
    summaries = [summarise(row) for row in draws]
    covered = np.mean([(s.ci_low or 0) <= 0 <= (s.ci_high or 0) for s in summaries])
    assert 0.93 <= covered <= 0.97


def test_deltas_are_paired_by_seed_whatever_the_order() -> None:
    scores, base = {3: 10.0, 1: 20.0, 7: 99.0}, {1: 18.0, 3: 11.0, 8: 0.0}
    assert paired_deltas(scores, base) == [2.0, -1.0]


@pytest.mark.parametrize(
    ("deltas", "p"),
    [
        ([1, 2, 3, 4, 5], 2 / 32),
        ([-1, -1, -1], 2 / 8),
        ([1, -1], 1.0),
        ([0, 0, 0], 1.0),
        ([0.1, 0.2, -0.3, 0.1, 0.2, -0.3], 1.0),  # their sum is 0 but for rounding
        ([3], None),
        ([], None),
    ],
)
def test_sign_flip_p_of_small_cases(deltas: list[float], p: float | None) -> None:
    assert sign_flip_p(deltas) == p


def test_sign_flip_p_agrees_with_scipy() -> None:
    for seed in range(5):
        deltas = np.random.default_rng(seed).normal(0.3, 1, size=8)
        theirs = stats.permutation_test((deltas,), np.mean, permutation_type="samples", n_resamples=2**8)
        assert sign_flip_p(list(deltas)) == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize("n", [5, 6, 8])
def test_sign_flip_test_is_exact_under_the_null(n: int) -> None:
    magnitudes = np.random.default_rng(n).uniform(0.1, 1, size=n)
    p_values = np.array([sign_flip_p(magnitudes * signs) for signs in itertools.product([-1, 1], repeat=n)])
    for attainable in np.unique(p_values):
        assert np.mean(p_values <= attainable) == pytest.approx(attainable)
    assert p_values.min() == smallest_p(n)


def test_sign_flip_p_is_sampled_beyond_the_exact_range_and_repeats() -> None:
    deltas = np.random.default_rng(3).normal(0.4, 1, size=EXACT_UP_TO + 6).tolist()
    assert sign_flip_p(deltas) == sign_flip_p(deltas)
    assert sign_flip_p(deltas) == pytest.approx(stats.ttest_1samp(deltas, 0).pvalue, abs=0.02)
    assert sign_flip_p([1.0] * 30) == 1 / 2**EXACT_UP_TO  # the observed pattern alone; p is never 0


def test_five_comparisons_need_eight_seeds() -> None:
    assert smallest_p(7, comparisons=5) > 0.05 > smallest_p(8, comparisons=5)


def test_holm_agrees_with_statsmodels_and_skips_what_was_not_tested() -> None:
    p_values = [0.01, 0.04, 0.03, 0.03, 0.9]
    expected = multipletests(p_values, method="holm")[1].tolist()
    assert holm(p_values) == pytest.approx(expected)
    assert holm([0.01, None, 0.04]) == [0.02, None, 0.04]
    assert holm([None]) == [None]
    assert holm([]) == []

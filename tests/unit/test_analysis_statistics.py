"""Statistics against known values and against theory."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from analysis.statistics.bootstrap import document_interval, f1
from analysis.statistics.components import components
from analysis.statistics.convergence import converge
from analysis.statistics.multiplicity import holm
from analysis.statistics.paired import EXACT_UP_TO, hedges_g, paired_deltas, sign_flip_p
from analysis.statistics.power import paired_power, required_seeds
from analysis.statistics.sequential import Design, decide
from analysis.statistics.summary import Summary, summarise
from lai_net.metrics.scoring import MatchCounts, average
from tune.forecast.significance import smallest_p


def test_summary_of_nothing_and_of_one_score_claims_no_spread() -> None:
    assert summarise([]) == Summary(n=0)
    assert summarise([0.5]) == Summary(n=1, mean=0.5)


def test_summary_uses_ddof_1_and_student_t() -> None:
    summary = summarise([1.0, 2.0, 3.0])
    assert (summary.n, summary.mean, summary.std) == (3, 2.0, 1.0)
    low, high = stats.t.interval(0.95, df=2, loc=2.0, scale=1 / np.sqrt(3))
    assert (summary.ci_low, summary.ci_high) == pytest.approx((low, high))


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
    assert sign_flip_p([1.0] * 60) == 1 / 2**14  # the observed pattern alone; p is never 0


SLEEP = (1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4)
"""R's data set `sleep` (Cushny and Peebles 1905): second drug less first, ten patients."""
MAIZE = (49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)
"""Darwin's pairs of maize, in eighths of an inch (Fisher 1935, The Design of Experiments, chapter III)."""


def test_paired_interval_is_that_of_r_on_sleep() -> None:
    summary = summarise(SLEEP)  # t.test(extra ~ group, data = sleep, paired = TRUE), sign turned
    assert summary.mean == pytest.approx(1.58)
    assert (summary.ci_low, summary.ci_high) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)


def test_sign_flip_p_is_fishers_on_maize() -> None:
    assert sign_flip_p(MAIZE) == 2 * 863 / 2**15  # section 21: 863 sums are at least 314
    assert sign_flip_p(SLEEP) == 4 / 2**10  # all of one sign but for a zero


def test_holm_is_rs_p_adjust() -> None:
    # What R's p.adjust gives for these with method "holm".
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])


def test_bca_interval_is_scipys_and_repeats() -> None:
    scores = np.random.default_rng(0).exponential(size=12)
    first, again = (summarise(scores, interval="bca") for _ in range(2))
    assert first == again != summarise(scores)
    theirs = stats.bootstrap((scores,), np.mean, method="BCa", rng=np.random.default_rng(1))
    expected = (theirs.confidence_interval.low, theirs.confidence_interval.high)
    assert (first.ci_low, first.ci_high) == pytest.approx(expected, abs=0.05)
    assert summarise([5.0] * 4, interval="bca") == Summary(n=4, mean=5.0, std=0.0)
    assert summarise([60.0, 60.0]) == Summary(n=2, mean=60.0, std=0.0)
    assert summarise([1.0, 1.0, 1.0, 2.0], interval="bca").ci_low == 1.0


def test_hedges_g_corrects_d_z() -> None:
    d_z = np.mean(SLEEP) / np.std(SLEEP, ddof=1)
    assert d_z == pytest.approx(1.284558, abs=1e-6)  # R's t, 4.0621, over the root of 10
    assert hedges_g(SLEEP) == pytest.approx(d_z * (1 - 3 / (4 * 9 - 1)), rel=1e-3)
    assert hedges_g([1.0, 2.0]) is None
    assert hedges_g([0.1 + 0.2, 0.3, 0.3]) is None


@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 34), (0.2, 199), (0.1, 787)])
def test_required_seeds_are_those_of_the_t_test_where_p_is_fine(effect: float, seeds: int) -> None:
    # R: power.t.test(delta = 0.5, sd = 1, power = 0.8, type = "paired") gives n = 33.37
    assert required_seeds(effect, 1.0) == seeds
    assert TTestPower().solve_power(effect, alpha=0.05, power=0.8) == pytest.approx(seeds - 0.5, abs=0.5)


def test_power_knows_the_smallest_p() -> None:
    assert paired_power(100, 1, 5) == 0.0
    assert paired_power(100, 1, 6) == 1.0
    assert paired_power(100, 1, 7, comparisons=5) == 0.0
    assert required_seeds(100, 1, comparisons=5) == 8
    assert paired_power(1, 1, 6) == pytest.approx(stats.norm.cdf(1) ** 6 + stats.norm.cdf(-1) ** 6)
    assert paired_power(0, 1, 10_000) == pytest.approx(0.05)
    assert required_seeds(0, 1) is None
    assert required_seeds(0.01, 1) is None


def test_components_invert_the_expected_mean_squares() -> None:
    seed, level = np.arange(4.0)[:, None], np.array([0.0, 3.0, 6.0])
    by_source = {item.source: item for item in components(seed + level, ("seed", "level"))}
    assert [by_source[name].freedom for name in ("seed", "level", "seed:level")] == [3, 2, 6]
    assert by_source["seed"].variance == pytest.approx(np.var(seed, ddof=1))
    assert by_source["level"].variance == pytest.approx(9.0)
    assert by_source["seed:level"].variance == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="two levels"):
        components(np.zeros((1, 3)), ("seed", "level"))


def test_components_have_the_mean_squares_of_statsmodels() -> None:
    shape = (4, 3, 5)
    scores = np.random.default_rng(2).normal(size=shape)
    index = pd.MultiIndex.from_product([range(size) for size in shape], names=["seed", "corpus", "level"])
    table = pd.DataFrame({"y": scores.ravel()}, index).reset_index()
    # Without the highest interaction, which is the residual of one score per combination.
    theirs = anova_lm(ols("y ~ (C(seed) + C(corpus) + C(level)) ** 2", table).fit())["mean_sq"]
    found = {item.source: item.mean_square for item in components(scores, ("seed", "corpus", "level"))}
    renamed = theirs.rename(lambda name: re.sub(r"C\((\w+)\)", r"\1", name)).rename(
        {"Residual": "seed:corpus:level"}
    )
    assert found == pytest.approx(renamed.to_dict())


def test_components_recover_what_was_put_in() -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(400):
        seed, corpus, level = (rng.normal(scale=s, size=n) for s, n in ((1, 6), (2, 4), (0.5, 5)))
        both = rng.normal(scale=0.7, size=(6, 4, 1))
        scores = seed[:, None, None] + corpus[:, None] + level + both + rng.normal(scale=0.3, size=(6, 4, 5))
        found.append([item.variance for item in components(scores, ("seed", "corpus", "level"))])
    expected = [1, 4, 0.25, 0.49, 0, 0, 0.09]
    assert np.mean(found, axis=0) == pytest.approx(expected, rel=0.12, abs=0.02)


def test_document_interval_of_known_counts() -> None:
    counts = np.array([[[[2, 2, 1]], [[2, 2, 2]], [[0, 0, 0]]]])  # one model, three documents, one label
    found = document_interval([counts], "micro", np.random.default_rng(0))
    assert (found.documents, found.score) == (3, 0.75)
    assert (found.low, found.high) == (0.0, 1.0)  # a draw may hold the empty document alone
    same = document_interval([np.repeat(counts[:, 1:2], 9, axis=1)], "micro", np.random.default_rng(0))
    assert (same.score, same.error, same.low, same.high) == (1.0, 0.0, 1.0, 1.0)
    one = document_interval([counts[:, :1]] * 2, "micro", np.random.default_rng(0))
    assert (one.documents, one.score, one.error, one.low) == (2, 0.5, None, None)


def test_document_error_is_that_of_theory_and_shared_by_models() -> None:
    hits = np.random.default_rng(1).random(400) < 0.7
    counts = np.zeros((1, 400, 1, 3), dtype=int)
    counts[0, :, 0] = np.stack([np.ones(400), np.ones(400), hits], axis=1)
    expected = np.sqrt(hits.mean() * (1 - hits.mean()) / 400)  # F1 is then a mean of 400 hits
    one = document_interval([counts], "micro", np.random.default_rng(0))
    five = document_interval([np.repeat(counts, 5, axis=0)], "micro", np.random.default_rng(0))
    assert one.error == pytest.approx(expected, rel=0.05)
    assert five.error == one.error, "equal models do not average the documents away"


def test_macro_f1_leaves_out_a_label_that_does_not_occur() -> None:
    counts = np.array([[2, 2, 1], [0, 0, 0], [1, 0, 0]])
    by_label = {str(index): MatchCounts(*map(int, row)) for index, row in enumerate(counts) if row.any()}
    for averaging in ("micro", "macro"):
        assert float(f1(counts, averaging)) == pytest.approx(average(by_label, averaging).f1)


def test_convergence_ends_at_the_whole() -> None:
    scores = [3.0, 1.0, 2.0, 6.0]
    steps = converge(scores, np.random.default_rng(0))
    assert [step.mean for step in steps] == [3.0, 2.0, 2.0, 3.0]
    whole = summarise(scores)
    assert (steps[0].ci_low, steps[0].typical_half_width) == (None, None)
    assert (steps[-1].ci_low, steps[-1].ci_high) == (whole.ci_low, whole.ci_high)
    assert steps[-1].typical_half_width == pytest.approx(((whole.ci_high or 0) - (whole.ci_low or 0)) / 2)
    bca = converge(scores, np.random.default_rng(0), interval="bca")
    assert bca[-1].ci_low == summarise(scores, interval="bca").ci_low != whole.ci_low
    assert bca[-1].typical_half_width == steps[-1].typical_half_width
    assert steps[-1].typical_error == pytest.approx(0.0)
    # Sampling n of N without replacement: the variance of the mean is s² / n (1 - n / N).
    assert steps[1].typical_error ** 2 == pytest.approx((whole.std or 0) ** 2 / 4, rel=0.1)


def family(*levels: list[float]) -> tuple[dict[str, dict[int, float]], dict[str, frozenset[int]]]:
    scores = {str(index): dict(enumerate(own)) for index, own in enumerate(levels)}
    return scores, {level: frozenset(own) for level, own in scores.items()}


def test_a_level_is_decided_at_the_first_look_that_tells_and_then_left_alone() -> None:
    base = [10.0, 11, 9, 10, 12, 10, 9, 11]
    worse = [score - 3 for score in base]
    alike = [score + (0.1 if index % 2 else -0.1) for index, score in enumerate(base)]
    unclear = [score + (2 if index % 2 else -2) for index, score in enumerate(base)]
    design = Design(seeds=tuple(range(16)), looks=(8, 12), alpha=0.05, min_effect=0.5)
    verdicts, base_missing = decide(*family(base, worse, alike, unclear), "0", design)
    assert [verdicts[level].state for level in "123"] == ["different", "equivalent", "open"]
    assert verdicts["1"].p_adjusted == pytest.approx(2 / 2**8 * 3 * 2)  # Holm over 3, two looks
    assert verdicts["3"].missing == base_missing == (8, 9, 10, 11)
    assert verdicts["1"].missing == verdicts["2"].missing == ()
    grown = [own + own[:4] for own in (base, worse[:8], alike[:8], unclear)]
    grown[1], grown[2] = worse, alike
    later, base_missing = decide(*family(*grown), "0", design)
    assert later["1"] == verdicts["1"], "an earlier look does not change"
    assert (later["3"].state, later["3"].n, base_missing) == ("exhausted", 12, ())


def test_equal_differences_are_no_evidence_of_equivalence() -> None:
    base = [10.1, 11.3, 9.7]
    design = Design(seeds=tuple(range(4)), looks=(2, 3), alpha=0.05, min_effect=0.5)
    scores = family(base[:2], base[:2], [score + 0.2 for score in base[:2]])
    verdicts, _ = decide(*scores, "0", design)
    for verdict in verdicts.values():
        assert (verdict.state, verdict.ci_low, verdict.missing) == ("open", None, (2,))
    last, _ = decide(*family(base, base, [10.2, 11.39, 9.81]), "0", design)
    assert [last[level].state for level in "12"] == ["exhausted", "equivalent"]


def test_a_look_waits_for_seeds_that_may_still_come_and_not_for_failed_ones() -> None:
    scores, settled = family([1.0, 2, 3, 4, 5, 6], [2.0, 3, 4, 5, 6])
    design = Design(seeds=tuple(range(6)), looks=(6,), alpha=0.05, min_effect=0.5)
    verdicts, base_missing = decide(scores, settled, "0", design)
    assert (verdicts["1"].state, verdicts["1"].missing, base_missing) == ("open", (5,), ())
    verdicts, _ = decide(scores, settled | {"1": frozenset(range(6))}, "0", design)
    assert (verdicts["1"].state, verdicts["1"].n) == ("exhausted", 5)


def test_five_comparisons_need_eight_seeds() -> None:
    assert smallest_p(7, comparisons=5) > 0.05 > smallest_p(8, comparisons=5)


def test_holm_agrees_with_statsmodels_and_counts_what_is_not_tested_yet() -> None:
    p_values = [0.01, 0.04, 0.03, 0.03, 0.9]
    expected = multipletests(p_values, method="holm")[1].tolist()
    assert holm(p_values) == pytest.approx(expected)
    assert holm([0.01, None, 0.04]) == pytest.approx([0.03, None, 0.08])
    assert holm([None]) == [None]
    assert holm([]) == []

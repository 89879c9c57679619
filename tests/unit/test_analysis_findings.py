"""The plain words claim no more than the seeds allow."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from analysis.findings import findings, progress
from analysis.tables.rows import PUBLISHED, Row, compute_rows


def level(name: str, n: int, mean: float | None, **values: Any) -> Row:
    return Row(
        table="4",
        dataset="d",
        task="NER",
        factor="method",
        level=name,
        metric="f1",
        split="test",
        n=n,
        mean=mean,
        **values,
    )


def told(rows: Sequence[Row]) -> list[str]:
    """The findings of rows whose shared seeds are all that the one with the fewest has."""
    ranked = [row for row in rows if row.is_complete and row.mark != PUBLISHED]
    top = max((row.mean or 0 for row in ranked), default=0)
    return findings([
        replace(
            row, rank_mean=row.mean, rank_n=min(item.n or 0 for item in ranked),
            best=round(row.mean or 0, 2) == round(top, 2),
        )
        if row in ranked
        else row
        for row in rows
    ])  # fmt: skip


def compared(n: int, mean: float, mark: str, pairs: int | None = None) -> Row:
    p = 0.004 if mark else 0.3
    return level(
        "w/o 2nd",
        n,
        mean,
        std=0.5,
        delta=1.0,
        delta_ci_low=0.5,
        delta_ci_high=1.5,
        p=p,
        p_adjusted=p,
        mark=mark,
        pairs=n if pairs is None else pairs,
    )


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            level("w/o 2nd", 1, 61.0, delta=1.0, pairs=1),
            "+1.00 to the base on 1 shared seed; too few seeds to tell it from noise.",
        ),
        (level("w/o 2nd", 1, 59.0, delta=-1.0), "the base; too few seeds to tell another level apart."),
        (compared(5, 61.0, ""), "(95 % interval +0.50 to +1.50); too few seeds to tell it from noise."),
        (compared(9, 61.0, "", pairs=5), "+1.50); too few seeds to tell it from noise."),
        (compared(9, 61.0, ""), "not told apart from noise."),
        (
            compared(9, 61.0, "*"),
            "+1.00 to the base on 9 shared seeds (95 % interval +0.50 to +1.50); more than noise.",
        ),
        (
            compared(9, 59.0, "*"),
            "the base; “w/o 2nd”: +1.00 to the base on 9 shared seeds (95 % interval +0.50 to +1.50); more "
            "than noise.",
        ),
        (compared(9, 59.0, ""), "the base; no other level can be told apart from it."),
    ],
)
def test_a_finding_says_what_the_seeds_can_tell(other: Row, said: str) -> None:
    (sentence,) = told([level("LAI-Net", other.n or 0, 60.0, is_base=True), other])
    assert sentence.startswith("d NER, Method: best is “")
    assert sentence.endswith(said)


def test_levels_that_differ_by_more_than_noise_are_told_beside_the_best() -> None:
    base = level("LAI-Net", 8, 60.0, std=0.5, is_base=True)
    better, other = compared(8, 61.0, ""), replace(compared(8, 59.5, ""), level="w/o 1st")
    worse = replace(
        compared(8, 55.0, "*"), level="w/o both", delta=-5.0, delta_ci_low=-5.5, delta_ci_high=-4.5
    )
    said = "“w/o both”: −5.00 to the base on 8 shared seeds (95 % interval −5.50 to −4.50); more than noise"
    (sentence,) = told([base, better, worse])
    assert sentence.startswith("d NER, Method: best is “w/o 2nd”: F1 61.00 ± 0.50 (n = 8), +1.00 to the base")
    assert sentence.endswith(f"; not told apart from noise; {said}.")
    (sentence,) = told([base, other, worse])
    assert sentence.endswith(f", the base; {said}; “w/o 1st” cannot be told apart from the base.")


def test_a_level_that_lacks_seeds_is_named_and_not_ranked() -> None:
    base = level("LAI-Net", 8, 60.0, std=0.5, planned=3, is_base=True)
    whole, lucky = compared(8, 59.0, "*"), level("w/o 1st", 1, 70.0, planned=3, delta=10.0, pairs=1)
    assert told([base, replace(whole, planned=3), lucky]) == [
        "d NER, Method: best is “LAI-Net”: F1 60.00 ± 0.50 (n = 8), the base; “w/o 2nd”: +1.00 to the base "
        "on 8 shared seeds (95 % interval +0.50 to +1.50); more than noise; too few seeds to rank “w/o 1st” "
        "(n = 1)."
    ]
    assert told([base, replace(whole, n=2, planned=3), lucky]) == [
        "d NER, Method: only “LAI-Net” (the base) has as many seeds as planned: F1 60.00 ± 0.50 (n = 8); too "
        "few seeds to rank “w/o 2nd” and “w/o 1st” (n = 1 to 2)."
    ]
    none = level("w/o 3rd", 0, None, planned=3)
    assert told([base, replace(whole, planned=3), lucky, none])[0].endswith(
        "; too few seeds to rank “w/o 1st” and “w/o 3rd” (n = 0 to 1)."
    )
    dash, unplanned = replace(none, n=None, level="dash"), replace(none, planned=0, level="other")
    assert "w/o 3rd" in told([base, replace(whole, planned=3), none])[0]
    assert "too few" not in told([base, replace(whole, planned=3), dash, unplanned])[0]
    assert told([replace(base, n=2), lucky])[0].endswith(
        ": no level has as many seeds as planned, so none is called best (n = 1 to 2)."
    )


STUDY = """
name = "s"
seeds = [0, 1, 2]
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "demo-ner"
[factors]
gcn_layers = [1, 2]
"""


def test_the_best_is_the_best_on_the_seeds_that_all_share(imported: Any, result_row: Any) -> None:
    """Seeds that one level has alone make its mean no better, as they do not its difference to the base."""
    rows = [result_row(0.600 + seed / 1000, seed=seed, gcn_layers=2) for seed in range(3)]
    rows += [result_row(0.610 + seed / 500, seed=seed) for seed in range(3)]
    rows += [result_row(0.900, seed=seed, gcn_layers=2) for seed in (8, 9)]
    table = compute_rows(imported(STUDY, rows).cells, "2")
    assert [row.level for row in table if row.best and row.metric == "f1"] == ["1"]
    assert findings(table) == [
        "SciERC NER, GCN layers: best on 3 shared seeds is “1”: F1 61.20 there, in all 61.20 ± 0.20 (n = 3), "
        "the base; too few seeds to tell another level apart."
    ]


def test_levels_that_share_no_seed_are_not_ranked(imported: Any, result_row: Any) -> None:
    rows = [
        result_row(0.6, seed=seed + 10 * layers, gcn_layers=layers) for layers in (1, 2) for seed in (1, 2, 3)
    ]
    table = compute_rows(imported(STUDY, rows).cells, "2")
    assert not any(row.best for row in table)
    assert findings(table) == [
        "SciERC NER, GCN layers: “1” (the base) and “2” share no seed, so none is called best."
    ]


def test_few_shared_seeds_are_said_of_the_level_that_has_them() -> None:
    base = level("LAI-Net", 8, 60.0, is_base=True)
    few = replace(compared(3, 61.0, ""), level="w/o 1st")
    (sentence,) = told([base, compared(8, 59.0, ""), few])
    assert sentence.endswith("(95 % interval +0.50 to +1.50); too few seeds to tell it from noise.")
    (sentence,) = told([base, compared(8, 59.0, ""), replace(few, mean=58.0)])
    assert sentence.endswith("no other level can be told apart from it, too few seeds to tell “w/o 1st”.")


def test_a_tie_is_said_as_a_tie_the_base_first() -> None:
    base = level("LAI-Net", 8, 60.0, std=0.5, is_base=True)
    tied = replace(compared(8, 60.004, ""), delta=0.004)
    assert told([tied, base]) == [
        "d NER, Method: “LAI-Net” (the base) and “w/o 2nd” tie for best: F1 60.00 ± 0.50 (n = 8) and "
        "60.00 ± 0.50 (n = 8); no other level can be told apart from the base."
    ]
    both = [compared(8, 61.0, ""), replace(compared(8, 61.0, "*"), level="w/o 1st")]
    change = "+1.00 to the base on 8 shared seeds (95 % interval +0.50 to +1.50)"
    assert told([base, *both]) == [
        "d NER, Method: “w/o 2nd” and “w/o 1st” tie for best: F1 61.00 ± 0.50 (n = 8) and 61.00 ± 0.50 "
        f"(n = 8); “w/o 2nd”: {change}; not told apart from noise; “w/o 1st”: {change}; more than noise."
    ]


@pytest.mark.parametrize(
    ("base", "said"),
    [
        (level("LAI-Net", 0, None, is_base=True), "the base has no scores yet."),
        (level("LAI-Net", 1, 50.0, is_base=True), "no seed is shared with the base."),
    ],
)
def test_no_other_level_is_called_the_base(base: Row, said: str) -> None:
    (sentence,) = told([base, level("w/o 2nd", 1, 61.0), level("w/o 1st", 1, 60.0)])
    assert sentence == f"d NER, Method: best is “w/o 2nd”: F1 61.00 (n = 1); {said}"


def test_a_base_with_too_few_seeds_has_scores_all_the_same():
    base = level("LAI-Net", 1, 50.0, is_base=True, planned=2)
    others = [level(name, 2, mean, planned=2) for name, mean in (("w/o 2nd", 61.0), ("w/o 1st", 60.0))]
    (sentence,) = told([base, *others])
    assert "“w/o 2nd”: F1 61.00 (n = 2); no seed is shared with the base; too few seeds to rank" in sentence


@pytest.mark.parametrize(
    ("base", "said"),
    [
        (
            level("LAI-Net", 3, 60.0, std=0.5, ci_low=58.76, ci_high=61.24, is_base=True),
            "F1 60.00 ± 0.50 (n = 3); 95 % interval of the mean 58.76 to 61.24.",
        ),
        (
            level("LAI-Net", 1, 60.0, is_base=True),
            "F1 60.00 (n = 1); one seed says nothing about the spread over seeds.",
        ),
        (
            level("LAI-Net", 2, 60.0, std=5.0, ci_low=15.08, ci_high=104.92, is_base=True),
            "F1 60.00 ± 5.00 (n = 2); 95 % interval of the mean 15.08 to 104.92. An interval beyond 0 or 100 "
            "comes from few seeds: Student's t knows no bounds.",
        ),
    ],
)
def test_a_base_that_is_compared_with_nothing_is_told_once(base: Row, said: str) -> None:
    """By whichever factors it comes: the model of Table 1, a method whose other levels have no score."""
    as_model = replace(base, table="1", factor="model")
    theirs = replace(as_model, level="PL-Marker (2022)", mean=None, is_base=False, mark=PUBLISHED)
    rows = [theirs, as_model, base, level("w/o 2nd", 0, None)]
    assert told(rows) == [f"d NER, the base alone: {said}"]


def test_other_scores_shown_again_and_empty_studies_are_no_finding() -> None:
    again = [level("annotate", 3, 60.0), level("enumerate", 3, 59.0)]  # no base: another table compares
    assert told(again) == []
    assert told([level("LAI-Net", 0, None, is_base=True)]) == []


def test_failed_seeds_without_a_trial_id_are_counted(imported: Any, result_row: Any) -> None:
    """Once, though the base stands in both factors."""
    study = """
name = "s"
seeds = [1, 2, 3]
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "demo-ner"
[factors]
gcn_layers = [0, 1]
gcn_heads = [1, 4]
"""
    rows = [result_row("", seed=seed, status="failed") for seed in (1, 2, 3)]
    failed = "Nothing is done yet: all 4 cells are missing. 3 trials failed."
    assert progress(imported(study, rows).cells) == failed
    named = [row | {"trial_id": f"t{row['seed']}"} for row in rows[:2]]
    assert progress(imported(study, named + rows[2:]).cells) == failed

"""The plain words claim no more than the seeds allow."""

from dataclasses import replace
from typing import Any

import pytest

from analysis.findings import findings
from analysis.tables.rows import PUBLISHED, Row


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
        (level("w/o 2nd", 1, 61.0, delta=1.0), "+1.00 to the base; too few seeds to tell it from noise."),
        (level("w/o 2nd", 1, 59.0, delta=-1.0), "the base; too few seeds to tell another level apart."),
        (compared(5, 61.0, ""), "(95 % interval +0.50 to +1.50); too few seeds to tell it from noise."),
        (compared(9, 61.0, "", pairs=5), "+1.50); too few seeds to tell it from noise."),
        (compared(9, 61.0, ""), "not told apart from noise."),
        (compared(9, 61.0, "*"), "(95 % interval +0.50 to +1.50); more than noise."),
        (compared(9, 59.0, "*"), "1 of 1 other levels can be told apart from it."),
    ],
)
def test_a_finding_says_what_the_seeds_can_tell(other: Row, said: str) -> None:
    (sentence,) = findings([level("LAI-Net", other.n or 0, 60.0, is_base=True), other])
    assert sentence.startswith("d NER, Method: best is “")
    assert sentence.endswith(said)


@pytest.mark.parametrize(
    ("base", "said"),
    [
        (level("LAI-Net", 0, None, is_base=True), "the base has no scores yet."),
        (level("LAI-Net", 1, 50.0, is_base=True), "no seed is shared with the base."),
    ],
)
def test_no_other_level_is_called_the_base(base: Row, said: str) -> None:
    (sentence,) = findings([base, level("w/o 2nd", 1, 61.0), level("w/o 1st", 1, 60.0)])
    assert sentence == f"d NER, Method: best is “w/o 2nd”: F1 61.00 (n = 1); {said}"


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
    ],
)
def test_a_base_that_is_compared_with_nothing_is_told_once(base: Row, said: str) -> None:
    """By whichever factors it comes: the model of Table 1, a method whose other levels have no score."""
    as_model = replace(base, table="1", factor="model")
    theirs = replace(as_model, level="PL-Marker (2022)", mean=None, is_base=False, mark=PUBLISHED)
    rows = [theirs, as_model, base, level("w/o 2nd", 0, None)]
    assert findings(rows) == [f"d NER, the base alone: {said}"]


def test_other_scores_shown_again_and_empty_studies_are_no_finding() -> None:
    again = [level("annotate", 3, 60.0), level("enumerate", 3, 59.0)]  # no base: another table compares
    assert findings(again) == []
    assert findings([level("LAI-Net", 0, None, is_base=True)]) == []

"""The plain words claim no more than the seeds allow."""

from typing import Any

import pytest

from analysis.findings import findings
from analysis.tables.rows import Row


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


def compared(n: int, mean: float, mark: str) -> Row:
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
    )


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (level("w/o 2nd", 1, 61.0, delta=1.0), "+1.00 to the base; too few seeds to tell it from noise."),
        (level("w/o 2nd", 1, 59.0, delta=-1.0), "the base; too few seeds to tell another level apart."),
        (compared(5, 61.0, ""), "(95 % interval +0.50 to +1.50); too few seeds to tell it from noise."),
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


def test_one_level_alone_is_no_finding() -> None:
    assert findings([level("LAI-Net", 3, 60.0), level("w/o 2nd", 0, None)]) == []

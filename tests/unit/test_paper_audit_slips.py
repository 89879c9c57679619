"""Slips injected at random: the audit lists every one that some check can see, and nothing else."""

import random
from collections.abc import Iterator
from decimal import Decimal

import pytest

from analysis.paper.audit import audit
from analysis.paper.finding import Check, Explanation, Finding
from analysis.paper.tables import Place, Published, read_tables

BASE_ROWS = {3: "PL-Marker", 4: "LAI-Net", 5: "Inv."}
ROUNDS = 60
Number = tuple[str, Place]
"""`values` or `changes`, and where."""


def inputs(finding: Finding) -> Iterator[Number]:
    """The printed numbers that a check looks at, said here once more, apart from the audit."""
    place = finding.place
    if finding.check in (Check.DELTA, Check.PERCENTAGE):
        yield "changes", place
        yield "values", place
        yield "values", place._replace(row=BASE_ROWS[place.table])
    elif finding.check is Check.F1:
        for metric in ("precision", "recall", "f1"):
            yield "values", place._replace(metric=metric)
    else:
        yield "values", place
        if (place.table, place.row) == (4, "w/o 2nd"):
            yield "values", place._replace(table=2, row="gcn_layers 0")
        elif place.table == 3:
            yield "values", place._replace(table=1, task="RE+" if place.task == "RE" else place.task)
        else:
            yield "values", place._replace(table=1, row="LAI-Net")


@pytest.fixture(scope="module")
def tables() -> Published:
    """The paper's, made consistent: every number that a check finds off is what the check computes."""
    published = read_tables()
    values = {place: round(value, 2) for place, value in published.values.items()}
    changes = dict(published.changes)
    for check in (Check.F1, Check.EQUALITY, Check.F1, Check.EQUALITY, Check.DELTA, Check.PERCENTAGE):
        for finding in audit(Published(values, changes, published.base_levels)).findings:
            _, place = list(inputs(finding))[-1 if finding.place.row == "w/o 2nd" else 0]
            if finding.check is Check.EQUALITY is check:
                values[place] = values[finding.place] if place != finding.place else finding.computed
            elif finding.check is Check.F1 is check:
                values[finding.place] = round(finding.computed, 2)
            elif finding.check is check:
                changes[finding.place] = round(finding.computed, 2)
    result = Published(values, changes, published.base_levels)
    assert audit(result).counts == {"neither": 0, "averaging": 0, "rounding": 0, "agrees": 192}
    return result


@pytest.fixture(scope="module")
def checked(tables: Published) -> list[Number]:
    """Numbers that some check sees; a slip of 0.03 in a speed of 40 changes nothing that is printed."""
    seen = {number for finding in audit(tables).findings for number in inputs(finding)}
    return sorted(item for item in seen if item[0] == "changes" or item[1].metric != "sentences_per_second")


def test_what_no_check_sees_is_named(tables: Published) -> None:
    result = audit(tables)
    seen = {number for finding in result.findings for number in inputs(finding)}
    numbers = [("values", place) for place in tables.values]
    numbers += [("changes", place) for place in tables.changes]
    assert result.printed == len(numbers)
    assert result.unchecked == tuple(place for kind, place in numbers if (kind, place) not in seen)


@pytest.mark.parametrize("count", [1, 3])
def test_all_slips_are_found_and_none_is_invented(
    tables: Published, checked: list[Number], count: int
) -> None:
    rng = random.Random(count)
    assert len(checked) > 200
    for _ in range(ROUNDS):
        slipped = slip(tables, checked, count, rng)
        copies = {"values": dict(tables.values), "changes": dict(tables.changes)}
        for (kind, place), size in slipped.items():
            copies[kind][place] += size
        deviations = audit(Published(copies["values"], copies["changes"], tables.base_levels)).deviations
        found = {number for finding in deviations for number in inputs(finding)}
        assert set(slipped) <= found, slipped
        for finding in deviations:
            assert set(inputs(finding)) & set(slipped), (finding, slipped)


def slip(tables: Published, checked: list[Number], count: int, rng: random.Random) -> dict[Number, Decimal]:
    """Slips of 0.03 to 2.00 in different rows of different datasets or tasks, so that none hides another."""
    slips: dict[Number, Decimal] = {}
    for kind, place in rng.sample(checked, len(checked)):
        corners = {(other.dataset, other.task.rstrip("+")) for _, other in slips}
        if (place.dataset, place.task.rstrip("+")) not in corners and len(slips) < count:
            size = Decimal(rng.randint(3, 200)) / 100
            slips[kind, place] = rng.choice((-1, 1)) * size
    return slips


def test_a_repeated_or_subtracted_slip_has_no_excuse(tables: Published, checked: list[Number]) -> None:
    """Averaging may explain an F1 beside P and R, never a difference or a repeated number."""
    rng = random.Random(7)
    for kind, place in rng.sample(checked, 60):
        if kind == "values" and place not in tables.changes:
            continue
        copies = {"values": dict(tables.values), "changes": dict(tables.changes)}
        copies[kind][place] += Decimal("0.03")
        deviations = audit(Published(copies["values"], copies["changes"], tables.base_levels)).deviations
        excuses = {item.explanation for item in deviations if item.check is not Check.F1}
        assert excuses == {Explanation.NEITHER}, (kind, place)

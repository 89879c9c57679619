"""Recompute what can be recomputed from the published tables, and sort every deviation by what explains it.

Differences and percentages are made from the values beside them, F1 from P and R, and what two tables should
print alike is compared. Rounding may explain any of the first three. Averaging over runs may explain an F1
alone: a mean of differences is the difference of the means, and one number has no reason to be printed in two
ways. The bound: F1 is concave and homogeneous in (P, R), so a mean of F1 lies below the F1 of the means, to
second order by 2 E[(R dP - P dR)^2] / (P + R)^3, which for a standard deviation s of P and of R over the runs
is at most 2 s^2 / (P + R), reached when they move against each other. Averaging explains a printed F1 that is
too low (never one too high) if that takes no s above `MOST_SPREAD`, in rows that the paper says are averages.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from operator import sub

from analysis.paper.finding import Audit, Check, Explanation, Finding, half_unit, judge
from analysis.paper.tables import Place, Published

MOST_SPREAD = Decimal("1.5")
"""Percentage points; the largest s that we take for seeds of one setting. A choice: the paper prints no s."""

_AVERAGED = ("LAI-Net", "w/o 2nd", "w/o 1st")
"""Means over 10 seeds by the paper's Appendix B; of the rows taken from other papers it does not say."""
_BASE_ROWS = {3: "PL-Marker", 4: "LAI-Net", 5: "Inv."}


def audit(published: Published) -> Audit:
    """Check every printed difference and percentage, every F1, and what the tables should print alike."""
    checks = (_changes, _f1_scores, _equalities)
    findings = [found for check in checks for found in check(published)]
    ordered = sorted(findings, key=lambda found: list(Explanation).index(found.explanation))
    return Audit(
        tuple(ordered), len(published.values) + len(published.changes), _unchecked(published, findings)
    )


def _unchecked(published: Published, findings: Sequence[Finding]) -> tuple[Place, ...]:
    """Where a printed number is neither recomputed nor part of what another is recomputed from."""
    values = {place for found in findings for place in found.sources}
    recomputed = {found.place for found in findings if found.check in (Check.DELTA, Check.PERCENTAGE)}
    alone = [place for place in published.values if place not in values]
    return (*alone, *(place for place in published.changes if place not in recomputed))


def _changes(published: Published) -> Iterator[Finding]:
    """Differences to the table's base row in Tables 4 and 5, changes in percent of it in Table 3."""
    values = published.values
    for place, printed in published.changes.items():
        base_place = place._replace(row=_BASE_ROWS[place.table])
        if place not in values or base_place not in values:
            continue
        check, change = (Check.PERCENTAGE, _percent) if place.table == 3 else (Check.DELTA, sub)
        value, base = values[place], values[base_place]
        slack, base_slack = half_unit(value), half_unit(base)
        span = change(value - slack, base + base_slack), change(value + slack, base - base_slack)
        found = judge(check, place, printed, change(value, base), span)
        yield replace(found, sources=(place, base_place))


def _percent(value: Decimal, base: Decimal) -> Decimal:
    return 100 * (value / base - 1)


def _f1_scores(published: Published) -> Iterator[Finding]:
    """F1 beside precision and recall, Tables 1 and 4."""
    values = published.values
    for place, f1 in values.items():
        parts = [place._replace(metric=metric) for metric in ("precision", "recall")]
        if place.metric != "f1" or any(part not in values for part in parts):
            continue
        precision, recall = (values[part] for part in parts)
        half = half_unit(precision, recall, f1)
        low, high = _f1(precision - half, recall - half), _f1(precision + half, recall + half)
        found = judge(Check.F1, place, f1, _f1(precision, recall), (low, high), half)
        found = replace(found, sources=(place, *parts))
        shortfall = low - (f1 + half)
        is_too_low = shortfall > 0 and found.explanation is not Explanation.AGREES
        yield _averaging(found, shortfall * (precision + recall)) if is_too_low else found


def _averaging(found: Finding, twice_variance: Decimal) -> Finding:
    """Judge an F1 that is too low even with rounding, by 2 s^2: its shortfall times P + R."""
    spread = (twice_variance / 2).sqrt()
    note = f"takes a std of {spread:.2f} in P and R over runs"
    if found.place.row not in _AVERAGED:
        return replace(found, note=f"{note}; not said to be an average")
    explanation = Explanation.AVERAGING if spread <= MOST_SPREAD else Explanation.NEITHER
    return replace(found, explanation=explanation, note=note)


def _f1(precision: Decimal, recall: Decimal) -> Decimal:
    return 2 * precision * recall / (precision + recall)


def _equalities(published: Published) -> Iterator[Finding]:
    """Numbers that one run, or one source, should print alike; what deviates is the first of each pair."""
    values = published.values
    for place, reference in _twins(published):
        if place not in values or reference not in values:
            continue
        half = max(half_unit(values[place]), half_unit(values[reference]))
        expected = values[reference]
        note = _origin(values, place, reference)
        found = judge(Check.EQUALITY, place, values[place], expected, (expected, expected), half, note)
        yield replace(found, sources=(place, reference))


def _twins(published: Published) -> Iterator[tuple[Place, Place]]:
    """(place, the place that it should equal), whether printed or not."""
    for place in published.values:
        headline = place._replace(table=1, row="LAI-Net")
        if place.table == 2 and place.row in _base_rows(published, place):
            yield place, headline
        elif place.table == 3 and place.metric == "f1":  # its "RE" rows print RE+, by their values
            yield place, place._replace(table=1, task="RE+" if place.task == "RE" else place.task)
        elif place.table in (4, 5) and place.row == _BASE_ROWS[place.table]:
            yield place, headline
        elif place.table == 4 and place.row == "w/o 2nd" and place.metric == "f1":
            yield place, place._replace(table=2, row="gcn_layers 0")


def _base_rows(published: Published, place: Place) -> set[str]:
    phase = "NER" if place.task == "NER" else "RE"
    levels = {
        f"{factor} {level}"
        for (dataset, of, factor), level in published.base_levels.items()
        if (dataset, of) == (place.dataset, phase)
    }
    return levels | {"entity_filter with"}


def _origin(values: Mapping[Place, Decimal], place: Place, reference: Place) -> str:
    """What a number was compared with, and where else it stands for the same dataset, task and metric."""
    others = [
        f"Table {other.table}, {other.row}"
        for other, value in values.items()
        if other != place
        and value == values[place]
        and (other.dataset, other.task, other.metric) == (place.dataset, place.task, place.metric)
    ]
    note = f"against Table {reference.table}, {reference.row}"
    return f"{note}; the printed number is {' and '.join(others)}" if others else note

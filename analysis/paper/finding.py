"""One recomputed number, and what explains it where it deviates from the printed one."""

from collections import Counter
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from analysis.paper.tables import Place


class Check(StrEnum):
    """What was recomputed."""

    DELTA = "delta"
    PERCENTAGE = "percentage"
    F1 = "f1"
    EQUALITY = "equality"


class Explanation(StrEnum):
    """What explains a deviation, the worst first."""

    NEITHER = "neither"
    AVERAGING = "averaging"
    ROUNDING = "rounding"
    AGREES = "agrees"


@dataclass(frozen=True)
class Finding:
    """One recomputed number.

    Attributes:
        note: how far the explanation goes, or what the number was compared with.
        sources: places of the values that it was computed from.
    """

    check: Check
    place: Place
    printed: Decimal
    computed: Decimal
    explanation: Explanation
    note: str
    sources: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Audit:
    """Every check that could be made, deviations first, worst first, then as the paper prints them.

    Attributes:
        printed: how many numbers the tables print, values and changes.
        unchecked: places of those that enter no check, so that a slip there cannot be seen.
    """

    findings: tuple[Finding, ...]
    printed: int
    unchecked: tuple[Place, ...]

    @property
    def deviations(self) -> tuple[Finding, ...]:
        """Those that do not agree."""
        return tuple(found for found in self.findings if found.explanation is not Explanation.AGREES)

    @property
    def counts(self) -> dict[str, int]:
        """How many checks end in each explanation."""
        counts = Counter(found.explanation for found in self.findings)
        return {str(explanation): counts[explanation] for explanation in Explanation}

    @property
    def unchecked_by_table(self) -> dict[int, int]:
        """How many of `unchecked` stand in each table."""
        return dict(sorted(Counter(place.table for place in self.unchecked).items()))

    def as_dict(self) -> dict[str, Any]:
        """For JSON; computed numbers to four decimals."""
        deviations = [
            {name: value for name, value in asdict(found).items() if name != "sources"}
            | {
                "place": str(found.place),
                "printed": float(found.printed),
                "computed": float(round(found.computed, 4)),
            }
            for found in self.deviations
        ]
        return {
            "checks": len(self.findings), **self.counts, "printed": self.printed,
            "unchecked": [str(place) for place in self.unchecked], "deviations": deviations,
        }  # fmt: skip


def half_unit(*printed: Decimal) -> Decimal:
    """Half a unit of the last digit printed.

    Of several numbers of one row it is the finest digit that any of them uses: 67.10, 61.80 and 64.30 side by
    side have one decimal.
    """
    if len(printed) > 1:
        printed = tuple(number.normalize() for number in printed)
    exponents = [min(0, int(number.as_tuple().exponent)) for number in printed]
    return Decimal(5).scaleb(min(exponents) - 1)


def judge(
    check: Check,
    place: Place,
    printed: Decimal,
    computed: Decimal,
    span: tuple[Decimal, Decimal],
    half: Decimal | None = None,
    note: str = "",
) -> Finding:
    """Say whether a printed number agrees, or is explained by rounding, or by nothing known here.

    A printed number stands for the interval of half a unit on either side; rounding explains a deviation if
    some values in these intervals agree.

    Args:
        check: what is recomputed.
        place: where.
        printed: the number there.
        computed: from the inputs as printed.
        span: lowest and highest value that the inputs can give before rounding.
        half: half a unit of what is printed; None takes its last digit.
        note: for a deviation that rounding does not explain.
    """
    low, high = span
    half = half_unit(printed) if half is None else half
    reach = max(high - computed, computed - low) + half
    if abs(printed - computed) <= half_unit(printed):
        explanation, note = Explanation.AGREES, ""
    elif low <= printed + half and printed - half <= high:
        explanation, note = Explanation.ROUNDING, f"reaches {reach:.3f}"
    else:
        explanation, note = Explanation.NEITHER, note or f"rounding reaches {reach:.3f}"
    return Finding(check, place, printed, computed, explanation, note)

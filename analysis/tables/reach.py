"""What a comparison could show at best: few shared seeds mark nothing, however large a difference is."""

from collections import defaultdict
from collections.abc import Iterable

from analysis.statistics.multiplicity import holm
from analysis.tables.rows import Row
from tune.forecast.significance import smallest_p


def attainable_p(rows: Iterable[Row]) -> dict[Row, float]:
    """The smallest adjusted p that the shared seeds of each compared row could give; 1 for one seed.

    A family that reaches all of its smallest p-values has the smallest adjusted ones, too. As in `compare`,
    cells that exist count before they share a seed with the base, so `rows` must have those as well.
    """
    families: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row.delta is not None or _is_to_come(row):
            families[row.table, row.dataset, row.task, row.factor, row.metric].append(row)
    found: dict[Row, float] = {}
    for family in families.values():
        adjusted = holm([None if row.p is None else smallest_p(row.pairs) for row in family])
        found |= {
            row: 1.0 if p is None else p
            for row, p in zip(family, adjusted, strict=True)
            if row.delta is not None
        }
    return found


def _is_to_come(row: Row) -> bool:
    """Whether a level that exists and is planned shares no seed with its base yet."""
    return row.delta is None and row.n is not None and row.planned > 0 and not row.is_base

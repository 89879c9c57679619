"""The paper's shapes of Tables 2, 4 and 5, as one pivot of the computed rows with three layouts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.paper import VERSION
from analysis.tables.rows import BLOCKED, DASH, FAILED, MISSING, SIGNIFICANT, Row
from tune.results import SCORES

PAPER_LABEL = f"paper, {VERSION.split(' (')[0]}"
NAMES = {
    "gcn_layers": "GCN layers", "gcn_heads": "Attention heads", "entity_filter": "Entity filter",
    "method": "Method", "mask": "Mask", "precision": "P", "recall": "R", "f1": "F1",
    "dataset": "Dataset", "task": "Task",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """Which fields of a row run down a table and which run across.

    Attributes:
        title: what the table varies.
        down: fields that label a line.
        across: fields that label a column.
        metrics: those that are printed.
        shows_delta: whether differences to the base are printed.
        paper_below: whether published values stand in a line below ours, not in columns beside them.
    """

    title: str
    down: tuple[str, ...]
    across: tuple[str, ...]
    metrics: tuple[str, ...]
    shows_delta: bool
    paper_below: bool


LAYOUTS = {
    "2": Layout(
        "GCN layers, attention heads and entity filter",
        ("dataset", "task"), ("factor", "level"), ("f1",), shows_delta=False, paper_below=True,
    ),
    "4": Layout(
        "The two rounds of interaction",
        ("dataset", "task", "level"), ("metric",), SCORES, shows_delta=True, paper_below=False,
    ),
    "5": Layout(
        "The attention mask",
        ("dataset", "level"), ("task",), ("f1",), shows_delta=True, paper_below=False,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """What is printed of one row, in pieces that each format joins in its own way.

    Attributes:
        value: the mean, or what stands in its place (a dash, `missing (0/5)`, `failed (5/5)`).
        spread: the standard deviation; empty for n < 2.
        mark: `*` where the difference to the base is significant.
        remarks: the difference to the base in brackets; `[2/5]` where seeds are lacking.
        best: whether the value is printed in bold.
        published: whether it is the paper's value, printed in italics.
    """

    value: str
    spread: str = ""
    mark: str = ""
    remarks: tuple[str, ...] = ()
    best: bool = False
    published: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One line: labels, with those that repeat the line above left empty, and entries."""

    labels: tuple[str, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A laid-out table.

    Attributes:
        stubs: names of the label columns.
        groups: (name, number of columns) of the header's upper level; empty where it has one level.
        columns: the header's lower level.
        lines: from top to bottom.
    """

    stubs: tuple[str, ...]
    groups: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]


def arrange(rows: Sequence[Row], layout: Layout) -> Grid:
    """Pivot rows into a layout; a place that no row has is a dash."""
    places = {
        (_labels(row, layout.down), _labels(row, layout.across)): row
        for row in rows
        if row.metric in layout.metrics
    }
    across = list(dict.fromkeys(column for _, column in places))
    has_paper = any(row.paper is not None for row in places.values())
    beside = has_paper and not layout.paper_below
    lines: list[Line] = []
    before: tuple[str, ...] = ()
    for down in dict.fromkeys(down for down, _ in places):
        found = [places.get((down, column)) for column in across]
        ours = tuple(entry_of(row, shows_delta=layout.shows_delta) for row in found)
        theirs = tuple(_published(row) for row in found)
        lines.append(Line(_without_repeats(down, before), ours + theirs if beside else ours))
        if layout.paper_below and any(row is not None and row.paper is not None for row in found):
            lines.append(Line(("",) * (len(down) - 1) + (PAPER_LABEL,), theirs))
        before = down
    groups = Counter(column[0] for column in across) if len(layout.across) > 1 else Counter()
    if beside:
        groups = Counter({"This study": len(across), PAPER_LABEL: len(across)})
    factor = NAMES[rows[0].factor] if rows else ""
    return Grid(
        stubs=tuple(factor if name == "level" else NAMES[name] for name in layout.down),
        groups=tuple(groups.items()),
        columns=tuple(column[-1] for column in across) * (2 if beside else 1),
        lines=tuple(lines),
    )


def entry_of(row: Row | None, *, shows_delta: bool) -> Entry:
    """What to print of a row; None is a cell that does not exist."""
    if row is None or row.mark == DASH:
        return Entry("–")
    if row.mark == FAILED:
        return Entry(f"failed ({row.num_failed}/{row.planned})")
    if row.mark == BLOCKED:
        return Entry(f"blocked ({row.num_blocked}/{row.planned})")
    if row.mark == MISSING or row.mean is None or row.n is None:
        return Entry(f"missing (0/{row.planned})")
    remarks = []
    if shows_delta and row.delta is not None:
        remarks.append(f"({signed(row.delta)})")
    if row.n < row.planned:
        remarks.append(f"[{row.n}/{row.planned}]")
    if row.num_failed:
        remarks.append(f"[{row.num_failed} failed]")
    if row.num_blocked:
        remarks.append(f"[{row.num_blocked} blocked]")
    return Entry(
        value=f"{row.mean:.2f}",
        spread="" if row.std is None else f"{row.std:.2f}",
        mark="*" if row.mark == SIGNIFICANT else "",
        remarks=tuple(remarks),
        best=row.best,
    )


def _published(row: Row | None) -> Entry:
    return Entry("–" if row is None or row.paper is None else f"{row.paper:.2f}", published=True)


def signed(value: float) -> str:
    """Two decimals with a sign; what prints as zero has none."""
    text = f"{value:+.2f}".replace("-", "−")
    return text[1:] if float(f"{value:.2f}") == 0 else text


def _labels(row: Row, names: tuple[str, ...]) -> tuple[str, ...]:
    values = (str(getattr(row, name)) for name in names)
    return tuple(
        NAMES.get(value, value) if name in ("factor", "metric") else value
        for name, value in zip(names, values, strict=True)
    )


def _without_repeats(labels: tuple[str, ...], before: tuple[str, ...]) -> tuple[str, ...]:
    """Labels that repeat the line above become empty, from the left up to the first that differs."""
    same = 0
    while same < len(before) and labels[same] == before[same]:
        same += 1
    return ("",) * same + labels[same:]

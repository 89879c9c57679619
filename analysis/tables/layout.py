"""The shapes of the tables, as one pivot of the computed rows with a layout each; Table 1 has its own."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from analysis.paper import VERSION
from analysis.tables.rows import BLOCKED, DASH, FAILED, NOT_GIVEN, SIGNIFICANT, Row
from lai_net.metrics.scoring import SCORES

PAPER_LABEL = f"paper, {VERSION.split(' (')[0]}"
_NOT_PRINTED = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
NAMES = {
    "gcn_layers": "GCN layers", "gcn_heads": "Attention heads", "entity_filter": "Entity filter",
    "method": "Method", "mask": "Mask", "precision": "P", "recall": "R", "f1": "F1",
    "dataset": "Dataset", "task": "Task", "metric": "Metric", "model": "Model",
    "representation": "Representation", "sentences_per_second": "Sentences/s",
    "peak_mib": "Peak memory (MiB)",
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
    "1": Layout(
        "LAI-Net beside other models",
        ("dataset", "level"), ("task", "metric"), SCORES, shows_delta=False, paper_below=False,
    ),
    "2": Layout(
        "GCN layers, attention heads and entity filter",
        ("dataset", "task"), ("factor", "level"), ("f1",), shows_delta=False, paper_below=True,
    ),
    "3": Layout(
        "Inference speed",
        ("dataset", "task", "metric"), ("level",), ("f1", "sentences_per_second"), shows_delta=True,
        paper_below=False,
    ),
    "4": Layout(
        "The two rounds of interaction",
        ("dataset", "task", "level"), ("metric",), SCORES, shows_delta=True, paper_below=False,
    ),
    "5": Layout(
        "The attention mask",
        ("dataset", "level"), ("task",), ("f1",), shows_delta=True, paper_below=False,
    ),
    "representations": Layout(
        "Four ways to represent a span (Eq. 1 to 4)",
        ("dataset", "level"), ("metric", "task"), ("f1", "sentences_per_second", "peak_mib"),
        shows_delta=True, paper_below=False,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """What is printed of one row, in pieces that each format joins in its own way.

    Attributes:
        value: the mean, or what stands in its place (a dash, `missing (0/5)`, `failed (5/5)`, `not given`,
            `not planned`).
        spread: the standard deviation; empty for n < 2.
        mark: `*` where the difference to the base is significant.
        remarks: interval; the difference to the base in brackets; `n = 5` where the table's counts differ;
            `[2/5]` where seeds are lacking.
        best: whether the value is printed in bold.
        published: whether it is the paper's value, printed in italics.
        cell: (dataset, task, factor, level) of the cell whose trials are behind it, where there is one; no
            part of what is printed, so entries are equal without it.
    """

    value: str
    spread: str = ""
    mark: str = ""
    remarks: tuple[str, ...] = ()
    best: bool = False
    published: bool = False
    cell: tuple[str, str, str, str] | None = field(default=None, compare=False)

    @property
    def is_gap(self) -> bool:
        """Whether words or a dash stand in place of a mean."""
        return not self.value[:1].isdigit()


@dataclass(frozen=True, slots=True)
class Line:
    """One line: labels, with those that repeat the line above left empty, and entries.

    A line that `continues` the one above stays below it however a reader sorts.
    """

    labels: tuple[str, ...]
    entries: tuple[Entry, ...]
    continues: bool = False


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

    @property
    def group_names(self) -> list[str]:
        """The upper header of each column; empty where there is none."""
        names = [name for name, width in self.groups for _ in range(width)]
        return names or [""] * len(self.columns)


def arrange(rows: Sequence[Row], layout: Layout) -> Grid:
    """Pivot rows into a layout; a place that no row has is a dash."""
    places = {
        (_labels(row, layout.down), _labels(row, layout.across)): row
        for row in rows
        if row.metric in layout.metrics
    }
    across = list(dict.fromkeys(column for _, column in places))
    tops = list(dict.fromkeys(column[0] for column in across))
    across.sort(key=lambda column: tops.index(column[0]))  # a header stands once, over all that it heads
    has_paper = any(row.paper is not None for row in places.values())
    shows_n = counts_differ(places.values())
    beside = has_paper and not layout.paper_below
    lines: list[Line] = []
    before: tuple[str, ...] = ()
    for down in dict.fromkeys(down for down, _ in places):
        found = [places.get((down, column)) for column in across]
        ours = tuple(entry_of(row, shows_delta=layout.shows_delta, shows_n=shows_n) for row in found)
        theirs = tuple(published_entry(row) for row in found)
        lines.append(Line(_without_repeats(down, before), ours + theirs if beside else ours))
        if layout.paper_below and any(row is not None and row.paper is not None for row in found):
            lines.append(Line(("",) * (len(down) - 1) + (PAPER_LABEL,), theirs, continues=True))
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


def counts_differ(rows: Iterable[Row]) -> bool:
    """Whether the means of a table are over different numbers of seeds, so that each must say its own."""
    return len({row.n for row in rows if row.n and row.metric in SCORES}) > 1


def entry_of(row: Row | None, *, shows_delta: bool, shows_n: bool) -> Entry:
    """What to print of a row; None is a cell that does not exist."""
    if row is None or row.mark == DASH:
        return Entry("–")
    cell = (row.dataset, row.task, row.factor, row.level) if row.metric in SCORES else None
    if row.mean is None:
        return Entry(_in_place_of_a_mean(row), cell=cell if row.planned else None)
    remarks = [row.note] if row.note else []
    if row.ci_low is not None and row.ci_high is not None:
        remarks.append(f"{row.ci_low:.2f} to {row.ci_high:.2f}".replace("-", "−"))
    if shows_delta and row.delta is not None:
        remarks.append(_change(row))
    return Entry(
        value=f"{row.mean:.2f}",
        spread="" if row.std is None else f"{row.std:.2f}",
        mark="*" if row.mark == SIGNIFICANT else "",
        remarks=(*remarks, *_seeds(row, shows_n=shows_n)),
        best=row.best,
        cell=cell,
    )


def _in_place_of_a_mean(row: Row) -> str:
    counts = {FAILED: row.num_failed, BLOCKED: row.num_blocked}
    if row.mark in counts:
        return f"{row.mark} ({counts[row.mark]}/{row.planned})"
    if row.mark == NOT_GIVEN:
        return NOT_GIVEN
    return f"missing (0/{row.planned})" if row.planned else unplanned(row.metric)


def _seeds(row: Row, *, shows_n: bool) -> Iterator[str]:
    """How many seeds are behind a mean, unless `[2/5]` says it; in brackets which are not."""
    is_said = row.num_done < row.planned and not row.num_silent
    if shows_n and not is_said and row.metric in SCORES:
        yield f"n = {row.n}"
    if row.num_done < row.planned:
        yield f"[{row.num_done}/{row.planned}]"
    counts = {"not given": row.num_silent, "failed": row.num_failed, "blocked": row.num_blocked}
    yield from (f"[{count} {name}]" for name, count in counts.items() if count)


def published_entry(row: Row | None) -> Entry:
    """The paper's value; a dash where it has none."""
    return Entry("–" if row is None or row.paper is None else f"{row.paper:.2f}", published=True)


def unplanned(metric: str) -> str:
    """What stands where a study asks for no seed: of a model that it does not have, or of a speed."""
    return "not planned" if metric in SCORES else "not measured"


def one_line(text: str) -> str:
    """Text in which each run of white space or control characters, a line break among them, is one space."""
    return _NOT_PRINTED.sub(" ", text).strip()


def signed(value: float) -> str:
    """Two decimals with a sign; what prints as zero has none."""
    text = f"{value:+.2f}".replace("-", "−")
    return text[1:] if float(f"{value:.2f}") == 0 else text


def interval_text(low: float, high: float) -> str:
    """A difference's interval in words."""
    return f"95 % interval {signed(low)} to {signed(high)}"


def _change(row: Row) -> str:
    """The difference to the base in points; of a speed, as in the paper, in percent of the base's."""
    if row.delta is None or row.mean is None:
        return ""
    if row.metric in SCORES:
        return f"({signed(row.delta)})"
    return f"({signed(100 * row.delta / (row.mean - row.delta))} %)"


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

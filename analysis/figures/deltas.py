"""Forest plot: each cell's difference in F1 to its base, paired by seed, with its interval.

A panel is a task, a line a level, a look a dataset. Few seeds give intervals that dwarf every difference: the
axis ends at a multiple of the largest difference, and an interval that goes on beyond has an arrow there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.drawing import TWO_COLUMNS, draw_legend, look, style
from analysis.tables.layout import NAMES
from analysis.tables.rows import SIGNIFICANT, Row
from lai_net.metrics.scoring import TASKS

_REACH = 3.0
"""The axis ends at so many times the largest difference."""
_ROOM = 1.08
_LINE_INCHES = 0.175
_SPREAD = 0.5  # of a line's height, over the datasets


@dataclass(frozen=True, slots=True)
class Delta:
    """One cell: difference in points of F1, 95 % interval (None below two shared seeds), Holm's verdict."""

    dataset: str
    task: str
    factor: str
    level: str
    delta: float
    low: float | None
    high: float | None
    is_significant: bool


@dataclass(frozen=True, slots=True)
class Deltas:
    """All differences; `lines` are (factor, level) from top to bottom, the axis goes from -reach to reach."""

    tasks: tuple[str, ...]
    datasets: tuple[str, ...]
    lines: tuple[tuple[str, str], ...]
    deltas: tuple[Delta, ...]
    reach: float


def compute_deltas(rows: Sequence[Row]) -> Deltas | None:
    """The forest plot's numbers from all tables' rows; None where nothing has a difference to its base."""
    deltas = tuple(  # Table 3 repeats Table 1
        Delta(
            row.dataset, row.task, row.factor, row.level, row.delta, row.delta_ci_low, row.delta_ci_high,
            row.mark == SIGNIFICANT,
        )
        for row in rows
        if row.metric == "f1" and row.delta is not None and row.table != "3"
    )  # fmt: skip
    if not deltas:
        return None
    tasks = {delta.task for delta in deltas}
    return Deltas(
        tasks=tuple(task for task in TASKS if task in tasks),
        datasets=tuple(dict.fromkeys(delta.dataset for delta in deltas)),
        lines=_lines(rows, deltas),
        deltas=deltas,
        reach=_reach(deltas),
    )


def _reach(deltas: Sequence[Delta]) -> float:
    ends = [abs(end) for item in deltas for end in (item.delta, item.low, item.high) if end is not None]
    return min(_REACH * max(abs(item.delta) for item in deltas), _ROOM * max(ends)) or 1.0


def _lines(rows: Sequence[Row], deltas: Sequence[Delta]) -> tuple[tuple[str, str], ...]:
    """The levels that have a difference somewhere, by factor, in the order of the tables."""
    shown = {(delta.factor, delta.level) for delta in deltas}
    levels = dict.fromkeys((row.factor, row.level) for row in rows)
    factors = dict.fromkeys(factor for factor, _ in levels)
    return tuple(level for factor in factors for level in levels if level[0] == factor and level in shown)


def draw_deltas(figure: Deltas) -> Figure:
    """Draw it over two columns."""
    with style():
        height = 0.95 + _LINE_INCHES * len(figure.lines) * (1 + 0.35 * (len(figure.datasets) - 1))
        canvas = Figure(figsize=(TWO_COLUMNS, height))
        axes = canvas.subplots(1, len(figure.tasks), squeeze=False, sharex=True, sharey=True)[0]
        for ax, task in zip(axes, figure.tasks, strict=True):
            _draw_panel(ax, figure, task)
            ax.set_title(task)
        axes[0].set_yticks(range(len(figure.lines)), _labels(figure.lines))
        axes[0].set_ylim(len(figure.lines) - 0.5, -0.5)
        axes[0].set_xlim(-figure.reach, figure.reach)
        canvas.supxlabel("Difference in F1 to the base (points)", fontsize=8)
        if len(figure.datasets) > 1:
            draw_legend(canvas, axes, figure.datasets)
    return canvas


def _draw_panel(ax: Axes, figure: Deltas, task: str) -> None:
    ax.axvline(0, color="0.35", linewidth=0.8)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    for line, (before, after) in enumerate(zip(figure.lines, figure.lines[1:], strict=False), start=1):
        if before[0] != after[0]:
            ax.axhline(line - 0.5, color="0.8", linewidth=0.6)
    named = set()
    for delta in figure.deltas:
        if delta.task != task:
            continue
        number = figure.datasets.index(delta.dataset)
        shift = (number - (len(figure.datasets) - 1) / 2) * _SPREAD / max(1, len(figure.datasets) - 1)
        y = figure.lines.index((delta.factor, delta.level)) + shift
        own = look(number) | {"linestyle": "none"}
        _draw_interval(ax, delta, y, figure.reach, own["color"])
        face = own["color"] if delta.is_significant else "white"
        label = "_" if delta.dataset in named else delta.dataset
        ax.plot(
            delta.delta, y, label=label, **own | {"markerfacecolor": face, "markeredgecolor": own["color"]}
        )
        named.add(delta.dataset)


def _draw_interval(ax: Axes, delta: Delta, y: float, reach: float, color: object) -> None:
    if delta.low is None or delta.high is None:
        return
    ax.hlines(y, max(delta.low, -reach), min(delta.high, reach), color=color, linewidth=1.1)
    for end, is_beyond, marker in (
        (-reach, delta.low < -reach, "<"),
        (reach, delta.high > reach, ">"),
    ):
        if is_beyond:
            ax.plot(end, y, marker=marker, color=color, markersize=3.5, clip_on=False, linestyle="none")


def _labels(lines: Sequence[tuple[str, str]]) -> list[str]:
    """`GCN layers 0`, `1`, …: a factor's name on its first line alone."""
    named: set[str] = set()
    labels = []
    for factor, level in lines:
        labels.append(level if factor in named else f"{NAMES[factor]}  {level}")
        named.add(factor)
    return labels

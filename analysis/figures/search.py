"""A search: what every config came to with the rungs that stopped some, and which settings mattered."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.drawing import ONE_COLUMN, TWO_COLUMNS, draw_legend, look, style
from tune.search.state import Search

COMPLETE, PRUNED = "complete", "stopped at a rung"
_BEST = "best so far"
_BAR_INCHES = 0.24


@dataclass(frozen=True, slots=True)
class SearchCurve:
    """One config: its mean dev F1 in percent over seeds by epoch, in order, and where it ended.

    `score` is the mean at full budget; of a config that was stopped, the mean at the rung that stopped it,
    where its curve ends.
    """

    number: int
    state: str
    points: tuple[tuple[int, float], ...]
    score: float


@dataclass(frozen=True, slots=True)
class SearchHistory:
    """All configs that ran to the end or to a rung, in the order of their suggestion.

    Attributes:
        curves: repetitions of a config are left out.
        best: (number, best complete score up to there) at each complete config.
        rungs: all epochs at which some bracket decides.
    """

    curves: tuple[SearchCurve, ...]
    best: tuple[tuple[int, float], ...]
    rungs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Importance:
    """Each setting's share, largest first."""

    shares: tuple[tuple[str, float], ...]


def compute_search_history(search: Search) -> SearchHistory | None:
    """From a search as its log leaves it; None where no config has ended."""
    curves = []
    for candidate in search.candidates:
        told = candidate.told()
        if candidate.same_as is not None or told.state not in ("complete", "pruned") or not told.curve:
            continue
        last = candidate.stopped_at or max(told.curve)
        points = tuple((epoch, 100 * value) for epoch, value in sorted(told.curve.items()) if epoch <= last)
        score = points[-1][1] if told.value is None else 100 * told.value
        curves.append(
            SearchCurve(told.number, COMPLETE if told.state == "complete" else PRUNED, points, score)
        )
    if not curves:
        return None
    complete = [curve for curve in curves if curve.state == COMPLETE]
    best = accumulate((curve.score for curve in complete), max)
    rungs = {epoch for epochs in search.rules.rungs for epoch in epochs}
    return SearchHistory(
        tuple(curves),
        tuple(zip((curve.number for curve in complete), best, strict=True)),
        tuple(sorted(rungs)),
    )


def draw_search_history(figure: SearchHistory, width: float = TWO_COLUMNS) -> Figure:
    """Draw scores by suggestion, and the curves behind them with the rungs."""
    with style():
        is_narrow = width == ONE_COLUMN
        canvas = Figure(figsize=(width, 4.4 if is_narrow else 2.5))
        left, right = canvas.subplots(*((2, 1) if is_narrow else (1, 2)))
        _draw_scores(left, figure)
        _draw_curves(right, figure)
        if is_narrow:
            right.set_ylabel("Dev F1 (%)")
        draw_legend(canvas, [left], [COMPLETE, PRUNED, _BEST])
    return canvas


def _draw_scores(ax: Axes, figure: SearchHistory) -> None:
    for index, state in enumerate((COMPLETE, PRUNED)):
        curves = [curve for curve in figure.curves if curve.state == state]
        if curves:
            own = look(index) | {"linestyle": "none", "marker": "o" if state == COMPLETE else "X"}
            ax.plot([curve.number for curve in curves], [curve.score for curve in curves], label=state, **own)
    if figure.best:
        numbers, scores = zip(*figure.best, strict=True)
        last = max(curve.number for curve in figure.curves)
        ax.step(
            [*numbers, last], [*scores, scores[-1]], where="post", color="0.25", linewidth=1.0, label=_BEST,
            marker="", linestyle="-",
        )  # fmt: skip
    ax.set_xlabel("Config, in the order of suggestion")
    ax.set_ylabel("Dev F1 (%)")
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _draw_curves(ax: Axes, figure: SearchHistory) -> None:
    for rung in figure.rungs:
        ax.axvline(rung, color="0.45", linewidth=0.8, linestyle=(0, (2, 2)))
        ax.annotate(
            f"rung {rung}", (rung, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
            textcoords="offset points", ha="center", fontsize=7, color="0.35",
        )  # fmt: skip
    for curve in figure.curves:
        is_complete = curve.state == COMPLETE
        color = look(0 if is_complete else 1)["color"]
        dashes = "-" if is_complete else "--"
        epochs, scores = zip(*curve.points, strict=True)
        ax.plot(epochs, scores, color=color, linewidth=0.9, alpha=0.7, linestyle=dashes, marker="")
        ax.plot(epochs[-1], scores[-1], color=color, marker="o" if is_complete else "X", markersize=3.5)
    ax.set_xlabel("Epoch")
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def compute_importance(shares: Mapping[str, float]) -> Importance | None:
    """From shares by setting, as `tune.search.optuna_view` computes them; None without any."""
    ordered = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return Importance(tuple(ordered)) if ordered else None


def draw_importance(figure: Importance, width: float = TWO_COLUMNS) -> Figure:
    """Draw a bar a setting."""
    with style():
        canvas = Figure(figsize=(width, 0.7 + _BAR_INCHES * len(figure.shares)))
        ax = canvas.subplots()
        names, shares = zip(*figure.shares, strict=True)
        ax.barh(names, shares, color=look(0)["color"], height=0.62)
        for line, share in enumerate(shares):
            ax.annotate(
                f"{share:.2f}", (share, line), xytext=(3, 0), textcoords="offset points", va="center",
                fontsize=7.5,
            )  # fmt: skip
        ax.set_xlim(0, 1.15 * max(shares) or 1)
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("Share in reaching the best configs")
    return canvas

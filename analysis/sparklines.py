"""Learning curves of one config as a small drawing for the page: a line a trial, F1 by epoch.

The numbers come from the ledger; the drawing is plain SVG that takes its colours from the page.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from analysis.evidence import Points, Run
from lai_net.wording import counted

_WIDTH, _HEIGHT = 300, 130
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 8, 8, 24
_MOST_TICKS = 5


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, in pixels, and what is printed there."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Sparkline:
    """What the template draws.

    Attributes:
        lines: name of the trial, and its points as SVG has them; the first one twice.
        x_ticks: epochs.
        y_ticks: F1 in percent.
        summary: the drawing in words, for those who do not see it.
        width, height: of the drawing, in pixels.
        left, right: where the curves' field begins and ends.
    """

    lines: tuple[tuple[str, str], ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    right: int = _WIDTH - _RIGHT


def draw_sparkline(runs: Sequence[Run], measure: str) -> Sparkline | None:
    """Lay out the curves of a config's trials, which show `measure`; None where no trial has any."""
    curves = [(run.name, run.curve) for run in runs if run.curve]
    if not curves:
        return None
    scores = [f1 for _, curve in curves for _, f1 in curve]
    last = max(epoch for _, curve in curves for epoch, _ in curve)
    step = _step(max(scores) - min(scores))
    low, high = step * math.floor(min(scores) / step), step * math.ceil(max(scores) / step)
    high = high if high > low else low + step

    def x(epoch: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (epoch - 1) / max(1, last - 1)

    def y(f1: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (f1 - low) / (high - low)

    every = max(1, math.ceil(last / _MOST_TICKS))
    return Sparkline(
        lines=tuple(
            # The first point twice: so a curve of one epoch is a dot.
            (name, " ".join(f"{x(epoch):.1f},{y(f1):.1f}" for epoch, f1 in (curve[:1] + curve)))
            for name, curve in curves
        ),
        x_ticks=tuple(Tick(x(epoch), str(epoch)) for epoch in range(1, last + 1, every)),
        y_ticks=tuple(
            Tick(y(low + step * number), f"{low + step * number:g}")
            for number in range(round((high - low) / step) + 1)
        ),
        summary=_summary([curve for _, curve in curves], measure),
    )


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that a span has at most five steps."""
    least = max(span / _MOST_TICKS, 0.1)
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _summary(curves: Sequence[Points], measure: str) -> str:
    ends = [curve[-1][1] for curve in curves]
    best = [max(f1 for _, f1 in curve) for curve in curves]
    mean = "" if len(curves) == 1 else " on average"
    return (
        f"{measure[0].upper()}{measure[1:]} by epoch, {counted(len(curves), 'trial')}: best "
        f"{fmean(best):.2f}, last {fmean(ends):.2f}{mean}."
    )

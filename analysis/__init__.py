"""Ledger to statistics, tables, figures and report.

In a notebook: `cells = analysis.load("runs/ledger.sqlite", "demo")`, scores in 0-1, then
`analysis.table2(cells)` (also `table1`, `table4`, `table5`, `table_representations`, and `table3` with the
speed benchmark: a pandas frame in the contract's columns, scores in percent) and
`analysis.figure_a1(cells)` (matplotlib axes, which Jupyter shows; `.figure` is the whole, to change or
save). Without a study `analysis.load("runs/ledger.sqlite")` is every result of the
ledger, for pandas, and `analysis.curves("runs/ledger.sqlite")` every epoch.
"""

from importlib import import_module
from typing import Any

__all__ = [
    "curves", "figure_a1", "load", "table1", "table2", "table3", "table4", "table5",
    "table_representations",
]  # fmt: skip


def __dir__() -> list[str]:
    """For completion by tab."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import the notebook's functions when they are first used, so that `lai --help` stays quick."""
    if name in __all__:
        return getattr(import_module("analysis.notebook"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Which levels of a study are told from their base: `analysis.statistics.sequential` on a ledger.

This is what `lai plan --until-decided` and `lai run --until-decided` ask; see `tune.forecast.until_decided`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from analysis.frame import CellResults, match, to_frame
from analysis.statistics.sequential import Design, decide
from tune.forecast.significance import SIGNIFICANCE
from tune.forecast.until_decided import Decision, look_counts
from tune.ledger.ledger import Ledger
from tune.results.table import long_table
from tune.spec.cells import expand
from tune.spec.study import Study, with_all_seeds

_SETTLED = ("completed", "failed", "blocked", "pruned")
"""States after which no score is to come unless somebody runs the trial again."""


def decide_study(ledger: Path, study: Study) -> list[Decision]:
    """Replay the looks at every comparison of a study that has `[decide]`.

    Scores are F1 in percent, as the tables show them; seeds that are neither the study's nor added by
    `[decide]` (of imported rows) do not count.
    """
    whole = with_all_seeds(study)
    with Ledger.read_or_empty(ledger) as opened:
        return decide_results(match(whole, long_table(opened, whole)), study)


def decide_results(results: Iterable[CellResults], study: Study) -> list[Decision]:
    """The same from what was found for the study with all its seeds."""
    if study.decide is None:
        return []
    planned = {cell.key for cell in expand(study)}
    # What imported rows alone bring is compared in the tables, but nobody here can train more of it.
    own = [item for item in results if item.place.cell.key in planned]
    cells = to_frame(own)
    existing = cells[cells["exists"]]
    decisions = []
    for (dataset, task, factor), family in existing.groupby(["dataset", "task", "factor"], sort=False):
        bases = family.loc[family["is_base"], "level"]
        if bases.empty:
            continue
        base = str(bases.iloc[0])
        levels = {str(level): cell for level, cell in family.groupby("level", sort=False)}
        design = Design(
            seeds=study.all_seeds,
            looks=look_counts(study, len(levels) - 1),
            alpha=SIGNIFICANCE,
            min_effect=study.decide.min_effect,
        )
        verdicts, base_missing = decide(
            {level: _scores(cell) for level, cell in levels.items()},
            {level: _settled(cell) for level, cell in levels.items()},
            base,
            design,
        )
        for level, verdict in verdicts.items():
            is_open = verdict.state == "open"
            decisions.append(Decision(
                dataset=str(dataset), phase=str(family["phase"].iloc[0]), task=str(task), factor=str(factor),
                level=level, base_level=base, looks=design.looks, state=verdict.state, look=verdict.look,
                n=verdict.n, delta=verdict.delta, ci_low=verdict.ci_low, ci_high=verdict.ci_high,
                p_adjusted=verdict.p_adjusted, missing=verdict.missing,
                base_missing=base_missing if is_open else (),
            ))  # fmt: skip
    return decisions


def _scores(cell: pd.DataFrame) -> Mapping[int, float]:
    done = cell[cell["state"] == "completed"]
    return {int(seed): 100 * float(f1) for seed, f1 in zip(done["seed"], done["f1"], strict=True)}


def _settled(cell: pd.DataFrame) -> frozenset[int]:
    over: Iterable[int] = cell.loc[cell["state"].isin(_SETTLED), "seed"]
    return frozenset(map(int, over))

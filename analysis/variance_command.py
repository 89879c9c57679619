"""`lai variance`: the variance study as tables on the terminal, or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tune.commands.options import DEFAULT_LEDGER, JsonOption, LedgerOption, StudyArgument
from tune.spec.study import Interval

if TYPE_CHECKING:
    from rich.table import Table

    from analysis.statistics.components import Component
    from analysis.statistics.summary import Summary
    from analysis.variance import CellSpread, Contrast, CorporaSpread, FamilySpread, VarianceStudy
    from tune.forecast.until_decided import Decision

_LOOKS = (
    "p adj. and verdict are those of the last look of [decide] at a level, which allow for all looks; all "
    "else takes all seeds that there are, as the p and the marks of the tables do"
)
IntervalOption = Annotated[
    Interval | None, typer.Option(help="Of means and differences; default: the study's, else t.")
]


def _points(value: float | None) -> float | None:
    if value is not None and not 0 < value <= 100:
        raise typer.BadParameter(f"must be points of F1, more than 0 and at most 100, but is {value:g}")
    return value


def variance(
    study: StudyArgument,
    ledger: LedgerOption = DEFAULT_LEDGER,
    interval: IntervalOption = None,
    min_effect: Annotated[
        float | None,
        typer.Option(
            callback=_points,
            help="Points of F1 that matter: for the seeds needed and, where the study does not decide, the "
            "verdicts; default: the study's, else 0.5.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say how F1 spreads over seeds, how sure the ranking is, and how many seeds would decide."""
    from analysis.variance import study_variance
    from tune.spec.study import load_study, with_interval

    result = study_variance(ledger, with_interval(load_study(study), interval), min_effect)
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=1, allow_nan=False))
    else:
        _print(result)


def _print(result: "VarianceStudy") -> None:
    from analysis.statistics.summary import BCA_NEEDS, BCA_WARNING
    from tune.commands.console import table_console

    console = table_console()
    console.print(_view_sentence(result), soft_wrap=True)
    if result.by_looks:
        console.print(_LOOKS, soft_wrap=True, markup=False)
    for family in result.families:
        if not any(cell.seeds.n for cell in family.cells):
            continue
        console.print(_family_table(family, result))
        console.print(_ranking_sentence(family), soft_wrap=True)
        if family.components:
            console.print(_components_sentence(family.components), soft_wrap=True)
    for corpora in result.corpora:
        console.print(
            f"{corpora.task}, {corpora.factor} over {', '.join(corpora.datasets)} ({corpora.shared} seeds): "
            f"{_components_sentence(corpora.components)}{_mixed(corpora)}",
            soft_wrap=True,
        )
    cells = [cell for family in result.families for cell in family.cells if cell.seeds.n]
    if not cells:
        console.print("no cell has a score yet")
        return
    if all(cell.documents is None for cell in cells):
        console.print(
            "no error over documents: these results have no counts per document, as imported ones",
            soft_wrap=True,
        )
    if any(cell.documents is not None and cell.documents.error is None for cell in cells):
        console.print("one document: no error over documents", soft_wrap=True)
    counts = [cell.seeds.n for cell in cells] + [cell.comparison.delta.n for cell in cells if cell.comparison]
    if result.interval == "bca" and min(counts) < BCA_NEEDS:
        console.print(BCA_WARNING, soft_wrap=True)


def _view_sentence(result: "VarianceStudy") -> str:
    """What all the numbers are: as in the captions of the tables."""
    from analysis.tables.caption import ENTITIES, by_value

    averaging = by_value({family.dataset: family.averaging for family in result.families})
    entities = {item.dataset: ENTITIES[item.entities] for item in result.families if item.task != "NER"}
    relations = f", relations {by_value(entities)}" if entities else ""
    return f"F1 on the {result.split} split, protocol {result.protocol}, averaging {averaging}{relations}"


def _mixed(corpora: "CorporaSpread") -> str:
    """What beside the corpus differs between corpora, so that it is in their component."""
    from analysis.tables.caption import ENTITIES, by_value

    entities, averagings = zip(*corpora.views, strict=True)
    differing = [
        by_value(dict(zip(corpora.datasets, values, strict=True)))
        for values in ([ENTITIES[name] for name in entities], averagings)
        if len(set(values)) > 1
    ]
    return f"; these corpora are not scored alike: {'; '.join(differing)}" if differing else ""


def _family_table(family: "FamilySpread", result: "VarianceStudy") -> "Table":
    """What belongs together stands in one cell, line by line, so that 80 columns are enough."""
    from rich.table import Column, Table

    from analysis.statistics.summary import INTERVALS

    names = (
        "mean ± std", "delta\nto the base", "p adj.\nverdict", f"seeds\nfor {result.min_effect:g}", "P(best)",
    )  # fmt: skip
    table = Table(
        Column("level", overflow="fold"),
        *(Column(name, no_wrap=True) for name in names),
        title=f"{family.dataset} {family.task}, {family.factor} (F1 in percent, 95 % "
        f"{INTERVALS[result.interval]} intervals)",
        show_lines=True,
    )
    decisions = {
        item.level: item
        for item in result.decisions
        if (item.dataset, item.task, item.factor) == (family.dataset, family.task, family.factor)
    }
    ranking = family.ranking
    best = {} if ranking is None else dict(zip(family.ranked, ranking.best, strict=True))
    for cell in family.cells:
        versus = cell.comparison
        table.add_row(
            _lines(f"{cell.level} (base)" if cell.is_base else cell.level, f"n = {cell.seeds.n}"),
            _score(cell),
            "" if versus is None else _difference(versus),
            _verdict(decisions.get(cell.level), by_looks=result.by_looks),
            "" if versus is None or versus.seeds_needed is None else str(versus.seeds_needed),
            "" if cell.level not in best else f"{best[cell.level]:.2f}",
        )
    return table


def _score(cell: "CellSpread") -> str:
    """Mean, std and interval; how wide it is at half the seeds; the documents' error."""
    seeds, half = cell.seeds, _half_width(cell)
    docs = "" if cell.documents is None else _number(cell.documents.error)
    return _lines(
        " ± ".join(filter(None, (_number(seeds.mean), _number(seeds.std)))),
        _interval(seeds),
        half and f"at n/2: ± {half}",
        docs and f"docs: ± {docs}",
    )


def _difference(versus: "Contrast") -> str:
    effect = _number(versus.effect, "+")
    return _lines(_number(versus.delta.mean, "+"), _interval(versus.delta, "+"), effect and f"g = {effect}")


def _verdict(decision: "Decision | None", *, by_looks: bool) -> str:
    if decision is None:
        return ""
    p = "" if decision.p_adjusted is None else f"{decision.p_adjusted:.3g}"
    at = f"at n = {decision.n}" if by_looks and decision.look else ""
    return _lines(p, at, decision.state)


def _lines(*parts: str) -> str:
    return "\n".join(filter(None, parts))


def _ranking_sentence(family: "FamilySpread") -> str:
    ranking = family.ranking
    if ranking is None and min(family.shared, len(family.ranked)) > 1:
        return "no ranking: two levels differ by the same at every seed, which says nothing of their spread"
    if ranking is None:
        return "no ranking: it takes two seeds of the base, and a level that has them all"
    top = max(range(len(family.ranked)), key=lambda index: ranking.best[index])
    unranked = [cell.level for cell in family.cells if cell.level not in family.ranked]
    without = f"; without {', '.join(unranked)}, for want of seeds" if unranked else ""
    first = next((group for group in ranking.ties if top in group), (top,))
    names = " and ".join(f"“{family.ranked[index]}”" for index in first)
    if len(first) == len(family.ranked):
        return f"on {family.shared} shared seeds: {names} tie{without}"
    best = f"{'tie and are' if len(first) > 1 else 'is'} best with probability "
    best += f"{sum(ranking.best[index] for index in first):.2f}"
    order = "levels tie, so there is no whole order of the means"
    if ranking.order is not None:
        order = f"the whole order of the means is right with {ranking.order:.2f}"
    return f"on {family.shared} shared seeds: {names} {best}; {order}{without}"


def _components_sentence(found: Sequence["Component"]) -> str:
    """Standard deviations, as they are in the unit of the scores; a negative variance is about 0."""
    parts = (f"{item.source} {max(0.0, item.variance) ** 0.5:.2f}" for item in found)
    return f"standard deviation by source, in points: {', '.join(parts)}"


def _half_width(cell: "CellSpread") -> str:
    """Of the t interval at half the seeds, on average, beside which the one at all seeds shows the gain."""
    half = len(cell.convergence) // 2
    return _number(cell.convergence[half - 1].typical_half_width) if half > 1 else ""


def _interval(summary: "Summary", sign: str = "") -> str:
    if summary.ci_low is None:
        return ""
    return f"[{_number(summary.ci_low, sign)}, {_number(summary.ci_high, sign)}]"


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.2f}"

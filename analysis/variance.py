"""The variance study: what seeds, levels, corpora and test documents each contribute to F1.

All scores are F1 in percent as the tables show them; a study with `[decide]` includes the seeds added by it.
Random numbers come from one fixed generator a cell or family, so the same ledger gives the same numbers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.decisions import decide_results
from analysis.documents import read_documents
from analysis.frame import CellResults, match
from analysis.place import Place
from analysis.statistics.bootstrap import Counts, DocumentInterval, document_interval
from analysis.statistics.comparison import Comparison, SeedScores, compare
from analysis.statistics.components import Component, components
from analysis.statistics.convergence import Step, converge
from analysis.statistics.power import required_seeds
from analysis.statistics.ranking import Ranking, is_rankable, rank
from analysis.statistics.sequential import judge
from analysis.statistics.summary import BCA_NEEDS, Summary, summarise
from lai_net.errors import InputError
from tune.forecast.significance import SIGNIFICANCE
from tune.forecast.until_decided import Decision
from tune.ledger.ledger import Ledger
from tune.results.table import long_table
from tune.spec.study import Decide, Interval, Study, with_all_seeds


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast(Comparison):
    """A level against its base, and what it would take to tell them apart.

    Attributes:
        seeds_needed: to mark a true difference of `min_effect` with probability 0.8, at this spread and with
            this family's correction; None where 10,000 are not enough or no spread is known.
    """

    seeds_needed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSpread:
    """One cell and task.

    Attributes:
        seeds: mean, std and 95 % interval over seeds.
        documents: the same mean under resampled documents of the split; None where counts per document were
            not recorded.
        convergence: one step a seed.
        comparison: None for the base.
    """

    level: str
    is_base: bool
    seeds: Summary
    documents: DocumentInterval | None
    convergence: tuple[Step, ...]
    comparison: Contrast | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilySpread:
    """A factor's levels in one dataset and task.

    Attributes:
        entities: on which they are scored: predicted in NER.
        averaging: micro or macro.
        ranked: levels that have all seeds of the base.
        shared: seeds that all of these have, on which ranking and components rest.
        ranking: in the order of `ranked`; None for fewer than two shared seeds or levels, and where two of
            these differ by the same at every seed.
        components: of seed, level and seed:level (with whatever is left); empty for fewer than two of either.
    """

    dataset: str
    task: str
    factor: str
    entities: str
    averaging: str
    cells: tuple[CellSpread, ...]
    ranked: tuple[str, ...]
    shared: int
    ranking: Ranking | None
    components: tuple[Component, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorporaSpread:
    """A factor's levels over all datasets that have them: components of corpus, level and seed.

    `views` says of each dataset on which entities it is scored, and its averaging: where these differ, so do
    the corpora.
    """

    task: str
    factor: str
    datasets: tuple[str, ...]
    views: tuple[tuple[str, str], ...]
    levels: tuple[str, ...]
    shared: int
    components: tuple[Component, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceStudy:
    """All of a study.

    Attributes:
        interval: the kind of all intervals over seeds: the study's `[report]` says it.
        min_effect: points of F1 that the seeds needed are for, and verdicts without a `[decide]`.
        by_looks: whether the study has a `[decide]`.
        decisions: of the study's `[decide]`, whose p allows for its looks; without one each family is judged
            on the pairs of seeds that it has, as the tables' marks are, and what these do not tell is open.
            No BCa interval of fewer than `BCA_NEEDS` seeds shows a level to be equivalent.
    """

    study: str
    split: str
    protocol: str
    interval: Interval
    min_effect: float
    families: tuple[FamilySpread, ...]
    corpora: tuple[CorporaSpread, ...]
    by_looks: bool
    decisions: tuple[Decision, ...]


def study_variance(ledger: Path, study: Study, min_effect: float | None = None) -> VarianceStudy:
    """Compute the variance study of a study with tables.

    Args:
        ledger: the ledger file.
        study: with its `[decide]`, if any, whose verdicts keep its own `min_effect`.
        min_effect: the smallest difference that matters, in points of F1; None takes the study's.

    Raises:
        InputError: there is no such ledger, two results claim one place, or the study is a search.
    """
    if study.search is not None:
        raise InputError(f"{study.file}: a search has no cells to compare; name a study with tables")
    whole = with_all_seeds(study)
    with Ledger.open(ledger, read_only=True) as opened:
        results = tuple(match(whole, long_table(opened, whole)))
        groups: dict[tuple[str, str, str], list[CellResults]] = {}
        for cell in results:
            if cell.place.cell.config is not None:
                place = cell.place
                groups.setdefault((place.cell.dataset, place.task, place.cell.factor), []).append(cell)
        documents = {key: [read_documents(opened, cell) for cell in cells] for key, cells in groups.items()}
    if min_effect is None:
        min_effect = (study.decide or Decide(max_seeds=2)).min_effect
    return VarianceStudy(
        study=study.name,
        split=study.report.split,
        protocol=study.report.protocol,
        interval=study.report.interval,
        min_effect=min_effect,
        families=tuple(
            _family(key, cells, documents[key], study.report.interval, min_effect)
            for key, cells in groups.items()
        ),
        corpora=tuple(_corpora(groups)),
        by_looks=study.decide is not None,
        decisions=tuple(_judged_once(groups.values(), study.report.interval, min_effect))
        if study.decide is None
        else tuple(decide_results(results, study)),
    )


def _judged_once(
    families: Iterable[Sequence[CellResults]], interval: Interval, min_effect: float
) -> Iterator[Decision]:
    """One look at the pairs that each family has; none is the last, as nobody has said how many are to be."""
    for cells in families:
        is_base = [cell.place.cell.is_base for cell in cells]
        compared = compare([cell.f1 for cell in cells], is_base, interval)
        base = next((cell.place.cell.level for cell in cells if cell.place.cell.is_base), None)
        for item, versus in zip(cells, compared, strict=True):
            if versus is None or base is None:
                continue
            delta, cell = versus.delta, item.place.cell
            low, high = delta.ci_low, delta.ci_high
            is_too_narrow = interval == "bca" and delta.n < BCA_NEEDS
            within = (None, None) if is_too_narrow else (low, high)
            yield Decision(
                dataset=cell.dataset, phase=cell.phase, task=item.place.task, factor=cell.factor,
                level=cell.level, base_level=base, looks=(delta.n,),
                state=judge(versus.p_adjusted, *within, min_effect=min_effect, alpha=SIGNIFICANCE),
                look=int(delta.n > 0), n=delta.n, delta=delta.mean, ci_low=low, ci_high=high,
                p_adjusted=versus.p_adjusted, missing=(), base_missing=(),
            )  # fmt: skip


def _family(
    key: tuple[str, str, str],
    cells: Sequence[CellResults],
    documents: Sequence[tuple[Counts, ...]],
    interval: Interval,
    min_effect: float,
) -> FamilySpread:
    """The spread over seeds of one factor's levels.

    Args:
        key: dataset, task, factor.
        cells: its levels, the base among them.
        documents: each cell's counts, one array a fold; empty where they were not recorded.
        interval: of the means.
        min_effect: the smallest difference that matters, in points of F1.
    """
    compared = compare([cell.f1 for cell in cells], [cell.place.cell.is_base for cell in cells], interval)
    spreads = tuple(
        CellSpread(
            level=cell.place.cell.level,
            is_base=cell.place.cell.is_base,
            seeds=summarise(scores := list(cell.f1.values()), interval=interval),
            documents=_documents(folds, cell),
            convergence=converge(scores, np.random.default_rng(0), interval=interval),
            comparison=None if versus is None else _needing(versus, min_effect, len(cells) - 1),
        )
        for cell, folds, versus in zip(cells, documents, compared, strict=True)
    )
    ranked = _ranked(cells)
    matrix = _shared(list(ranked.values()))
    is_enough = min(matrix.shape) > 1
    dataset, task, factor = key
    return FamilySpread(
        dataset=dataset, task=task, factor=factor, entities=cells[0].place.entities,
        averaging=cells[0].place.dataset.averaging, cells=spreads, ranked=tuple(ranked),
        shared=matrix.shape[0],
        ranking=rank(matrix, np.random.default_rng(0)) if is_enough and is_rankable(matrix) else None,
        components=components(matrix, ("seed", "level")) if is_enough else (),
    )  # fmt: skip


def _needing(found: Comparison, min_effect: float, comparisons: int) -> Contrast:
    needed = None
    if found.delta.std is not None and found.delta.has_spread:
        needed = required_seeds(min_effect, found.delta.std, comparisons=comparisons)
    return Contrast(
        delta=found.delta, p=found.p, p_adjusted=found.p_adjusted, effect=found.effect, seeds_needed=needed
    )


def _documents(folds: tuple[Counts, ...], cell: CellResults) -> DocumentInterval | None:
    if not folds:
        return None
    found = document_interval(folds, cell.place.dataset.averaging, np.random.default_rng(0))
    ends = (None if value is None else 100 * value for value in (found.error, found.low, found.high))
    return DocumentInterval(found.documents, 100 * found.score, *ends)


def _corpora(groups: Mapping[tuple[str, str, str], Sequence[CellResults]]) -> Iterator[CorporaSpread]:
    """One item for each task and factor that datasets share, over the levels and seeds that all have.

    What has no score yet, a cell or a whole dataset, is left out.
    """
    for task, factor in dict.fromkeys((task, factor) for _, task, factor in groups):
        found = {
            dataset: own
            for (dataset, *rest), cells in groups.items()
            if rest == [task, factor] and (own := _ranked(cells))
        }
        if len(found) < 2:
            continue
        first, *others = found.values()
        levels = [level for level in first if all(level in own for own in others)]
        if len(levels) < 2:
            continue
        cells = _shared([own[level] for own in found.values() for level in levels])
        if len(cells) < 2:
            continue
        cube = cells.reshape(len(cells), len(found), len(levels))
        yield CorporaSpread(
            task=task, factor=factor, datasets=tuple(found),
            views=tuple(_view(groups[name, task, factor][0].place) for name in found),
            levels=tuple(levels), shared=len(cells),
            components=components(cube, ("seed", "corpus", "level")),
        )  # fmt: skip


def _view(place: Place) -> tuple[str, str]:
    return place.entities, place.dataset.averaging


def _ranked(cells: Sequence[CellResults]) -> dict[str, SeedScores]:
    """The levels that have all seeds of the base: one that lacks some would leave all others so few."""
    base = {seed for cell in cells if cell.place.cell.is_base for seed in cell.scores}
    return {cell.place.cell.level: cell.f1 for cell in cells if base and cell.scores.keys() >= base}


def _shared(scores: Sequence[SeedScores]) -> npt.NDArray[np.float64]:
    """[seeds, cells] of the seeds that all cells have."""
    seeds = sorted(set.intersection(*(set(own) for own in scores))) if scores else []
    return np.array([[own[seed] for own in scores] for seed in seeds]).reshape(len(seeds), len(scores))

"""A study joined with what it names: corpora, encoders, and the ids that follow from their content."""

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from lai_net.corpora.loading import EMBEDDED, check_splits, num_folds
from lai_net.encoder_files import encoder_id
from lai_net.errors import InputError
from lai_net.schema import Corpus
from tune.encoder_fit import check_fit
from tune.ledger.ledger import Ledger
from tune.ledger.rows import TrialKey, TrialRow
from tune.planning.plan import Contents, IdentifiedPlan, Plan, PlannedTrial, make_plan
from tune.search.plan import SearchPlan, plan_search
from tune.spec.study import DatasetSpec, Study, load_study
from tune.task_spec import CorpusSource

_SHORT = 10
"""Digits of a content id in a message."""


@dataclass(frozen=True)
class Prepared:
    """A study with its corpora and encoders at hand.

    Attributes:
        corpora: by dataset and fold, as workers load them; with a search its own alone.
        planned: everything that the study's tables need, done or not.
        plan: that, with ids.
        contents: of corpora and encoders.
        search: None where the study has tables.
        keys: of the trials to run; None runs them all.
    """

    study: Study
    corpora: dict[tuple[str, int | None], CorpusSource]
    planned: Plan
    plan: IdentifiedPlan
    contents: Contents
    search: SearchPlan | None = None
    keys: Set[TrialKey] | None = None


def prepare(study: str | Study, corpus_options: Sequence[str]) -> Prepared:
    """Load a study, unless it is loaded, and what it names.

    Raises:
        InputError: a file is wrong, or a corpus has no place.
    """
    study = study if isinstance(study, Study) else load_study(study)
    plan = make_plan(study)
    search = None if study.search is None else plan_search(study)
    corpora = dict(_load_corpora(study, search, _named_folders(study, corpus_options)))
    asked = search or plan
    check_fit(asked)
    contents = Contents(
        {key: loaded for key, (loaded, _) in corpora.items()},
        {name: encoder_id(name) for name in asked.encoder_names},
    )
    sources = {key: source for key, (_, source) in corpora.items()}
    return Prepared(study, sources, plan, plan.identify(contents), contents, search)


def changed_contents(study: Study, trials: Iterable[PlannedTrial], ledger: Ledger) -> list[str]:
    """A line for each dataset whose content has changed since the ledger's trials that the study plans.

    `trials` are those of its plan, or those that its search asked for; they are joined with the ledger's by
    names alone, so the study would show those as its own until `lai run` refuses. A corpus that is not at
    hand is left out; of folds the first that has trials stands for all, to save time.
    """
    stored = {row.key: row for row in ledger.trials()}
    known = [(trial, stored[trial.key]) for trial in trials if trial.key in stored]
    lines = []
    for dataset in study.datasets:
        pairs = [(trial, row) for trial, row in known if trial.dataset == dataset.name]
        if not pairs or dataset.corpus is None:
            continue
        if dataset.corpus != EMBEDDED and not Path(dataset.corpus).exists():
            continue
        fold = pairs[0][0].fold
        try:
            corpus = _source_of(dataset, dataset.corpus, fold).load()
            check_splits(corpus, dataset.corpus)
            encoders = {trial.config.encoder.name: row.encoder_id for trial, row in pairs}
            contents = Contents({(dataset.name, fold): corpus}, encoders)
        except InputError as error:
            lines.append(f"dataset {dataset.name}: {error}")
            continue
        of_fold = {trial.spec_id: (trial, row) for trial, row in pairs if trial.fold == fold}
        lines += _change(dataset, of_fold.values(), contents)
    return lines


def _change(
    dataset: DatasetSpec, pairs: Iterable[tuple[PlannedTrial, TrialRow]], contents: Contents
) -> Iterator[str]:
    """The first difference between what the trials were trained on and what is at hand."""
    for trial, was in pairs:
        now = contents.identify(trial).row
        if now.config_id != was.config_id:
            what = f"corpus {dataset.corpus}"
            ids = f" (content {now.corpus_id[:_SHORT]}, was {was.corpus_id[:_SHORT]})"
            if now.corpus_id == was.corpus_id:
                what, ids = f"annotations {dataset.annotations or 'that its labels find'}", ""
            yield (
                f"dataset {dataset.name}: {what} changed since the ledger's trials{ids}, and their results "
                "are of what it was; use one name for one content, or a ledger in another folder"
            )
            return


def _named_folders(study: Study, options: Sequence[str]) -> dict[str, str]:
    known = [dataset.name for dataset in study.datasets]
    folders: dict[str, str] = {}
    for option in options:
        name, separator, folder = option.partition("=")
        if not separator or not folder:
            raise InputError(f"--corpus takes NAME=DIR, but got {option!r}")
        if name not in known:
            raise InputError(
                f"--corpus {option}: study {study.name} has no dataset {name!r}; it has {', '.join(known)}"
            )
        folders[name] = folder
    return folders


def _load_corpora(
    study: Study, search: SearchPlan | None, folders: dict[str, str]
) -> Iterator[tuple[tuple[str, int | None], tuple[Corpus, CorpusSource]]]:
    """What is trained on: of a search one fold of one dataset, whatever else the study names."""
    for dataset in study.datasets if search is None else (search.dataset,):
        source = folders.get(dataset.name, dataset.corpus)
        if source is None:
            raise InputError(
                f"study {study.name}: dataset {dataset.name} names no corpus; add --corpus {dataset.name}=DIR"
            )
        if source != EMBEDDED:
            source = str(Path(source).resolve())
        if (folds := num_folds(source)) != dataset.folds:
            raise InputError(
                f"{study.file}: dataset {dataset.name!r} has folds = {dataset.folds}, but the corpus "
                f"{source} has {folds}; set folds = {folds}"
            )
        for fold in dataset.fold_numbers if search is None else (search.fold,):
            planned = _source_of(dataset, source, fold)
            corpus = planned.load()
            check_splits(corpus, source)
            yield (dataset.name, fold), (corpus, replace(planned, content_id=corpus.content_id))


def _source_of(dataset: DatasetSpec, source: str, fold: int | None) -> CorpusSource:
    """A corpus to load, before its content is known."""
    return CorpusSource(
        source=source,
        name=dataset.name,
        annotations=dataset.annotations,
        fold=fold,
        overlapping_relations=dataset.overlapping_relations,
        content_id="",
    )

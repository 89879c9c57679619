"""A study joined with what it names: corpora, encoders, and the ids that follow from their content."""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from lai_net.active_settings import active_settings
from lai_net.corpora.loading import num_folds
from lai_net.encoder_files import encoder_folder, encoder_id, has_weights
from lai_net.errors import InputError
from lai_net.schema import Corpus
from tune.ledger.rows import TrialKey
from tune.planning.plan import Contents, IdentifiedPlan, Plan, make_plan
from tune.search.plan import SearchPlan, plan_search
from tune.spec.study import Study, load_study
from tune.task_spec import CorpusSource


@dataclass(frozen=True)
class Prepared:
    """A study with its corpora and encoders at hand.

    Attributes:
        corpora: by dataset and fold, as workers load them.
        plan: everything that the study's tables need, done or not.
        contents: of corpora and encoders.
        search: None where the study has tables.
        keys: of the trials to run; None runs them all.
    """

    study: Study
    corpora: dict[tuple[str, int | None], CorpusSource]
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
    corpora = dict(_load_corpora(study, _named_folders(study, corpus_options)))
    names = plan.encoder_names if search is None else search.encoder_names
    widths = {name: _encoder_width(name) for name in names}
    _check_heads(plan, widths)
    if search is not None:
        _check_searched_heads(search, widths)
    contents = Contents(
        {key: loaded for key, (loaded, _) in corpora.items()}, {name: encoder_id(name) for name in names}
    )
    sources = {key: source for key, (_, source) in corpora.items()}
    return Prepared(study, sources, plan.identify(contents), contents, search)


def _check_heads(plan: Plan, widths: Mapping[str, int]) -> None:
    for trial in plan.trials:
        heads = active_settings(trial.config)["graph"].get("heads", 1)
        encoder = trial.config.encoder.name
        if widths[encoder] % heads:
            raise InputError(
                f"{plan.study.file}: dataset {trial.dataset!r}, {trial.phase.lower()}: graph.heads must "
                f"divide the width {widths[encoder]} of encoder {encoder}, but got {heads}"
            )


def _check_searched_heads(search: SearchPlan, widths: Mapping[str, int]) -> None:
    searched = [item.values or () for item in search.space.dimensions if item.name == "graph.heads"]
    for heads in (int(value) for values in searched for value in values):
        for encoder in search.space.encoder_names:
            if (width := widths[encoder]) % heads:
                raise InputError(
                    f"{search.study.file}: search.space.graph.heads: must divide the width {width} of "
                    f"encoder {encoder}, but may be {heads}; name those that do as a choice"
                )


def _encoder_width(name: str) -> int:
    """Its hidden size.

    Raises:
        InputError: its folder has no such number, or no weights.
    """
    folder = encoder_folder(name)
    try:
        width = int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"encoder {name!r}: {folder}/config.json has no hidden_size ({error!r})") from error
    if not has_weights(folder):
        raise InputError(f"encoder {name!r}: {folder} has neither model.safetensors nor pytorch_model.bin")
    return width


def _named_folders(study: Study, options: Sequence[str]) -> dict[str, str]:
    known = [dataset.name for dataset in study.datasets]
    folders: dict[str, str] = {}
    for option in options:
        name, separator, folder = option.partition("=")
        if not separator or not folder:
            raise InputError(f"--corpus takes NAME=DIR, but got {option!r}")
        if name not in known:
            raise InputError(f"--corpus {option}: study {study.name} has no dataset {name!r}; it has {known}")
        folders[name] = folder
    return folders


def _load_corpora(
    study: Study, folders: dict[str, str]
) -> Iterator[tuple[tuple[str, int | None], tuple[Corpus, CorpusSource]]]:
    for dataset in study.datasets:
        source = folders.get(dataset.name, dataset.corpus)
        if source is None:
            raise InputError(
                f"study {study.name}: dataset {dataset.name} names no corpus; add --corpus {dataset.name}=DIR"
            )
        if source != "embedded":
            source = str(Path(source).resolve())
        if (folds := num_folds(source)) != dataset.folds:
            raise InputError(
                f"{study.file}: dataset {dataset.name!r} has folds = {dataset.folds}, but the corpus "
                f"{source} has {folds}; set folds = {folds}"
            )
        for fold in dataset.fold_numbers:
            planned = CorpusSource(
                source=source,
                name=dataset.name,
                annotations=dataset.annotations,
                fold=fold,
                overlapping_relations=dataset.overlapping_relations,
                content_id="",
            )
            corpus = planned.load()
            yield (dataset.name, fold), (corpus, replace(planned, content_id=corpus.content_id))

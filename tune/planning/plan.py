"""From cells to what is to be done: unique trials and evaluations, their order, and their counts.

A plan needs neither corpus nor encoder at hand; `Plan.identify` joins it with their content, which gives
the ids. `run` executes plan minus ledger.

Order: seed by seed, so that an unfinished study has whole seeds first; within a seed by dataset, NER before
RE with the base first (end-to-end evaluations wait for it), and the folds of one config side by side, so
that trials of equal shape follow each other.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from lai_net.active_settings import active_settings
from lai_net.config import EntitySource, Phase, TrialConfig
from lai_net.errors import InputError
from lai_net.schema import Corpus
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow, TrialKey, TrialRow
from tune.planning.imported import imported_ids
from tune.spec.cells import Cell, expand
from tune.spec.identity import config_id, evaluation_id, spec_id, trial_id
from tune.spec.study import Study

SPLITS = ("dev", "test")
CellNames = Mapping[tuple[str, str], str]
"""The cells that a config fills in words, by dataset and spec_id."""


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """One training that the study asks for; `fold` is None without folds."""

    dataset: str
    fold: int | None
    seed: int
    spec_id: str
    config: TrialConfig

    @property
    def phase(self) -> Phase:
        """That of its config."""
        return self.config.phase

    @property
    def key(self) -> TrialKey:
        """Names the trial within a study."""
        return (self.dataset, self.fold, self.seed, self.spec_id)


@dataclass(frozen=True)
class PlannedEvaluation:
    """An evaluation on `split`; `upstream` is the NER trial that predicts the entities of an RE trial."""

    trial: TrialKey
    upstream: TrialKey | None
    split: str
    entities: EntitySource


@dataclass(frozen=True)
class IdentifiedTrial:
    """A trial with its ids, the config to train, and the cells that it fills, in words."""

    row: TrialRow
    config: TrialConfig
    cells: str = ""

    def __str__(self) -> str:
        return trial_name(self.row, self.cells)


def trial_name(trial: PlannedTrial | TrialRow, cells: str = "") -> str:
    """A trial and the cells that it fills in words."""
    fold = "" if trial.fold is None else f" fold {trial.fold}"
    return f"{trial.dataset}{fold} {trial.phase} seed {trial.seed}{f', {cells}' if cells else ''}"


@dataclass(frozen=True)
class IdentifiedEvaluation:
    """An evaluation with its ids."""

    evaluation_id: str
    trial_id: str
    upstream_trial_id: str | None
    split: str
    entities: EntitySource


@dataclass(frozen=True)
class IdentifiedPlan:
    """Unique trials and evaluations, in the order in which they should run, and the study that asks for them.

    Without a study every imported result counts.
    """

    trials: tuple[IdentifiedTrial, ...]
    evaluations: tuple[IdentifiedEvaluation, ...]
    study: Study | None = None

    def remaining(self, ledger: Ledger) -> "IdentifiedPlan":
        """What the ledger lacks: trials that are not completed, evaluations that are not recorded.

        What is imported (see `tune.planning.imported`) is not lacking, but a trial whose model one of the
        evaluations needs.
        """
        newest, imported = ledger.newest_attempts(), imported_ids(ledger, self.study)
        completed = {name for name, attempt in newest.items() if attempt.status == "completed"}
        recorded = {row.evaluation_id for row in ledger.evaluations() if row.error is None}
        made = recorded | imported.evaluations
        evaluations = tuple(item for item in self.evaluations if item.evaluation_id not in made)
        needed = {name for item in evaluations for name in (item.trial_id, item.upstream_trial_id)}
        done = completed | (imported.trials - needed)
        trials = tuple(trial for trial in self.trials if trial.row.trial_id not in done)
        return replace(self, trials=trials, evaluations=evaluations)

    def only(self, keys: Set[TrialKey]) -> "IdentifiedPlan":
        """The trials with these keys, and the evaluations that need no other."""
        trials = tuple(trial for trial in self.trials if trial.row.key in keys)
        ids = {trial.row.trial_id for trial in trials} | {None}
        evaluations = (item for item in self.evaluations if {item.trial_id, item.upstream_trial_id} <= ids)
        return replace(self, trials=trials, evaluations=tuple(evaluations))


def is_current(row: EvaluationRow) -> bool:
    """Whether today's code would make an evaluation likewise."""
    return row.evaluation_id == evaluation_id(row.trial_id, row.upstream_trial_id, row.split, row.entities)


@dataclass(frozen=True)
class Contents:
    """What is trained on, which turns what is planned into ids.

    Attributes:
        corpora: by dataset name and fold.
        encoder_ids: content id by encoder name.

    Raises:
        InputError: a corpus lacks a split.
    """

    corpora: Mapping[tuple[str, int | None], Corpus]
    encoder_ids: Mapping[str, str]
    _corpus_ids: dict[tuple[str, int | None], str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for (dataset, fold), corpus in self.corpora.items():
            missing = {"train", *SPLITS} - corpus.splits.keys()
            if missing:
                raise InputError(f"dataset {dataset!r}: its corpus has no {', '.join(sorted(missing))} split")
            self._corpus_ids[dataset, fold] = corpus.content_id

    def identify(self, trial: PlannedTrial) -> IdentifiedTrial:
        """A planned trial with its ids."""
        place = (trial.dataset, trial.fold)
        corpus = self._corpus_ids[place]
        encoder = self.encoder_ids[trial.config.encoder.name]
        config = config_id(trial.config, corpus, encoder, self.corpora[place].labels)
        row = TrialRow(
            trial_id=trial_id(config, trial.seed),
            config_id=config,
            spec_id=trial.spec_id,
            dataset=trial.dataset,
            phase=trial.phase,
            fold=trial.fold,
            seed=trial.seed,
            config=active_settings(trial.config),
            corpus_id=corpus,
            encoder_id=encoder,
        )
        return IdentifiedTrial(row, trial.config)


@dataclass(frozen=True)
class Plan:
    """A study's cells, and the unique trials and evaluations that fill them."""

    study: Study
    cells: tuple[Cell, ...]
    trials: tuple[PlannedTrial, ...]
    evaluations: tuple[PlannedEvaluation, ...]

    @property
    def encoder_names(self) -> tuple[str, ...]:
        """The encoders whose content `identify` needs."""
        return tuple(dict.fromkeys(trial.config.encoder.name for trial in self.trials))

    def only(self, keys: Set[TrialKey]) -> "Plan":
        """The trials with these keys, and the evaluations that need no other."""
        trials = tuple(trial for trial in self.trials if trial.key in keys)
        known = keys | {None}
        evaluations = (item for item in self.evaluations if {item.trial, item.upstream} <= known)
        return replace(self, trials=trials, evaluations=tuple(evaluations))

    def identify(self, contents: Contents) -> IdentifiedPlan:
        """The plan with ids."""
        cells = cell_names(self.cells)
        trials = {
            trial.key: replace(contents.identify(trial), cells=cells.get((trial.dataset, trial.spec_id), ""))
            for trial in self.trials
        }
        evaluations = tuple(_identify(item, trials) for item in self.evaluations)
        return IdentifiedPlan(tuple(trials.values()), evaluations, self.study)


def cell_names(cells: Sequence[Cell]) -> CellNames:
    """By dataset and spec_id: `base`, or the factors and levels."""
    names: dict[tuple[str, str], dict[str, None]] = {}
    for cell in cells:
        if cell.config is not None:
            own = names.setdefault((cell.dataset, spec_id(cell.config)), {})
            own["base" if cell.is_base else f"{cell.factor} {cell.level}"] = None
    return {place: ", ".join(own) for place, own in names.items()}


def _identify(
    evaluation: PlannedEvaluation, trials: Mapping[TrialKey, IdentifiedTrial]
) -> IdentifiedEvaluation:
    trial = trials[evaluation.trial].row.trial_id
    upstream = None if evaluation.upstream is None else trials[evaluation.upstream].row.trial_id
    name = evaluation_id(trial, upstream, evaluation.split, evaluation.entities)
    return IdentifiedEvaluation(name, trial, upstream, evaluation.split, evaluation.entities)


def make_plan(study: Study) -> Plan:
    """Expand a study and fold equal trials into one.

    Raises:
        InputError: a preset, a setting or a factor's levels are wrong.
    """
    cells = tuple(expand(study))
    per_dataset = []
    for dataset in study.datasets:
        own = [cell for cell in cells if cell.dataset == dataset.name and cell.config is not None]
        per_dataset.append((dataset, _configs(own), _joins(own, study.report.entities)))
    trials = []
    evaluations = []
    for seed in study.seeds:
        for dataset, configs, joins in per_dataset:
            for spec, config in configs.items():
                trials += [
                    PlannedTrial(dataset=dataset.name, fold=fold, seed=seed, spec_id=spec, config=config)
                    for fold in dataset.fold_numbers
                ]
            for fold in dataset.fold_numbers:
                place = (dataset.name, fold, seed)
                for spec, upstream, entities in joins:
                    joined = None if upstream is None else (*place, upstream)
                    evaluations += [
                        PlannedEvaluation((*place, spec), joined, split, entities) for split in SPLITS
                    ]
    return Plan(study, cells, tuple(trials), tuple(evaluations))


def _configs(cells: Sequence[Cell]) -> dict[str, TrialConfig]:
    """Unique configs by spec_id: NER before RE, the base before its variants."""
    pairs = [(cell.is_base, config) for cell in cells for config in (cell.upstream, cell.config)]
    bases = {config for is_base, config in pairs if is_base}
    configs = [config for _, config in pairs if config is not None]
    configs.sort(key=lambda config: (config.phase, config not in bases))
    unique: dict[str, TrialConfig] = {}
    for config in configs:
        unique.setdefault(spec_id(config), config)
    return unique


def _joins(cells: Sequence[Cell], shown: EntitySource) -> list[tuple[str, str | None, EntitySource]]:
    """Unique (spec_id, upstream spec_id, entities) of the evaluations that fill the cells.

    End to end always; where the report shows what else a trial alone does not give, that, too.
    """
    joins: dict[tuple[str, str | None, EntitySource], None] = {}
    for cell in cells:
        if cell.config is None:
            continue
        spec = spec_id(cell.config)
        joins |= dict.fromkeys((spec, None, entities) for entities in cell.config.evaluated_on)
        if cell.upstream is not None:
            joined = {"predicted", shown} - set(cell.config.evaluated_on)
            joins |= dict.fromkeys((spec, spec_id(cell.upstream), entities) for entities in sorted(joined))
    return list(joins)

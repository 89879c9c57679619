"""`lai verify`: train trials of the ledger again and compare, bit for bit, what was recorded."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from lai_net.errors import InputError
from tune.commands.options import DEFAULT_LEDGER, FAILED, CorpusOption, LedgerOption, StudyArgument
from tune.engine import Message, SerialEngine, Task
from tune.execution import Execution
from tune.failures import headline
from tune.ledger.ledger import Ledger
from tune.planning.jobs import Training
from tune.planning.plan import IdentifiedTrial, is_current
from tune.preparation import Prepared, prepare
from tune.schedule import Schedule
from tune.search.report import identify_asked
from tune.spec.study import load_study, with_all_seeds

_VOLATILE = {"cpu_s", "wall_s", "checkpoint"}
"""What may differ from run to run; a checkpoint's file holds the times, too."""


def verify(
    study: StudyArgument,
    trials: Annotated[int, typer.Option(min=1, help="How many, chosen by their ids.")] = 1,
    ledger: LedgerOption = DEFAULT_LEDGER,
    corpus: CorpusOption = None,
) -> None:
    """Train completed trials again, into a temporary folder, and compare: equal on a CPU."""
    code = 0
    with tempfile.TemporaryDirectory() as folder:
        chosen = _chosen(
            prepare(with_all_seeds(load_study(study)), corpus or []), ledger, trials, Path(folder)
        )
        if not chosen:
            raise InputError(
                f"{ledger}: holds no completed trial of study {study}; `lai run` it first (an imported one "
                "has no record of its training to compare with)"
            )
        for trial in chosen:
            differences = _repeat(trial)
            typer.echo(f"{trial.training}: {'; '.join(differences) or 'identical'}")
            code = FAILED if differences else code
    raise typer.Exit(code)


@dataclass(frozen=True)
class _Recorded:
    """A completed trial: the task that trains it again, and what is to come of it."""

    training: Training
    task: Task
    results: dict[str, Any]


def _chosen(prepared: Prepared, path: Path, count: int, folder: Path) -> list[_Recorded]:
    """All that is needed of the ledger, which a training would hold open for too long."""
    resources, models = prepared.study.resources, path.resolve().parent
    share, counted = resources.fixed_share, resources.gpus or 0
    with Ledger.open(path, read_only=True) as ledger:
        execution = Execution(ledger, folder, prepared.corpora, share, counted, models)
        trainings = [Training(trial) for trial in _completed(_trials(prepared, ledger), ledger)[:count]]
        return [
            _Recorded(training, execution.make_task(training), recorded(ledger, training.key))
            for training in trainings
        ]


def _repeat(trial: _Recorded) -> list[str]:
    """Train it again; why that failed, or where it differs."""
    from tune.trainable import execute

    repeated = _Repeated()
    schedule = Schedule([trial.training], lambda _: trial.task, max_attempts=1)
    try:
        SerialEngine(execute).run(schedule, repeated)
    except RuntimeError as error:  # of CUDA: a worker would end with it (`tune.engine.attempt_messages`)
        return [headline(f"{type(error).__name__}: {error}", "machine")]
    if schedule.failed:
        return [headline(error, schedule.failures[key]) for key, error in schedule.failed.items()]
    return compare(trial.results, repeated)


def _trials(prepared: Prepared, ledger: Ledger) -> Iterable[IdentifiedTrial]:
    """The study's trials; of a search those that it asked for."""
    if prepared.search is None:
        return prepared.plan.trials
    return identify_asked(prepared.search, prepared.contents, ledger)


@dataclass
class _Repeated:
    """A sink that keeps what the ledger would have kept."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)

    def record(self, _: Task, message: Message) -> None:
        if message.event == "epoch":
            self.epochs.append(message.content)
        self.evaluations.extend(message.content.get("evaluations", []))


def recorded(ledger: Ledger, trial_id: str) -> dict[str, Any]:
    """What the ledger has of a trial, to compare a repetition with; of scores those by today's semantics."""
    evaluations = [
        asdict(row)
        for row in filter(is_current, ledger.each_evaluation())
        if row.trial_id == trial_id and row.upstream_trial_id is None
    ]
    return _comparable(ledger.epochs(trial_id), evaluations)


def compare(stored: dict[str, Any], repeated: _Repeated) -> list[str]:
    """Where a repetition differs from what was recorded: one text a field.

    An evaluation that is not among it, as none by today's semantics was made yet, is compared with nothing.
    """
    evaluations = [row for row in repeated.evaluations if _name(row) in stored]
    return list(_differences(stored, _comparable(repeated.epochs, evaluations), ""))


def _comparable(epochs: list[dict[str, Any]], evaluations: list[dict[str, Any]]) -> dict[str, Any]:
    fixed = {f"epoch {row['epoch']}": {name: row[name] for name in row.keys() - _VOLATILE} for row in epochs}
    return fixed | {_name(row): {"scores": row["scores"], "coverage": row["coverage"]} for row in evaluations}


def _name(evaluation: dict[str, Any]) -> str:
    return f"{evaluation['split']} ({evaluation['entities']} entities)"


def _completed(trials: Iterable[IdentifiedTrial], ledger: Ledger) -> list[IdentifiedTrial]:
    completed = [trial for trial in trials if ledger.status(trial.row.trial_id) == "completed"]
    return sorted(completed, key=lambda trial: trial.row.trial_id)


def _differences(stored: Any, again: Any, place: str) -> Iterator[str]:
    """Where the two differ; a number of an epoch or evaluation that was not recorded then does not count."""
    if isinstance(stored, dict) and isinstance(again, dict):
        for name in sorted(stored if place else stored.keys() | again.keys()):
            yield from _differences(stored.get(name), again.get(name), f"{place} {name}".strip())
    elif isinstance(stored, list) and isinstance(again, list) and len(stored) == len(again):
        for index, (before, after) in enumerate(zip(stored, again, strict=True)):
            yield from _differences(before, after, f"{place}[{index}]")
    elif stored != again:
        yield f"{place}: was {stored}, is {again}"

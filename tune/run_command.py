"""`lai run`: the composition of plan, ledger, schedule and engine. Ray and torch load late."""

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from lai_net.corpora.loading import load_corpus
from lai_net.encoder_files import encoder_id
from lai_net.errors import InputError
from lai_net.schema import Corpus
from tune.budget import Budget
from tune.engine import Engine
from tune.execution import Execution, Training, open_jobs
from tune.ledger import AttemptRow, Ledger
from tune.plan import Jobs, make_plan
from tune.progress import ProgressSink
from tune.provenance import wait_for_orphans
from tune.schedule import Schedule
from tune.study import Resources, Study, load_study
from tune.task_spec import CorpusSource

DEFAULT_LEDGER = Path("runs/ledger.sqlite")
FAILED, INTERRUPTED = 1, 3

StudyArgument = Annotated[str, typer.Argument(help="Study file, or the name of a shipped one.")]
LedgerOption = Annotated[Path, typer.Option(help="The ledger file.")]
CorpusOption = Annotated[list[str] | None, typer.Option(metavar="NAME=DIR", help="Where a corpus lies.")]


@dataclass(frozen=True)
class Prepared:
    """A study with its corpora and encoders at hand.

    Attributes:
        corpora: by dataset and fold, as workers load them.
        jobs: everything that the study needs, done or not.
    """

    study: Study
    corpora: dict[tuple[str, int | None], CorpusSource]
    jobs: Jobs


def run(
    study: StudyArgument,
    ledger: LedgerOption = DEFAULT_LEDGER,
    corpus: CorpusOption = None,
    address: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="A running Ray cluster.")] = None,
    budget_hours: Annotated[
        float | None, typer.Option(min=0, help="Start nothing new after so long.")
    ] = None,
) -> None:
    """Execute what the study needs and the ledger lacks: start, resume and grow are this one call."""
    prepared = prepare(study, corpus or [])
    with Ledger.open(ledger) as opened:
        code = execute_study(
            prepared,
            opened,
            ledger.resolve().parent,
            lambda: _ray_engine(prepared.study.resources, address),
            budget_hours,
        )
    raise typer.Exit(code)


def prepare(study_name: str, corpus_options: Sequence[str]) -> Prepared:
    """Load a study and what it names.

    Raises:
        InputError: a file is wrong, or a corpus has no place.
    """
    study = load_study(study_name)
    plan = make_plan(study)
    corpora = dict(_load_corpora(study, _named_folders(study, corpus_options)))
    encoder_ids = {name: encoder_id(name) for name in plan.encoder_names}
    jobs = plan.identify({key: loaded for key, (loaded, _) in corpora.items()}, encoder_ids)
    return Prepared(study, {key: source for key, (_, source) in corpora.items()}, jobs)


def execute_study(
    prepared: Prepared,
    ledger: Ledger,
    folder: Path,
    make_engine: Callable[[], contextlib.AbstractContextManager[Engine]],
    budget_hours: float | None = None,
) -> int:
    """Run the open jobs to their end and say how it went; returns the exit code.

    Args:
        prepared: the study.
        ledger: open for writing.
        folder: the ledger's folder.
        make_engine: entered only if there is something to do.
        budget_hours: None takes the study's.
    """
    ledger.register_trials([job.row for job in prepared.jobs.trials])
    jobs = open_jobs(prepared.jobs, ledger)
    num_trainings = sum(isinstance(job, Training) for job in jobs)
    typer.echo(
        f"{prepared.study.name}: {num_trainings} of {len(prepared.jobs.trials)} trials to train, "
        f"{len(jobs) - num_trainings} end-to-end evaluations to make"
    )
    if not jobs:
        return 0
    _settle_orphans(ledger.newest_attempts().values())
    execution = Execution(ledger, folder, prepared.corpora, prepared.study.resources.gpus_per_trial)
    limits = prepared.study.budget
    hours = limits.hours if budget_hours is None else budget_hours
    budget = Budget(hours, limits.disk_gib, folder / "artifacts")
    schedule = Schedule(jobs, execution.make_task, max_attempts=limits.max_attempts, is_spent=budget.is_spent)
    sink = ProgressSink(execution, {job.key: job for job in jobs})
    with make_engine() as engine, stop_on_signals() as should_stop, sink.live():
        engine.run(schedule, sink, should_stop)
    return _conclude(schedule, {job.key: str(job) for job in jobs}, is_interrupted=should_stop())


@contextlib.contextmanager
def _ray_engine(resources: Resources, address: str | None) -> Iterator[Engine]:
    from tune.ray_engine import RayEngine, cluster
    from tune.trainable import execute

    with cluster(address, gpus=resources.gpus):
        yield RayEngine(execute, resources.cpus_per_trial, resources.gpus_per_trial, resources.max_concurrent)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a flag; a second one acts as it did before."""
    seen: list[int] = []

    def note(number: int, _: Any) -> None:
        seen.append(number)
        restore()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        yield lambda: bool(seen)
    finally:
        restore()


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
        for fold in dataset.fold_numbers:
            corpus = load_corpus(source, name=dataset.name, annotations=dataset.annotations, fold=fold)
            yield (
                (dataset.name, fold),
                (
                    corpus,
                    CorpusSource(
                        source=source,
                        name=dataset.name,
                        annotations=dataset.annotations,
                        fold=fold,
                        content_id=corpus.content_id,
                    ),
                ),
            )


def _settle_orphans(attempts: Iterable[AttemptRow]) -> None:
    running = [attempt.provenance for attempt in attempts if attempt.status == "running"]
    if (alive := wait_for_orphans(running)) > 0:
        typer.echo(f"{alive} workers of an earlier run still live; going on beside them", err=True)


def _conclude(schedule: Schedule[Any], names: dict[str, str], *, is_interrupted: bool) -> int:
    for key, error in schedule.failed.items():
        typer.echo(f"failed: {names[key]}: {error.strip().splitlines()[-1]}", err=True)
    for key, why in schedule.blocked.items():
        typer.echo(f"blocked: {names[key]} {why}", err=True)
    summary = (
        f"{len(schedule.completed)} jobs completed, {len(schedule.failed)} failed, "
        f"{len(schedule.blocked)} blocked, {len(schedule.remaining)} remain"
    )
    if is_interrupted and schedule.remaining:
        typer.echo(f"interrupted: {summary}; the same call resumes")
        return INTERRUPTED
    if schedule.remaining:
        summary += "; the budget is spent, the same call goes on"
    typer.echo(summary)
    return FAILED if schedule.failed or schedule.blocked else 0

"""`lai run`: the composition of plan, ledger, schedule and engine. Ray and torch load late."""

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tune.budget import Budget
from tune.engine import Engine, Source
from tune.execution import Evaluating, Execution, Training, open_jobs
from tune.ledger import AttemptRow, Ledger
from tune.preparation import Prepared, prepare
from tune.progress import ProgressSink
from tune.provenance import wait_for_orphans
from tune.schedule import Schedule
from tune.search.plan import SearchPlan
from tune.search.report import result_lines
from tune.search.source import SearchSource
from tune.study import Resources

DEFAULT_LEDGER = Path("runs/ledger.sqlite")
FAILED, INTERRUPTED = 1, 3

StudyArgument = Annotated[str, typer.Argument(help="Study file, or the name of a shipped one.")]
LedgerOption = Annotated[Path, typer.Option(help="The ledger file.")]
CorpusOption = Annotated[list[str] | None, typer.Option(metavar="NAME=DIR", help="Where a corpus lies.")]


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
    limits = prepared.study.budget
    hours = limits.hours if budget_hours is None else budget_hours
    budget = Budget(hours, limits.disk_gib, folder / "artifacts")
    execution = Execution(ledger, folder, prepared.corpora, prepared.study.resources.gpus_per_trial)
    if prepared.search is not None:
        source = _search_source(prepared, prepared.search, execution, budget)
        code = _run(source, source.schedule, source.jobs, execution, make_engine)
        for line in result_lines(source.search):
            typer.echo(line)
        if code == 0 and not source.is_over():
            typer.echo("the budget is spent, resume with the same call")
            return INTERRUPTED
        return code or (FAILED if source.search.ended_by == "failures" else 0)
    ledger.register_trials([job.row for job in prepared.jobs.trials])
    jobs = open_jobs(prepared.jobs, ledger)
    num_trainings = sum(isinstance(job, Training) for job in jobs)
    typer.echo(
        f"{prepared.study.name}: {num_trainings} of {len(prepared.jobs.trials)} trials to train, "
        f"{len(jobs) - num_trainings} evaluations to make"
    )
    schedule = Schedule(jobs, execution.make_task, max_attempts=limits.max_attempts, is_spent=budget.is_spent)
    return _run(schedule, schedule, {job.key: job for job in jobs}, execution, make_engine)


def _run(
    source: Source,
    schedule: Schedule[Any],
    jobs: Mapping[str, Training | Evaluating],
    execution: Execution,
    make_engine: Callable[[], contextlib.AbstractContextManager[Engine]],
) -> int:
    """Run a source dry and say how it went; `jobs` may grow meanwhile."""
    execution.delete_all_stale()
    if not jobs and source.is_done():
        return 0
    _settle_orphans(execution.ledger.newest_attempts().values())
    sink = ProgressSink(execution, jobs)
    with make_engine() as engine, stop_on_signals() as should_stop, sink.live():
        engine.run(source, sink, should_stop)
    names = {key: str(job) for key, job in jobs.items()}
    return _conclude(schedule, names, is_interrupted=should_stop() and not source.is_done())


def _search_source(
    prepared: Prepared, plan: SearchPlan, execution: Execution, budget: Budget
) -> SearchSource:
    from tune.search.sampler import Sampler

    return SearchSource(
        plan=plan,
        suggest=Sampler(plan.space, plan.spec.sampler, plan.spec.seed).suggest,
        identify=lambda config, seed: prepared.contents.job(plan.trial(config, seed)),
        execution=execution,
        max_attempts=prepared.study.budget.max_attempts,
        is_spent=budget.is_spent,
    )


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
    if schedule.stopped:
        summary += f", {len(schedule.stopped)} stopped early"
    if is_interrupted:
        typer.echo(f"interrupted: {summary}; the same call resumes")
        return INTERRUPTED
    if schedule.remaining:
        typer.echo(f"{summary}; the budget is spent, resume with the same call")
        return INTERRUPTED
    typer.echo(summary)
    return FAILED if schedule.failed or schedule.blocked else 0

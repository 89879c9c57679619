"""Running what a study lacks to its end: the composition of plan, ledger, schedule and engine."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from lai_net.command_options import warn
from lai_net.files import size_gib
from tune.budget import RunBudget
from tune.commands.options import FAILED, INTERRUPTED
from tune.commands.progress import ProgressSink
from tune.engine import Engine, Sink, Source
from tune.execution import Execution
from tune.failures import headline
from tune.ledger.ledger import Ledger
from tune.ledger.rows import AttemptRow
from tune.packing.needs import Needs
from tune.packing.pool import Pool
from tune.packing.source import WINDOW, PackedSource
from tune.planning.jobs import Evaluating, Training, open_jobs
from tune.planning.plan import IdentifiedPlan, IdentifiedTrial
from tune.planning.retention import Retention, not_kept
from tune.preparation import Prepared
from tune.provenance import wait_for_orphans
from tune.results.spared import imported_results, lines_on_imported
from tune.schedule import Schedule
from tune.search.known import known_result
from tune.search.plan import SearchPlan
from tune.search.report import identify_asked, result_lines, search_warnings
from tune.search.source import SearchSource
from tune.spec.study import Study

Jobs = Mapping[str, Training | Evaluating]
Watch = Callable[[Sink, Jobs], contextlib.AbstractContextManager[Sink]]
"""Shows what a sink is told about some jobs to somebody else, too."""

_SEARCH_WINDOW = 4
"""In place of `WINDOW`, since a search decides the next config late."""


def execute_study(
    prepared: Prepared,
    ledger: Ledger,
    folder: Path,
    make_engine: Callable[[], contextlib.AbstractContextManager[Engine]],
    budget_hours: float | None,
    watch: Watch,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Run the open jobs to their end and say how it went; returns the exit code.

    Args:
        prepared: the study.
        ledger: open for writing.
        folder: the ledger's folder.
        make_engine: entered only if there is something to do.
        budget_hours: after which nothing new starts; None is no bound.
        watch: a sink around the execution, of the run's jobs.
        should_stop: after which what runs is left at its last checkpoint.
    """
    study = prepared.study
    execution = Execution(
        ledger,
        folder,
        prepared.corpora,
        study.resources.fixed_share,
        study.resources.gpus or 0,
        retention=_retention(prepared, ledger),
    )
    budget = RunBudget(budget_hours, study.budget.disk_gib, execution.storage.size_gib)
    window = WINDOW if prepared.search is None else _SEARCH_WINDOW
    make_source = _packing(study, execution, budget, window)
    runner = _Runner(execution, budget, make_engine, make_source, watch, should_stop)
    if prepared.search is not None:
        return _run_search(prepared, prepared.search, runner)
    return _run_tables(prepared, runner)


def _run_search(prepared: Prepared, plan: SearchPlan, runner: "_Runner") -> int:
    source = _search_source(prepared, plan, runner.execution, runner.budget)
    warn(search_warnings(plan, runner.execution.ledger))
    code = runner.run(source, source.schedule, source.jobs)
    for line in result_lines(source.search, not_kept(runner.execution.ledger)):
        typer.echo(line)
    if source.left and code != INTERRUPTED:
        typer.echo("what failed by no fault of its config is tried again by the same call, which goes on")
        return INTERRUPTED
    if code == 0 and not source.is_over():
        typer.echo(runner.budget.advice)
        return INTERRUPTED
    return code or (FAILED if source.search.ended_by == "failures" else 0)


def _run_tables(prepared: Prepared, runner: "_Runner") -> int:
    execution, ledger = runner.execution, runner.execution.ledger
    found = imported_results(prepared.planned, ledger)
    asked = prepared.plan if prepared.keys is None else prepared.plan.only(prepared.keys)
    ledger.register_trials([trial.row for trial in asked.trials])
    jobs = open_jobs(asked, ledger)
    execution.check(jobs)
    training = {job.key for job in jobs if isinstance(job, Training)}
    typer.echo(
        f"{prepared.study.name}: {len(training)} of {len(asked.trials)} trials to train, "
        f"{len(jobs) - len(training)} evaluations to make"
    )
    for line in lines_on_imported(asked, training, found, ledger):
        typer.echo(line)
    schedule = Schedule(
        jobs,
        execution.make_task,
        max_attempts=prepared.study.budget.max_attempts,
        is_spent=runner.budget.is_spent,
    )
    by_key: dict[str, Training | Evaluating] = {job.key: job for job in jobs}
    return runner.run(schedule, schedule, by_key)


@dataclass(frozen=True)
class _Runner:
    """Runs a source dry and says how it went."""

    execution: Execution
    budget: RunBudget
    make_engine: Callable[[], contextlib.AbstractContextManager[Engine]]
    make_source: Callable[[Source, Engine], Source]
    watch: Watch
    should_stop: Callable[[], bool]

    def run(self, source: Source, schedule: Schedule[Any], jobs: Jobs) -> int:
        """The exit code; `jobs` may grow meanwhile."""
        execution = self.execution
        execution.delete_all_stale()
        if not jobs and source.is_done():
            _tell_released(execution.retention)
            return 0
        _settle_orphans(execution.ledger.newest_attempts().values())
        with (
            self.make_engine() as engine,
            self.watch(execution, jobs) as watched,
            ProgressSink(watched, jobs).live() as sink,
        ):
            source = self.make_source(source, engine)
            engine.run(source, sink, self.should_stop)
        if (kept := size_gib(features := execution.storage.features)) > 0:
            typer.echo(f"states of frozen encoders, for further trials: {kept:.2f} GiB in {features}")
        _tell_released(execution.retention)
        names = {key: str(job) for key, job in jobs.items()}
        return _conclude(schedule, names, self.budget, is_interrupted=self.should_stop())


def _tell_released(retention: Retention) -> None:
    if retention.num_released > 0:
        typer.echo(f"models not kept, by {retention.why}: {retention.num_released}")


def _retention(prepared: Prepared, ledger: Ledger) -> Retention:
    name, level, plan = prepared.study.name, prepared.study.budget.keep_models, prepared.search
    if plan is None:
        return Retention(name, level, prepared.plan)
    asked = IdentifiedPlan(identify_asked(plan, prepared.contents, ledger), ())
    upstream = [] if plan.upstream is None else [prepared.contents.identify(plan.upstream).row.trial_id]

    def score(trial: IdentifiedTrial) -> float | None:
        found = known_result(ledger, trial)
        return None if found is None else found[0]

    return Retention(name, level, asked, frozenset(upstream), frozenset(plan.fresh_seeds), score)


def _packing(
    study: Study, execution: Execution, budget: RunBudget, window: int
) -> Callable[[Source, Engine], Source]:
    """What makes a source share devices by measured memory, where the study asks for that."""

    def pack(source: Source, engine: Engine) -> Source:
        if not study.resources.is_measured:
            return source
        ledger = execution.ledger
        attempts = (attempt for tries in ledger.all_attempts().values() for attempt in tries)
        needs = Needs(ledger.probes(), attempts)
        pool = Pool(engine.nodes, study.resources.cpus_per_trial)
        tries = study.budget.max_attempts
        return PackedSource(source, execution, pool, needs, budget.is_spent, window, tries)

    return pack


def _search_source(
    prepared: Prepared, plan: SearchPlan, execution: Execution, budget: RunBudget
) -> SearchSource:
    from tune.search.sampler import Sampler

    return SearchSource(
        plan=plan,
        suggest=Sampler(plan.space, plan.spec.sampler, plan.spec.seed).suggest,
        identify=lambda config, seed: prepared.contents.identify(plan.trial(config, seed)),
        execution=execution,
        max_attempts=prepared.study.budget.max_attempts,
        is_spent=budget.is_spent,
    )


def _settle_orphans(attempts: Iterable[AttemptRow]) -> None:
    running = [attempt.provenance for attempt in attempts if attempt.status == "running"]
    if (alive := wait_for_orphans(running)) > 0:
        typer.echo(f"{alive} workers of an earlier run still live; going on beside them", err=True)


def _conclude(
    schedule: Schedule[Any], names: dict[str, str], budget: RunBudget, *, is_interrupted: bool
) -> int:
    for key, error in schedule.failed.items():
        typer.echo(f"failed: {names[key]}: {headline(error, schedule.failures[key])}", err=True)
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
        typer.echo(f"{summary}; {budget.advice}")
        return INTERRUPTED
    typer.echo(summary)
    return FAILED if schedule.failed or schedule.blocked else 0

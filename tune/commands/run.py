"""`lai run`. Ray and torch load late."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tune.artefacts.claim import claim_artefacts
from tune.artefacts.storage import check_storage, storage_of, store_in
from tune.cluster.options import (
    AddressOption,
    InsecureOption,
    Remote,
    ShipOption,
    StorageOption,
    remote_of,
)
from tune.commands.growing import MaxSeedsOption, UntilDecidedOption, bounded_study, decider_of
from tune.commands.options import DEFAULT_LEDGER, INTERRUPTED, CorpusOption, LedgerOption, StudyArgument
from tune.commands.running import execute_study
from tune.commands.signals import stop_on_signals
from tune.engine import Engine
from tune.forecast.until_decided import Decision, needed_trials
from tune.ledger.ledger import Ledger
from tune.preparation import Prepared, prepare
from tune.spec.study import Study, load_study, with_all_seeds
from tune.tracking import FOLDER as TRACKING
from tune.tracking import parse_trackers, tracking

TrackOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[=WHERE]", help="Show trials in tensorboard, mlflow[=URI] or wandb[=PROJECT], too."
    ),
]


def run(  # noqa: PLR0913 - one for each option
    context: typer.Context,
    study: StudyArgument,
    ledger: LedgerOption = DEFAULT_LEDGER,
    corpus: CorpusOption = None,
    address: AddressOption = None,
    insecure_cluster: InsecureOption = False,
    ship_code: ShipOption = False,
    storage: StorageOption = None,
    budget_hours: Annotated[
        float | None, typer.Option(min=0, help="Start nothing new after so long.")
    ] = None,
    until_decided: UntilDecidedOption = False,
    max_seeds: MaxSeedsOption = None,
    track: TrackOption = None,
) -> None:
    """Execute what the study needs and the ledger lacks: start, resume and grow are this one call."""
    loaded = load_study(study)
    grown = bounded_study(loaded, max_seeds, until_decided=until_decided)
    prepared = prepare(loaded, corpus or [])
    folder, started_s = ledger.resolve().parent, time.monotonic()
    remote = remote_of(address, insecure=insecure_cluster, ship_code=ship_code)
    trackers = parse_trackers(track or [])
    watch = partial(tracking, trackers=trackers, study=loaded.name, folder=folder / TRACKING)
    all_hours = loaded.budget.hours if budget_hours is None else budget_hours  # of all rounds together

    def execute(part: Prepared) -> int:
        hours = None if all_hours is None else all_hours - (time.monotonic() - started_s) / 3600
        make_engine = partial(_ray_engine, part, remote, folder)
        return execute_study(part, opened, folder, make_engine, hours, watch, should_stop)

    with Ledger.open(ledger) as opened, stop_on_signals() as should_stop:
        if storage is not None:
            store_in(storage, folder)
        check_storage(folder)
        claim_artefacts(ledger)
        code = execute(prepared)
        if grown is not None and code != INTERRUPTED:
            whole = prepare(with_all_seeds(grown), corpus or [])
            decide = partial(decider_of(context), ledger, grown)
            code = max(code, _add_seeds(grown, whole, decide, execute, should_stop))
            if set(grown.all_seeds) - set(loaded.all_seeds):
                typer.echo(f"tables show the added seeds once {grown.file} says [decide] as used here")
    raise typer.Exit(code)


def _add_seeds(
    study: Study,
    whole: Prepared,
    decide: Callable[[], Sequence[Decision]],
    execute: Callable[[Prepared], int],
    should_stop: Callable[[], bool],
) -> int:
    """Look, run what the open decisions wait for, and look again, until nothing more can be added."""
    code, before = 0, None
    while (keys := needed_trials(study, decide())) and keys != before:
        if should_stop():
            typer.echo("interrupted between two rounds; the same call resumes")
            return INTERRUPTED
        code = max(code, execute(replace(whole, keys=keys)))
        if code == INTERRUPTED:
            break
        before = keys
    return code


@contextlib.contextmanager
def _ray_engine(prepared: Prepared, remote: Remote | None, folder: Path) -> Iterator[Engine]:
    from tune.cluster.workers import workers
    from tune.ray_engine import RayEngine

    resources, budget = prepared.study.resources, prepared.study.budget
    with workers(prepared, remote, storage_of(folder)) as executor:
        yield RayEngine(
            executor,
            resources.cpus_per_trial,
            0.0 if resources.is_measured else resources.fixed_share,
            resources.max_concurrent,
            stall_s=60 * budget.stall_minutes,
        )

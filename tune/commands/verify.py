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
from tune.execution import Execution, Training
from tune.ledger.ledger import Ledger
from tune.planning.plan import Job
from tune.preparation import Prepared, prepare
from tune.schedule import Schedule
from tune.search.report import asked_jobs

_VOLATILE = {"cpu_s", "wall_s", "checkpoint"}
"""What may differ from run to run; a checkpoint's file holds the times, too."""


def verify(
    study: StudyArgument,
    trials: Annotated[int, typer.Option(min=1, help="How many, chosen by their ids.")] = 1,
    ledger: LedgerOption = DEFAULT_LEDGER,
    corpus: CorpusOption = None,
) -> None:
    """Train completed trials again, into a temporary folder, and compare: equal on a CPU."""
    from tune.trainable import execute

    prepared = prepare(study, corpus or [])
    with Ledger.open(ledger, read_only=True) as opened, tempfile.TemporaryDirectory() as folder:
        chosen = _completed(_jobs(prepared, opened), opened)[:trials]
        if not chosen:
            raise InputError(
                f"{ledger}: holds no completed trial of study {study}; `lai run` it first (an imported one "
                "has no record of its training to compare with)"
            )
        execution = Execution(
            opened,
            Path(folder),
            prepared.corpora,
            prepared.study.resources.fixed_share,
            models=ledger.resolve().parent,
        )
        code = 0
        for job in chosen:
            repeated = _Repeated()
            schedule = Schedule([Training(job)], execution.make_task, max_attempts=1)
            SerialEngine(execute).run(schedule, repeated)
            differences = [*schedule.failed.values(), *compare(opened, job.row.trial_id, repeated)]
            typer.echo(f"{Training(job)}: {'; '.join(differences) or 'identical'}")
            code = FAILED if differences else code
    raise typer.Exit(code)


def _jobs(prepared: Prepared, ledger: Ledger) -> Iterable[Job]:
    """The study's trials; of a search those that it asked for."""
    if prepared.search is None:
        return prepared.jobs.trials
    return asked_jobs(prepared.search, prepared.contents, ledger)


@dataclass
class _Repeated:
    """A sink that keeps what the ledger would have kept."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)

    def record(self, _: Task, message: Message) -> None:
        if message.event == "epoch":
            self.epochs.append(message.content)
        self.evaluations.extend(message.content.get("evaluations", []))


def compare(ledger: Ledger, trial_id: str, repeated: _Repeated) -> list[str]:
    """Where a repetition differs from the ledger: one text a field."""
    evaluations = [
        asdict(row)
        for row in ledger.evaluations()
        if row.trial_id == trial_id and row.upstream_trial_id is None
    ]
    stored = _comparable(ledger.epochs(trial_id), evaluations)
    return list(_differences(stored, _comparable(repeated.epochs, repeated.evaluations), ""))


def _comparable(epochs: list[dict[str, Any]], evaluations: list[dict[str, Any]]) -> dict[str, Any]:
    fixed = {f"epoch {row['epoch']}": {name: row[name] for name in row.keys() - _VOLATILE} for row in epochs}
    return fixed | {
        f"{row['split']} ({row['entities']} entities)": {"scores": row["scores"], "coverage": row["coverage"]}
        for row in evaluations
    }


def _completed(jobs: Iterable[Job], ledger: Ledger) -> list[Job]:
    completed = [job for job in jobs if ledger.status(job.row.trial_id) == "completed"]
    return sorted(completed, key=lambda job: job.row.trial_id)


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

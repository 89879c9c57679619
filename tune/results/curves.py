"""Learning curves: what every epoch of a trial gave, and the table of them beside the long one."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

from lai_net.config import PHASES
from lai_net.errors import InputError
from tune.ledger.ledger import Ledger
from tune.ledger.rows import ReportedEpoch
from tune.results.csv_files import Parsers, csv_bytes, number, one_of, parse_fields, read_csv, whole


class Epoch(NamedTuple):
    """What an epoch of a trial gave; None is not said.

    Attributes:
        epoch: from 1.
        loss: mean over its steps.
        precision, recall, f1: on the split that selects the checkpoint, 0-1; of RE strict (RE+).
        filter_recall: on that split, 0-1.
        cpu_s: CPU seconds.
    """

    epoch: int
    loss: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    filter_recall: float | None
    cpu_s: float | None


@dataclass(frozen=True, slots=True)
class Curve(Iterable[Epoch]):
    """The epochs of a trial in order; packed, since as tuples a large ledger's take five times the room."""

    packed: bytes

    def __iter__(self) -> Iterator[Epoch]:
        for epoch, *values in _PACKED.iter_unpack(self.packed):
            yield Epoch(epoch, *[None if math.isnan(value) else value for value in values])


_PACKED = Struct("=q6d")
Curves = Mapping[str, Iterable[Epoch]]
"""By trial_id, epochs in order."""

_TRIAL_COLUMNS = ("dataset", "phase", "fold", "seed")
CURVE_COLUMNS = ("trial_id", *_TRIAL_COLUMNS, *Epoch._fields)
_REQUIRED = ("trial_id", "epoch", "f1")
_REPORTED = ("loss", "dev.precision", "dev.recall", "dev.f1", "filter_recall", "cpu_s")
"""Where an epoch's report has the fields of `Epoch`, without the first."""
_PARSERS: Parsers = {
    "phase": one_of(*PHASES),
    "fold": whole(0),
    "seed": whole(0),
    "epoch": whole(1),
    "loss": number(math.inf),
    "precision": number(1),
    "recall": number(1),
    "f1": number(1),
    "filter_recall": number(1),
    "cpu_s": number(math.inf),
}


def read_curves(ledger: Ledger, *, imported: bool = False) -> dict[str, Curve]:
    """The curves of all trials, or those that were imported.

    Of a trial that was imported and run here that which reaches further, the run's among equals.
    """
    rows = ledger.epoch_values(_REPORTED, imported=imported)
    by_trial = groupby(rows, key=itemgetter(0))
    return {name: Curve(b"".join(_pack(*values) for _, *values in own)) for name, own in by_trial}


def _pack(epoch: int, *values: float | None) -> bytes:
    return _PACKED.pack(epoch, *(math.nan if value is None else value for value in values))


def curve_rows(curves: Curves, rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """By `CURVE_COLUMNS` the epochs of the trials that rows of the long table name, in their order."""
    trials = {row["trial_id"]: tuple(row[name] for name in _TRIAL_COLUMNS) for row in rows}
    return ((name, *values, *epoch) for name, values in trials.items() for epoch in curves.get(name, ()))


def curves_to_csv(curves: Curves, rows: Iterable[Mapping[str, Any]]) -> bytes:
    """`curve_rows` as CSV; None is empty."""
    return csv_bytes(CURVE_COLUMNS, curve_rows(curves, rows))


def curve_reports(path: Path, ledger: Ledger, rows: Iterable[Mapping[str, Any]]) -> list[ReportedEpoch]:
    """Epoch reports from a file such as `curves_to_csv` makes.

    An epoch that is known stays as it is, also where a second run of the trial took other seconds.

    Args:
        path: a CSV file; it may omit what is not required.
        ledger: which has the curves so far.
        rows: all imported rows of the long table, one of which every curve needs; without one, curves of
            trials that were started here are left out.

    Raises:
        InputError: `file:line` and what is wrong there.
    """
    trials = {row["trial_id"]: row for row in rows}
    own = ledger.newest_attempts().keys() - trials.keys()
    curves = read_curves(ledger, imported=True)
    known = {(name, epoch.epoch): epoch for name, curve in curves.items() for epoch in curve}
    reports: list[ReportedEpoch] = []
    for line, cells in read_csv(path, _REQUIRED, CURVE_COLUMNS):
        try:
            row = parse_fields(cells, CURVE_COLUMNS, _PARSERS)
            if row["trial_id"] in own:
                continue
            _check(row, trials)
            epoch = Epoch(*(row[name] for name in Epoch._fields))
            place = (row["trial_id"], epoch.epoch)
            if known.setdefault(place, epoch)._replace(cpu_s=epoch.cpu_s) != epoch:
                raise InputError(
                    f"epoch {epoch.epoch} of trial {place[0]} is known with other numbers; leave it out, or "
                    "import the long table alone"
                )
            reports.append((*place, _report(epoch)))
        except InputError as error:
            raise InputError(f"{path}:{line}: {error}") from error
    return reports


def _check(row: Mapping[str, Any], trials: Mapping[str, Mapping[str, Any]]) -> None:
    for name in _REQUIRED:
        if row[name] is None:
            raise InputError(f"{name} is empty; every row needs it")
    trial = trials.get(row["trial_id"])
    if trial is None:
        raise InputError(f"trial {row['trial_id']} has no row in the long table; import both together")
    for name in _TRIAL_COLUMNS:
        if row[name] not in (None, trial[name]):
            raise InputError(f"{name} is {row[name]}, but {trial[name]} in the long table")
    if trial["epochs"] is not None and row["epoch"] > trial["epochs"]:
        raise InputError(f"epoch is {row['epoch']}, but the long table has {trial['epochs']} epochs")


def _report(epoch: Epoch) -> dict[str, Any]:
    report: dict[str, Any] = {"epoch": epoch.epoch, "dev": {}}
    for name, value in zip(_REPORTED, epoch[1:], strict=True):
        *section, last = name.split(".")
        (report["dev"] if section else report)[last] = value
    return report

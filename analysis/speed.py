"""Rows of the speed benchmark (`make bench` writes them), and which of them is a config's own.

A speed stands beside an F1 only if it was measured with the settings that the F1 was trained with, as far as
the time of inference depends on them: see `inference_settings`. Speeds are sentences per second of CPU time
on the machine that measured them: comparable with each other, not with sentences per second of a GPU.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from lai_net.active_settings import active_settings
from lai_net.config import PHASES, Representation, TrialConfig
from lai_net.errors import InputError
from lai_net.wording import counted
from tune.planning.explanation import flat
from tune.spec.baseline import Model

REPRESENTATIONS: tuple[Representation, ...] = get_args(Representation)
"""Eq. 1 to 4."""
_REQUIRED = (
    "dataset", "phase", "model", "representation", "variant", "step", "encoder", "precision",
    "sentences_per_cpu_second", "peak_mib", "threads", "repetitions", "processor", "date",
    "layers", "settings",
)  # fmt: skip
_ALLOWED = {
    "phase": PHASES, "model": get_args(Model), "representation": REPRESENTATIONS,
    "step": ("inference", "training"),
}  # fmt: skip
_TIMELESS = {
    "encoder.freeze", "filter.cold_epochs", "filter.cold_negatives", "graph.dropout", "graph.sigma_min",
    "head.dropout", "head.overlapping_triples", "head.relation_threshold", "head.symmetric_rule",
}  # fmt: skip
"""Settings on which no time of inference depends: of training, values, and rules of decoding.

Neither does it on `training.*` but the precision.
"""


def inference_settings(config: TrialConfig) -> str:
    """The settings on which time and memory of inference depend, in words by their dotted names.

    Equal texts mean the same computation: encoder and its layers, precision, representation, mask, filter,
    graph and head. What is missing is at its neutral value or does not act (see `active_settings`).
    """
    settings = flat(active_settings(config))
    acting = {
        name: value
        for name, value in settings.items()
        if name not in _TIMELESS and not name.startswith("training.")
    }
    acting["training.precision"] = config.training.precision
    return " ".join(f"{name}={_in_words(value)}" for name, value in sorted(acting.items()))


def arrangement(config: TrialConfig) -> str:
    """How a trial arranges the passes of its encoder: the benchmark's `variant` of that name."""
    return "early-filter" if config.screens_text else config.input.encoder_passes


def _in_words(value: object) -> str:
    if value is None:
        return "all"  # encoder.num_layers alone has no value
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One measurement.

    Attributes:
        variant: how the computation is arranged, such as `padded` or `two-pass`.
        layers: of the encoder that ran.
        settings: see `inference_settings`.
        sentences_per_cpu_second: median over the repetitions.
        peak_mib: growth of peak memory in MiB; None where it was not measured.
    """

    dataset: str
    phase: str
    model: str
    representation: str
    variant: str
    step: str
    encoder: str
    precision: str
    sentences_per_cpu_second: float
    peak_mib: float | None
    threads: int
    repetitions: int
    processor: str
    date: str
    layers: int
    settings: str

    @property
    def shape(self) -> str:
        """Encoder, its layers and the precision in words."""
        return f"{self.encoder}, {counted(self.layers, 'layer')}, {self.precision}"


def read_speeds(path: Path) -> tuple[Speed, ...]:
    """Read a benchmark's CSV.

    Raises:
        InputError: the file cannot be read, lacks a column, or a field is wrong, with `path:line`.
    """
    try:
        reader = csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a CSV of `make bench`") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8; name a CSV of `make bench`") from error
    missing = [name for name in _REQUIRED if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{path}:1: no column {missing[0]!r}; it must have those that `make bench` writes")
    return tuple(_speed(row, f"{path}:{reader.line_num}") for row in reader)


def speed_of(speeds: Sequence[Speed], dataset: str, config: TrialConfig | None) -> Speed | None:
    """The inference speed of a config on a dataset; None where it was not measured, and of no config."""
    if config is None:
        return None
    wanted = (dataset, config.phase, "inference", arrangement(config), inference_settings(config))
    return next(
        (
            speed
            for speed in speeds
            if (speed.dataset, speed.phase, speed.step, speed.variant, speed.settings) == wanted
        ),
        None,
    )


def _speed(row: dict[str, str], where: str) -> Speed:
    if None in row or None in row.values():
        raise InputError(f"{where}: not as many fields as columns; mend the line")
    for name, options in _ALLOWED.items():
        if row[name] not in options:
            raise InputError(f"{where}: {name} must be one of {', '.join(options)}, but got {row[name]!r}")
    texts = {name: row[name] for name in (*_REQUIRED[:8], "processor", "date", "settings")}
    return Speed(
        **texts,
        sentences_per_cpu_second=_number(row, "sentences_per_cpu_second", where),
        peak_mib=_number(row, "peak_mib", where) if row["peak_mib"] else None,
        threads=int(_number(row, "threads", where)),
        repetitions=int(_number(row, "repetitions", where)),
        layers=int(_number(row, "layers", where)),
    )


def _number(row: dict[str, str], name: str, where: str) -> float:
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"{where}: {name} must be a number above 0, but got {row[name]!r}")
    return value

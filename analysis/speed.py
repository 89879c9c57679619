"""Rows of the speed benchmark (`make bench` writes them), and which of them is a config's own.

A speed stands beside an F1 only if it was measured with the settings that the F1 was trained with, as far as
the time of inference depends on them: see `inference_settings`. Speeds are sentences per second of CPU time
on the machine that measured them: comparable with each other, not with sentences per second of a GPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args

from lai_net.active_settings import active_settings
from lai_net.config import PHASES, Representation, TrialConfig
from lai_net.errors import InputError
from lai_net.settings import flat
from lai_net.wording import counted, spelled
from tune.results.csv_files import Parsers, one_of, parse_fields, positive, read_csv, whole
from tune.spec.baseline import Model

REPRESENTATIONS: tuple[Representation, ...] = get_args(Representation)
"""Eq. 1 to 4."""
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
    return "all" if value is None else spelled(value)  # encoder.num_layers alone has no value


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


_COLUMNS = tuple(item.name for item in fields(Speed))
_PARSERS: Parsers = {
    "phase": one_of(*PHASES),
    "model": one_of(*get_args(Model)),
    "representation": one_of(*REPRESENTATIONS),
    "step": one_of("inference", "training"),
    "sentences_per_cpu_second": positive,
    "peak_mib": positive,
    "threads": whole(1),
    "repetitions": whole(1),
    "layers": whole(1),
}


def read_speeds(path: Path) -> tuple[Speed, ...]:
    """Read a benchmark's CSV, of one machine.

    Raises:
        InputError: the file cannot be read, lacks a column, a field is wrong, or a row comes from another
            machine or number of threads than the first, with `path:line`.
    """
    speeds: list[Speed] = []
    for line, cells in read_csv(path, _COLUMNS):
        speed = _speed(cells, f"{path}:{line}")
        for name in ("processor", "threads"):
            own, first = getattr(speed, name), getattr((speeds or [speed])[0], name)
            if own != first:
                raise InputError(
                    f"{path}:{line}: {name} is {own}, but {first} in the rows above; speeds of different "
                    "machines do not compare, so give the file of one"
                )
        speeds.append(speed)
    return tuple(speeds)


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


def _speed(cells: Mapping[str, str], where: str) -> Speed:
    try:
        row = parse_fields(cells, _COLUMNS, _PARSERS)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    for name, value in row.items():
        if value is None and name != "peak_mib":
            raise InputError(f"{where}: {name} is empty; every row needs it")
    return Speed(**row)

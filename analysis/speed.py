"""Rows of the speed benchmark (`make bench` writes them), and which of them may stand side by side.

Speeds are sentences per second of CPU time on the machine that measured them: comparable with each other, not
with sentences per second of a GPU.
"""

import csv
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from lai_net.errors import InputError

MODELS = ("PL-Marker", "LAI-Net")
"""In the order of the paper's Table 3."""
REPRESENTATIONS = ("vanilla", "marker", "enumerate", "annotate")
"""Eq. 1 to 4."""
_OF_MODEL = {"PL-Marker": ("marker", "enumerate"), "LAI-Net": ("annotate",)}
_REQUIRED = (
    "dataset", "phase", "model", "representation", "variant", "step", "encoder", "precision",
    "sentences_per_cpu_second", "peak_mib", "threads", "repetitions", "processor", "date",
)  # fmt: skip
_ALLOWED = {
    "phase": ("NER", "RE"), "model": MODELS, "representation": REPRESENTATIONS,
    "step": ("inference", "training"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One measurement.

    Attributes:
        variant: how the computation is arranged, such as `padded` or `two-pass`.
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

    @property
    def setting(self) -> tuple[str, str]:
        """What must be equal for two speeds to be compared, beside the task: encoder and precision."""
        return self.encoder, self.precision


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


def comparable(speeds: Sequence[Speed], dataset: str, encoders: Collection[str]) -> tuple[Speed, ...]:
    """The inference speeds of a dataset at one encoder and precision.

    Where several were measured it is one of the study's encoders if there is one, then the setting with the
    most models, representations and phases, then the first in the file.
    """
    own = [speed for speed in speeds if speed.dataset == dataset and speed.step == "inference"]
    settings = list(dict.fromkeys(speed.setting for speed in own))

    def worth(setting: tuple[str, str]) -> tuple[bool, int]:
        kinds = {(item.model, item.representation, item.phase) for item in own if item.setting == setting}
        return setting[0] in encoders, len(kinds)

    best = max(settings, key=worth, default=None)
    return tuple(speed for speed in own if speed.setting == best)


def fastest(
    speeds: Sequence[Speed], phase: str, *, model: str | None = None, representation: str | None = None
) -> Speed | None:
    """The fastest variant of a model (in its own representation) or of a representation of LAI-Net."""
    found = [
        speed
        for speed in speeds
        if speed.phase == phase
        and (
            (speed.model == model and speed.representation in _OF_MODEL[model])
            if model is not None
            else (speed.model == "LAI-Net" and speed.representation == representation)
        )
    ]
    return max(found, key=lambda speed: speed.sentences_per_cpu_second, default=None)


def _speed(row: dict[str, str], where: str) -> Speed:
    if None in row or None in row.values():
        raise InputError(f"{where}: not as many fields as columns; mend the line")
    for name, options in _ALLOWED.items():
        if row[name] not in options:
            raise InputError(f"{where}: {name} must be one of {', '.join(options)}, but got {row[name]!r}")
    texts = {name: row[name] for name in (*_REQUIRED[:8], "processor", "date")}
    return Speed(
        **texts,
        sentences_per_cpu_second=_number(row, "sentences_per_cpu_second", where),
        peak_mib=_number(row, "peak_mib", where) if row["peak_mib"] else None,
        threads=int(_number(row, "threads", where)),
        repetitions=int(_number(row, "repetitions", where)),
    )


def _number(row: dict[str, str], name: str, where: str) -> float:
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"{where}: {name} must be a number above 0, but got {row[name]!r}")
    return value

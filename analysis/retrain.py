"""The command lines by which a reader makes a study's numbers again: its report, and its trials."""

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

from lai_net.config import TrialConfig
from lai_net.corpora.loading import EMBEDDED
from lai_net.preset import load_preset
from lai_net.settings import flat
from tune.spec.study import FOLDER, DatasetSpec, Interval, Study

CORPUS, NER, OUT = "CORPUS", "NER", "DIR"
"""What a reader puts in: where the corpus is, the NER trial that RE follows, and where to write."""
_VERIFIED = 2
"""Trials that the printed `lai verify` trains again."""


def typed_path(path: str | Path) -> str:
    """A path as a reader types it in the folder in which the report was made.

    That is from there, if the file lies there or was named from there. Of a file elsewhere the name alone,
    since a report is passed on and folders of one machine are nobody's business.
    """
    path = Path(path)
    if not path.is_absolute():
        return str(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def report_command(study: Study, ledger: Path, speed: Path | None, interval: Interval | None) -> str:
    """`lai report …` as it was called, but for the folder."""
    words = ["lai", "report", _typed_study(study), "--ledger", typed_path(ledger), "--out", OUT]
    words += [] if speed is None else ["--speed", typed_path(speed)]
    words += [] if interval is None else ["--interval", interval]
    return shlex.join(words)


def verify_command(study: Study, ledger: Path) -> str:
    """`lai verify …` for a few trials of the study, chosen by it."""
    words = ["lai", "verify", _typed_study(study), "--ledger", typed_path(ledger), "--trials", str(_VERIFIED)]
    for dataset in study.datasets:
        words += [] if dataset.corpus is not None else ["--corpus", f"{dataset.name}={CORPUS}"]
    return shlex.join(words)


def _typed_study(study: Study) -> str:
    """The name of a study that ships, else its file."""
    is_shipped = study.file.resolve().parent == FOLDER.resolve()
    return study.file.stem if is_shipped else typed_path(study.file)


def train_command(
    dataset: DatasetSpec, config: TrialConfig, *, seed: int, fold: int | None, joins_ner: bool = False
) -> str:
    """`lai train …` for a config of a dataset, without Ray and without a ledger, as one line for a shell.

    The preset is the study's; `--set` names each setting in which the config departs from it. A preset or
    an annotations file of the user is given as in `typed_path`. RE is joined with an NER trial on demand, and
    where the checkpoint is chosen with one.

    Raises:
        InputError: the preset cannot be read.
    """
    spec = dataset.base(config.phase)
    if spec is None:
        raise ValueError(f"{dataset.name} has no phase {config.phase}")
    preset, own = (flat(dataclasses.asdict(item)) for item in (load_preset(spec.preset), config))
    words = ["lai", "train", config.phase.lower()]
    words += ["--corpus", dataset.corpus if dataset.corpus == EMBEDDED else CORPUS]
    words += ["--preset", _typed_name(spec.preset)]
    for name, value in own.items():
        if value != preset[name]:
            words += ["--set", f"{name}={_spelled(value)}"]
    if dataset.annotations is not None:
        words += ["--annotations", _typed_name(dataset.annotations)]
    if fold is not None:
        words += ["--fold", str(fold)]
    if dataset.overlapping_relations != "keep":
        words += ["--overlapping-relations", dataset.overlapping_relations]
    words += ["--seed", str(seed)]
    if joins_ner or config.training.selection_entities != "gold":
        words += ["--ner", NER]
    return shlex.join([*words, "--out", OUT])


def _typed_name(name_or_path: str) -> str:
    return typed_path(name_or_path) if name_or_path.endswith(".toml") else name_or_path


def _spelled(value: Any) -> str:
    """As `--set` reads it: JSON, or plain text where that is no JSON."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except json.JSONDecodeError:
        return value
    return json.dumps(value)

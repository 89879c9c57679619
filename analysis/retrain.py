"""The command line that trains a trial of a study once more, without Ray and without its ledger."""

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

from lai_net.config import TrialConfig
from lai_net.preset import load_preset
from tune.explanation import flat
from tune.study import DatasetSpec

CORPUS, OUT = "CORPUS", "DIR"
"""What a reader puts in: where the corpus is, and where to train. No path of one machine is printed."""


def train_command(dataset: DatasetSpec, config: TrialConfig, *, seed: int, fold: int | None) -> str:
    """`lai train …` for a config of a dataset, as one line for a shell.

    The preset is the study's; `--set` names each setting in which the config departs from it. A preset or
    an annotations file of the user is given by its file name.

    Raises:
        InputError: the preset cannot be read.
    """
    spec = dataset.ner if config.phase == "NER" else dataset.re
    if spec is None:
        raise ValueError(f"{dataset.name} has no phase {config.phase}")
    preset, own = (flat(dataclasses.asdict(item)) for item in (load_preset(spec.preset), config))
    words = ["lai", "train", config.phase.lower()]
    words += ["--corpus", dataset.corpus if dataset.corpus == "embedded" else CORPUS]
    words += ["--preset", _file_name(spec.preset)]
    for name, value in own.items():
        if value != preset[name]:
            words += ["--set", f"{name}={_spelled(value)}"]
    if dataset.annotations is not None:
        words += ["--annotations", _file_name(dataset.annotations)]
    if fold is not None:
        words += ["--fold", str(fold)]
    return shlex.join([*words, "--seed", str(seed), "--out", OUT])


def _file_name(name_or_path: str) -> str:
    return Path(name_or_path).name if name_or_path.endswith(".toml") else name_or_path


def _spelled(value: Any) -> str:
    """As `--set` reads it: JSON, or plain text where that is no JSON."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except json.JSONDecodeError:
        return value
    return json.dumps(value)

"""An untrained `LaiNet`, its trials and its saved folder, for the tests of this folder."""

import json
import pickle
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from lai_net import LaiNet, encoder_files
from lai_net.config import PHASES, Phase
from lai_net.encoder_files import encoder_id
from lai_net.extraction import Extraction, Text
from lai_net.schema import Labels
from lai_net.streams import Streams
from lai_net.trained_model import labels_to_dict, make_task
from lai_net.training.checkpoint import save_model
from tests.configs import config_with

TEXTS: Sequence[Text] = [
    "Ada Lovelace wrote about the engine. Charles  Babbage built it in London.",
    ["Words", "are", "taken", "as", "they", "are."],
    [["A", "document"], [], ["of", "three", "sentences"]],
    "",
    [],
]
LABELS = Labels(
    entities={"Person": "a person", "Place": "a place"},
    relations={"Near": "near to", "Born-In": "born in"},
    symmetric=frozenset(["Near"]),
)


def make_trial(folder: Path, phase: Phase, encoder: str, **settings: Any) -> Path:
    """What `lai train` leaves behind, but untrained."""
    config = config_with(phase, {"encoder.name": encoder, "filter.threshold": 0.0}, **settings)
    task = make_task(config, LABELS, Streams(5, torch.device("cpu")), "cpu", ())
    with torch.no_grad():
        task.model.classifier.bias[0] = -9.0  # "none" is never the likeliest, so that something is found
    description = {
        "config": asdict(config),
        "labels": labels_to_dict(LABELS),
        "encoder_id": encoder_id(encoder),
        "corpus": {"name": "c", "content_id": "0", "train": {}},
        "seed": 5,
    }
    folder.mkdir()
    (folder / "training.json").write_text("{}")
    save_model(task.model, folder / "best", description)
    return folder


@pytest.fixture(scope="session")
def trials(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: str) -> dict[Phase, Path]:
    folder = tmp_path_factory.mktemp("trials")
    return {phase: make_trial(folder / phase, phase, tiny_encoder) for phase in PHASES}


@pytest.fixture(scope="session")
def model(trials: dict[Phase, Path]) -> LaiNet:
    return LaiNet.from_trials(trials["NER"], trials["RE"])


@pytest.fixture(scope="session")
def expected(model: LaiNet) -> list[Extraction]:
    found = model.extract(TEXTS)
    assert sum(len(item.entities) for item in found) > 5
    assert sum(len(item.relations) for item in found) > 0
    return found


@pytest.fixture(scope="session")
def saved_once(model: LaiNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def saved(saved_once: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(saved_once, tmp_path / "model"))


def change(path: Path, *keys: str, value: Any) -> None:
    content = json.loads(path.read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(content))


@pytest.fixture
def no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has no encoder, with every way to unpickle closed."""

    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("this must not be reached")

    monkeypatch.setattr(encoder_files, "encoder_folder", forbidden)
    monkeypatch.setattr("lai_net.model.pretrained.encoder_folder", forbidden)
    monkeypatch.setattr("lai_net.inputs.tokenization.encoder_folder", forbidden)
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", forbidden)
    monkeypatch.setattr("transformers.AutoModel.from_pretrained", forbidden)
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", forbidden)
    monkeypatch.setattr("torch.load", forbidden)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)

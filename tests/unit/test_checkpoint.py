"""Checkpoints that were damaged, and a disk that is full: training goes on to the same bits."""

import json
import resource
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from lai_net.errors import InputError
from lai_net.pipeline import train_trial
from lai_net.schema import Corpus
from lai_net.trained_model import load_model
from lai_net.training.loop import EpochReport
from tests.embedded import small_corpus
from tests.unit.test_training import numbers, run, small, weights
from tune.engine import is_machines_fault


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return small_corpus(6)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def _change_a_number(file: Path) -> None:
    stored = json.loads(file.read_text())
    stored["state"]["history"][0]["loss"] += 1
    file.write_text(json.dumps(stored))


def _spoil(file: Path) -> None:
    file.write_text("[1]")


@pytest.mark.parametrize(
    ("stop_after", "name", "damage", "has_older"),
    [
        (2, "epoch-*/model.safetensors", _cut, True),
        (2, "epoch-*/optimizer.safetensors", _cut, False),
        (2, "epoch-*/state.json", _cut, True),
        (2, "epoch-*/state.json", _spoil, True),
        (2, "epoch-*/state.json", _change_a_number, True),
        (2, "best-*/model.safetensors", _cut, True),
        (2, "best-*/config.json", Path.unlink, False),
        (None, "best/model.safetensors", _cut, True),
        (None, "best/history.json", _spoil, False),
    ],
)
def test_a_damaged_checkpoint_gives_way_to_an_older_one_or_to_the_start(
    stop_after: int | None,
    name: str,
    damage: Callable[[Path], None],
    has_older: bool,
    tiny_encoder: str,
    corpus: Corpus,
    unbroken: Path,
    tmp_path: Path,
) -> None:
    config = small("NER", tiny_encoder, filter__cold_epochs=0)
    earlier = [tmp_path / "attempt-1"] if has_older else []
    for folder in earlier:
        list(islice(train_trial(config, 1, corpus, folder), 1))
    damaged = tmp_path / "attempt-2"
    list(islice(train_trial(config, 1, corpus, damaged, resume_from=earlier), stop_after))
    (file,) = damaged.glob(name)
    damage(file)
    last = tmp_path / "attempt-3"
    reports = list(train_trial(config, 1, corpus, last, resume_from=[*earlier, damaged]))
    assert numbers(reports) == numbers(run(config, corpus, unbroken))
    assert weights(last) == weights(unbroken)
    kept = {report.wall_s for folder in earlier for report in _stored(folder)}
    assert {report.wall_s for report in reports} >= kept, "epochs of the intact one are not trained again"


@pytest.fixture(scope="module")
def unbroken(tiny_encoder: str, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed training."""
    folder = tmp_path_factory.mktemp("unbroken")
    run(small("NER", tiny_encoder, filter__cold_epochs=0), corpus, folder)
    return folder


def _stored(folder: Path) -> list[EpochReport]:
    (file,) = folder.glob("epoch-*/state.json")
    return [EpochReport(**item) for item in json.loads(file.read_text())["state"]["history"]]


def test_a_checkpoint_without_a_digest_of_its_state_is_read(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    config = small("NER", tiny_encoder, filter__cold_epochs=0)
    list(islice(train_trial(config, 1, corpus, tmp_path), 2))
    (file,) = tmp_path.glob("epoch-*/state.json")
    stored = json.loads(file.read_text())
    del stored["state_sha256"]
    stored["sha256"] = {name: value for name, value in stored["sha256"].items() if "/" not in name}
    file.write_text(json.dumps(stored))
    assert [report.wall_s for report in run(config, corpus, tmp_path)][:2] == [
        item["wall_s"] for item in stored["state"]["history"]
    ]


def test_a_finished_model_with_one_wrong_bit_is_not_loaded(unbroken: Path, tmp_path: Path) -> None:
    best = shutil.copytree(unbroken / "best", tmp_path / "best")
    load_model(best)
    weights_file = best / "model.safetensors"
    stored = bytearray(weights_file.read_bytes())
    stored[-1] ^= 1
    weights_file.write_bytes(stored)
    with pytest.raises(InputError, match=r"model\.safetensors: is damaged, sha256\.json beside it says"):
        load_model(best)


def test_a_finished_model_has_the_mode_of_any_new_file(unbroken: Path, tmp_path: Path) -> None:
    (tmp_path / "any").touch()
    modes = {path.stat().st_mode for path in (unbroken / "best").iterdir()}
    assert modes == {(tmp_path / "any").stat().st_mode}


def test_a_file_that_cannot_be_written_is_the_machines_fault(
    tiny_encoder: str, corpus: Corpus, unbroken: Path, tmp_path: Path
) -> None:
    """A limit on the size of files, as a full disk: the write of the weights breaks off in the middle."""
    config = small("NER", tiny_encoder, filter__cold_epochs=0)
    trained = train_trial(config, 1, corpus, tmp_path / "attempt-1")
    next(trained)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(Exception, match="File too large") as caught:
            next(trained)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert is_machines_fault(caught.value)
    folder = tmp_path / "attempt-2"
    resumed = list(train_trial(config, 1, corpus, folder, resume_from=[tmp_path / "attempt-1"]))
    assert numbers(resumed) == numbers(run(config, corpus, unbroken))

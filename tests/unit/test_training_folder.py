"""Whose folder a training writes to, and what is prepared before it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lai_net import pipeline
from lai_net.config import Phase, TrialConfig
from lai_net.errors import InputError
from lai_net.model.encoder import TwoPassEncoder
from lai_net.pipeline import train_trial
from lai_net.schema import Corpus
from lai_net.trained_model import load_model
from tests.configs import config_with
from tests.embedded import small_corpus


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return small_corpus(4)


def small(phase: Phase, encoder: str, **settings: object) -> TrialConfig:
    common = {"encoder.name": encoder, "training.epochs": 1, "filter.cold_epochs": 0}
    return config_with(phase, common, **settings)


def run(config: TrialConfig, corpus: Corpus, folder: Path, *, seed: int = 1) -> None:
    list(train_trial(config, seed, corpus, folder))


def test_a_folder_of_another_training_is_refused(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    config = small("NER", tiny_encoder)
    run(config, corpus, tmp_path)
    in_other_order = replace(corpus.labels, entities=dict(reversed(corpus.labels.entities.items())))
    for other, data, seed in (
        (config, corpus, 2),
        (config, small_corpus(3), 1),
        (config, replace(corpus, labels=in_other_order), 1),
        (small("NER", "minilm"), corpus, 1),
        (small("NER", tiny_encoder, training__clip=2.0), corpus, 1),
    ):
        with pytest.raises(InputError, match="holds a training with another config, seed, corpus or encoder"):
            run(other, data, tmp_path, seed=seed)


def test_a_folder_is_its_trainings_however_things_are_named(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    config = small("NER", tiny_encoder)
    first = list(train_trial(config, 1, corpus, tmp_path))
    same = small("NER", f"{tiny_encoder}/", head__shortcut=False)  # which does not act in NER
    assert list(train_trial(same, 1, replace(corpus, name="small/"), tmp_path)) == first


def test_a_folder_of_an_earlier_version_is_gone_on_with(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    config = small("NER", tiny_encoder)
    first = list(train_trial(config, 1, corpus, tmp_path))
    mark = tmp_path / "training.json"
    held = json.loads(mark.read_text())
    del held["encoder_passes"], held["config"]["training"]["compile"]
    mark.write_text(json.dumps(held))
    assert list(train_trial(config, 1, corpus, tmp_path)) == first
    held["config"]["training"]["of_a_later_version"] = 1
    mark.write_text(json.dumps(held))
    with pytest.raises(InputError, match="holds a training with another config, seed, corpus or encoder"):
        run(config, corpus, tmp_path)


def test_nothing_is_compiled_without_a_gpu_nor_where_a_model_is_read(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(TwoPassEncoder, "compile_passes", compiled.append)
    config = small("NER", tiny_encoder, training__compile=True, training__epochs=1, filter__cold_epochs=0)
    run(config, corpus, tmp_path)
    load_model(tmp_path / "best")
    assert compiled == []


def test_a_folder_is_refused_before_a_model_is_built_and_left_free_where_none_can_be(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small("NER", tiny_encoder, training__epochs=1)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/out: cannot be written \(.*\); name another folder"):
        run(config, corpus, tmp_path / "file" / "out")
    with pytest.raises(InputError, match=r"graph\.heads must divide"):
        run(small("NER", tiny_encoder, graph__layers=1, graph__heads=5), corpus, tmp_path / "out")
    run(config, corpus, tmp_path / "out")
    monkeypatch.setattr(pipeline, "make_task", lambda *_: pytest.fail("a model was built"))
    with pytest.raises(InputError, match="holds a training with another config, seed, corpus or encoder"):
        run(config, corpus, tmp_path / "out", seed=2)

"""What travels to a worker comes back as it was."""

from pathlib import Path

import pytest

from lai_net.config import TrialConfig
from lai_net.settings import with_settings
from tune.task_spec import CorpusSource, EvaluateSpec, TrainSpec, spec_from_json, spec_to_json

CORPUS = CorpusSource(source="embedded", name="demo", content_id="c")


@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_train_spec_round_trip_keeps_none_and_every_bit_of_floats(phase):
    config = with_settings(
        TrialConfig(phase=phase), {"training.encoder_lr": 0.1 + 0.2, "filter.ratio": 1e-17}
    )
    spec = TrainSpec(
        trial_id="t",
        attempt=2,
        config=config,
        seed=2**32 - 1,
        corpus=CORPUS,
        encoder_id="e",
        artefacts="/a",
        splits=("dev", "test"),
        share=0.25,
        cwd="/",
    )
    again = spec_from_json(spec_to_json(spec))
    assert again == spec
    assert again.config.encoder.num_layers is None
    assert hash(again.corpus) == hash(CORPUS), "the key of the workers' cache"


def test_evaluate_spec_round_trip():
    spec = EvaluateSpec(
        model_dir="/m",
        upstream_dir="/u",
        corpus=CORPUS,
        entities="predicted",
        splits=("test",),
        share=0,
        cwd=str(Path.cwd()),
    )
    assert spec_from_json(spec_to_json(spec)) == spec

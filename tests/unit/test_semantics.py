"""Numbers that a phase's semantics and the format of stored states stand for.

If one fails, old ids or old folders would name other numbers than they were made of: undo the change, or
raise `SEMANTICS` of the phase, or `FORMAT`, and pin what is computed now.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lai_net.config import PHASES
from lai_net.model.stored_features import open_arrays
from lai_net.schema import Corpus
from lai_net.training.features import FORMAT
from lai_net.training.loop import training_step
from lai_net.training.optimizer import LinearSchedule, build_optimizer
from tests.unit import storing
from tests.unit.representing import without_dropout
from tune.spec.identity import SEMANTICS

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent.parent / "golden" / "numbers.json").read_text())


def trained(phase: str, encoder: str, corpus: Corpus) -> dict[str, list[float]]:
    """Losses of three steps and the scores that follow; without dropout, which differs between processors."""
    config = storing.config(phase, encoder, encoder__freeze="none", filter__cold_epochs=1)
    task = storing.task_of(config, corpus)
    without_dropout(task.model)
    optimizer = build_optimizer(task.model, config.training)
    schedule = LinearSchedule(optimizer, 2 * task.steps_per_epoch, config.training.warmup)
    losses = []
    for step, parts in enumerate([*task.steps(1)][:2] + [*task.steps(2)][:1]):
        task.model.train()
        schedule.set_step(step)
        losses.append(training_step(task.model, optimizer, parts, config.training.clip))
    with torch.no_grad():
        task.model.classifier.bias[0] = -9.0  # so that something is found everywhere
    found = task.predict(corpus.sentences("dev")).sentences
    scores = [score for item in found for _, score in (*item.entities, *item.relations)]
    return {"losses": losses, "scores": scores}


@pytest.mark.parametrize("phase", PHASES)
def test_a_training_gives_the_numbers_of_its_semantics(phase: str, tiny_encoder: str, corpus: Corpus) -> None:
    expected = GOLDEN[phase]
    assert SEMANTICS[phase] == expected["semantics"]
    found = trained(phase, tiny_encoder, corpus)
    assert found["losses"] == pytest.approx(expected["losses"], rel=1e-5)
    assert found["scores"][:24] == pytest.approx(expected["scores"], abs=1e-4)


def test_stored_states_are_those_of_their_format(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    expected = GOLDEN["states"]
    assert expected["format"] == FORMAT
    task = storing.task_of(storing.config("NER", tiny_encoder), corpus)
    arrays = open_arrays(storing.share(task, tmp_path))
    assert {name: list(array.shape) for name, array in arrays.items()} == expected["shapes"]
    for name, array in arrays.items():
        ends = np.concatenate([array.ravel()[:4], array.ravel()[-4:]]).tolist()
        assert ends == pytest.approx(expected["ends"][name], abs=1e-4), name

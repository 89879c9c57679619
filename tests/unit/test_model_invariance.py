"""What changes no logit: the order of the candidates, padding, and what else is in the batch."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lai_net.inputs.ner_inputs import NerBatch, NerExample, ner_batch
from lai_net.inputs.re_inputs import ReBatch, ReExample, re_batch
from lai_net.schema import Corpus
from lai_net.streams import Streams
from lai_net.trained_model import make_task
from lai_net.training.ner_task import NerTask
from lai_net.training.re_task import ReTask
from tests.unit.representing import config_of

ALL_SEEN = {
    "input__text_sees_markers": True, "input__annotations_see_markers": True, "input__marker_marker": "all",
}  # fmt: skip
READINGS: list[tuple[str, dict[str, Any]]] = [
    ("annotate", {}),
    ("annotate", {"input__context_tokens": 120}),
    ("annotate", {"input__attention_mask": "vis"}),
    ("annotate", {"input__attention_mask": "full"}),
    ("annotate", {"input__marker_marker": "type"}),
    ("annotate", {"input__attention_mask": "vis", **ALL_SEEN}),
    ("enumerate", {}),
    ("enumerate", {"input__attention_mask": "full"}),
    ("enumerate", ALL_SEEN),
]
STAGES: list[dict[str, Any]] = [
    {"filter__stage": "text"}, {"filter__stage": "marker"}, {"filter__enabled": False},
]  # fmt: skip
NER = [("NER", family, mask | stage) for family, mask in READINGS for stage in STAGES]
NER += [("NER", "vanilla", STAGES[0]), ("NER", "vanilla", STAGES[2]), ("NER", "marker", STAGES[0])]
RE = [("RE", family, mask) for family, mask in [*READINGS, ("vanilla", {}), ("marker", {})]]

Said = dict[tuple[str, int, int], Tensor]
"""What a model says of one example: by its first and last token each candidate's logits."""
Example = NerExample | ReExample


def shuffled(example: Example, draw: np.random.Generator) -> Example:
    """The same candidates in another order."""
    order = draw.permutation(len(example.bounds))
    names = ("spans", "bounds", "targets") if isinstance(example, NerExample) else (
        "objects", "bounds", "targets", "types"
    )  # fmt: skip
    values = {name: getattr(example, name) for name in names}
    return replace(example, **{
        name: value[order] if isinstance(value, np.ndarray) else [value[index] for index in order]
        for name, value in values.items()
    })  # fmt: skip


def with_more_padding(batch: NerBatch | ReBatch) -> NerBatch | ReBatch:
    """Seven more tokens a text and five more candidates, of which none is one."""
    draw = torch.Generator().manual_seed(4)

    def longer(values: Tensor, count: int, end: int) -> Tensor:
        junk = torch.randint(end, (len(values), count, *values.shape[2:]), generator=draw)
        return torch.cat([values, junk.to(values.dtype)], dim=1)

    names = ("targets", "types") if isinstance(batch, ReBatch) else ("targets",)
    return replace(
        batch,
        ids=longer(batch.ids, 7, 1000),
        ids_valid=longer(batch.ids_valid, 7, 1),
        bounds=longer(batch.bounds, 5, batch.ids.shape[1]),
        valid=longer(batch.valid, 5, 1),
        **{name: longer(getattr(batch, name), 5, 3) for name in names},
    )


def said_of(task: NerTask | ReTask, examples: list[Any], *, padding: bool = False) -> list[Said]:
    """What the model says of examples that are one batch."""
    make = ner_batch if isinstance(task, NerTask) else re_batch
    batch: Any = make(examples, task.tokenizer.pad_id)
    batch = with_more_padding(batch) if padding else batch
    said: list[Said] = [{} for _ in examples]

    def note(kind: str, row: int, column: int, logits: Tensor) -> None:
        first, last = batch.bounds[row, column].tolist()
        said[row][kind, first, last] = logits

    with torch.inference_mode():
        output: Any = task.model.eval()(batch, task.streams)
    if isinstance(task, ReTask):
        for row, column in batch.valid.nonzero().tolist():
            note("class", row, column, output.pair_logits[row, column])
        return said
    for row, column in output.kept_valid.nonzero().tolist():
        note("class", row, int(output.kept[row, column]), output.class_logits[row, column])
    for row, column in [] if output.filter_logits is None else batch.valid.nonzero().tolist():
        note("filter", row, column, output.filter_logits[row, column])
    return said


@pytest.mark.parametrize(("phase", "family", "settings"), NER + RE, ids=str)
def test_order_padding_and_company_change_no_logit(
    phase: Any, family: Any, settings: dict[str, Any], tiny_encoder: str, corpus: Corpus
) -> None:
    config = config_of(phase, family, tiny_encoder, **settings)
    sentences = [item for item in corpus.sentences("train") if len(item.entities) > 1]
    task = make_task(config, corpus.labels, Streams(1, torch.device("cpu")), "cpu", sentences)
    by_size: list[Any] = sorted(task.examples, key=lambda example: len(example.bounds))
    examples = [by_size[0], by_size[-1], by_size[len(by_size) // 2], by_size[-2]]
    assert len({len(example.ids) for example in examples}) > 1
    assert len({len(example.bounds) for example in examples}) > 1
    draw = np.random.default_rng(3)
    expected = said_of(task, examples)
    for found in (
        said_of(task, [shuffled(example, draw) for example in examples]),
        said_of(task, examples, padding=True),
        said_of(task, examples[::-1])[::-1],
        [said_of(task, [example])[0] for example in examples],
    ):
        for own, other in zip(expected, found, strict=True):
            assert own.keys() == other.keys() != set()
            for candidate, logits in own.items():
                torch.testing.assert_close(other[candidate], logits, atol=1e-4, rtol=0)

"""The four representations of Eq. 1 to 4: what each computes, what does not matter to it, that it learns."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lai_net.config import PHASES, Phase, Representation, TrialConfig
from lai_net.errors import InputError
from lai_net.inputs.marker_ids import PAIR_END, PAIR_START, SUBJECT_END, SUBJECT_START
from lai_net.inputs.re_inputs import PairLabels, candidate_entities, re_batch, re_examples
from lai_net.model.first_round import FirstRound
from lai_net.model.in_text import with_solid_markers
from lai_net.model.layers import build_first_round
from lai_net.model.pretrained import encoder_source
from lai_net.model.readings import Text
from lai_net.pipeline import evaluate_trial, train_trial
from lai_net.schema import Corpus, Sentence
from lai_net.settings import with_settings
from lai_net.streams import Streams
from lai_net.trained_model import make_task
from lai_net.training.ner_task import NerTask
from lai_net.training.re_task import ReTask
from tests.scores import score_of
from tests.unit.representing import FAMILIES, config_of, without_dropout
from tests.unit.training import easily_found

CPU = torch.device("cpu")


def task_of(config: TrialConfig, corpus: Corpus, training: list[Sentence] | None = None) -> NerTask | ReTask:
    return make_task(config, corpus.labels, Streams(1, CPU), "cpu", training or ())


def first_round_of(family: Representation, phase: Phase, encoder: str) -> FirstRound:
    return built(config_of(phase, family, encoder)).eval()


def built(config: TrialConfig) -> FirstRound:
    return build_first_round(config, [], Streams(1, CPU), encoder_source(config.encoder))


# --- what each computes ---------------------------------------------------------------------------------

TEXT = Text(
    torch.tensor([[101, 2023, 2003, 1037, 3231, 102], [101, 7592, 2088, 102, 0, 0]]),
    torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]).bool(),
)
BOUNDS = torch.tensor([[[1, 1], [1, 3], [2, 4], [4, 4]], [[1, 1], [1, 2], [2, 2], [0, 0]]])
VALID = torch.tensor([[True] * 4, [True] * 3 + [False]])


def inserted(ids: list[int], spans: list[tuple[int, int]], markers: list[int]) -> tuple[list[int], list[int]]:
    """Token by token: ends close behind a token, starts open before one; where each marker stands."""
    out: list[int] = []
    places = [0] * len(markers)
    for token, piece in enumerate(ids):
        for number, (first, _) in enumerate(spans):
            if token == first:
                places[2 * number] = len(out)
                out.append(markers[2 * number])
        out.append(piece)
        for number, (_, last) in enumerate(spans):
            if token == last:
                places[2 * number + 1] = len(out)
                out.append(markers[2 * number + 1])
    return out, places


@pytest.mark.parametrize(
    "spans",
    [[(1, 3)], [(1, 1), (2, 4)], [(2, 4), (1, 1)], [(1, 4), (2, 3)], [(1, 3), (2, 4)], [(2, 2), (2, 4)],
     [(1, 4), (4, 4)], [(3, 3), (3, 3)]],
    ids=str,
)  # fmt: skip
def test_solid_markers_stand_around_their_spans(spans: list[tuple[int, int]]) -> None:
    markers = [900, 901, 910, 911][: 2 * len(spans)]
    copies, places = with_solid_markers(
        Text(TEXT.ids[:1], TEXT.valid[:1]), torch.tensor([spans]), torch.tensor(markers).view(-1, 2)
    )
    expected, where = inserted(TEXT.ids[0].tolist(), spans, markers)
    assert copies.ids[0].tolist() == expected
    assert places.flatten().tolist() == where
    assert copies.valid.all()


def test_solid_markers_leave_padding_at_the_end() -> None:
    copies, _ = with_solid_markers(TEXT, torch.tensor([[[1, 2]], [[1, 2]]]), torch.tensor([[900, 901]]))
    assert copies.ids[1].tolist() == [101, 900, 7592, 2088, 901, 102, 0, 0]
    assert copies.valid.tolist() == [[True] * 8, [True] * 6 + [False] * 2]


def states_of(round_one: FirstRound, ids: list[int]) -> Tensor:
    """One unpadded text, read by itself."""
    everything = torch.ones(1, 1, len(ids), dtype=torch.bool)
    (embedded,) = round_one.encoder.look_up(torch.tensor([ids]))
    return round_one.encoder.encode(embedded, torch.arange(len(ids))[None], everything)[0][0]


@torch.inference_mode()
def test_vanilla_is_the_ends_of_the_plain_text(tiny_encoder: str) -> None:
    from transformers import AutoModel

    round_one = first_round_of("vanilla", "NER", tiny_encoder)
    found = round_one.mark(round_one.read(TEXT), BOUNDS, VALID)
    bert = AutoModel.from_pretrained(tiny_encoder, add_pooling_layer=False).eval()
    states = bert(input_ids=TEXT.ids, attention_mask=TEXT.valid.long()).last_hidden_state
    assert found.pairs.shape == (2, 4, 2, 48)
    for row, column in VALID.nonzero().tolist():
        ends = states[row, BOUNDS[row, column]]
        torch.testing.assert_close(found.pairs[row, column], ends, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_marker_in_ner_is_the_markers_of_a_copy_a_candidate(tiny_encoder: str) -> None:
    round_one = first_round_of("marker", "NER", tiny_encoder)
    found = round_one.mark(round_one.read(TEXT, text_first=True), BOUNDS, VALID)
    markers = [round_one.encoder.vocab_size + kind for kind in (PAIR_START, PAIR_END)]
    for row, column in VALID.nonzero().tolist():
        ids = TEXT.ids[row][TEXT.valid[row]].tolist()
        copy, places = inserted(ids, [tuple(BOUNDS[row, column].tolist())], markers)
        expected = states_of(round_one, copy)[places]
        torch.testing.assert_close(found.pairs[row, column], expected, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_marker_in_re_is_the_markers_of_a_copy_a_pair(tiny_encoder: str) -> None:
    round_one = first_round_of("marker", "RE", tiny_encoder)
    reading = round_one.read(TEXT)
    assert reading.states is None  # nothing but copies is read
    subjects = torch.tensor([[2, 3], [2, 2]])
    found = round_one.mark_objects(reading, subjects, BOUNDS, VALID)
    vocab = round_one.encoder.vocab_size
    markers = [vocab + kind for kind in (SUBJECT_START, SUBJECT_END, PAIR_START, PAIR_END)]
    for row, column in VALID.nonzero().tolist():
        ids = TEXT.ids[row][TEXT.valid[row]].tolist()
        spans = [tuple(subjects[row].tolist()), tuple(BOUNDS[row, column].tolist())]
        copy, places = inserted(ids, spans, markers)
        expected = states_of(round_one, copy)[places]
        torch.testing.assert_close(found.subjects[row, column], expected[:2], atol=1e-5, rtol=0)
        torch.testing.assert_close(found.objects[row, column], expected[2:], atol=1e-5, rtol=0)


def test_the_subjects_of_a_sentence_read_one_plain_text(tiny_encoder: str, corpus: Corpus) -> None:
    task = task_of(config_of("RE", "vanilla", tiny_encoder), corpus)
    sentences = [item for item in corpus.sentences("train") if len(candidate_entities(item)) > 2]
    entities = [candidate_entities(sentence) for sentence in sentences]
    examples, _ = re_examples(
        sentences, entities, task.tokenizer, PairLabels.of(corpus.labels), max_text_tokens=99,
        solid_subjects=False,
    )  # fmt: skip
    batch = re_batch(examples, task.tokenizer.pad_id)
    assert len(batch.ids) == len(sentences) < len(examples)
    for row, example in enumerate(examples):
        words = sentences[example.sentence].words
        text = task.tokenizer.text(words, 99)
        assert batch.ids[batch.text_rows[row], : len(text.ids)].tolist() == text.ids
        span = entities[example.sentence][example.subject].span
        assert example.subject_bounds == (text.bounds[span.start][0], text.bounds[span.end - 1][1])


@pytest.mark.parametrize("family", ["vanilla", "marker"])
def test_a_step_keeps_the_subjects_of_a_sentence_together(
    family: Representation, tiny_encoder: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(config_of("RE", family, tiny_encoder), corpus, corpus.sentences("train"))
    batches: list[Any] = []
    monkeypatch.setattr(task, "_losses", lambda examples, **_: batches.append(examples))
    list(task.steps(1))
    assert sum(map(len, batches)) == task.num_examples
    assert len(batches) == task.steps_per_epoch
    parted = sum(len({example.sentence for example in batch}) for batch in batches)
    sentences = {example.sentence for batch in batches for example in batch}
    assert parted - len(sentences) < len(batches)  # the end of a batch parts one sentence at most


# --- what does not matter --------------------------------------------------------------------------------


@pytest.mark.parametrize("graph_layers", [0, 1])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("phase", PHASES)
def test_a_prediction_depends_on_its_sentence_alone(
    phase: Phase, family: Representation, graph_layers: int, tiny_encoder: str, corpus: Corpus
) -> None:
    task = task_of(config_of(phase, family, tiny_encoder, graph__layers=graph_layers), corpus)
    sentences = corpus.sentences("train")
    together = task.predict(sentences).sentences
    assert sum(len(item.entities) + len(item.relations) for item in together) > 12
    for sentence, beside in zip(sentences, together, strict=True):
        (alone,) = task.predict([sentence]).sentences
        assert alone.sentence == beside.sentence
        scores = [score for _, score in (*alone.entities, *alone.relations)]
        expected = [score for _, score in (*beside.entities, *beside.relations)]
        assert scores == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sentence_without_candidates_is_predicted(
    family: Representation, tiny_encoder: str, corpus: Corpus
) -> None:
    for phase in PHASES:
        task = task_of(config_of(phase, family, tiny_encoder), corpus)
        (empty,) = task.predict([Sentence(())]).sentences
        assert (empty.entities, empty.relations) == ((), ())


# --- that each learns ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("phase", PHASES)
def test_each_learns_five_sentences_by_heart(
    phase: Phase, family: Representation, tiny_encoder: str, corpus: Corpus
) -> None:
    five = [item for item in corpus.sentences("train") if item.relations][:5]
    settings = {"graph__layers": 1, "filter__ratio": 1.0, "encoder__freeze": "embeddings"}
    task = task_of(config_of(phase, family, tiny_encoder, training__batch_size=64, **settings), corpus, five)
    without_dropout(task.model)
    trained = [parameter for parameter in task.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3, fused=True)
    gold = [set(item.entities if phase == "NER" else item.relations) for item in five]
    for number in range(1, 201):
        task.model.train()
        optimizer.zero_grad()
        for loss in next(task.steps(epoch=6)):  # after the cold start
            loss.backward()
        optimizer.step()
        if number % 10 == 0:
            found = [item.sentence for item in task.predict(five).sentences]
            if [set(item.entities if phase == "NER" else item.relations) for item in found] == gold:
                return
    pytest.fail("not learnt in 200 steps")


@pytest.mark.parametrize(
    ("phase", "family", "settings"),
    [
        ("NER", "vanilla", {"filter__enabled": False}),
        ("NER", "vanilla", {"filter__stage": "marker", "training__negatives": 10}),
        ("NER", "vanilla", {"head__kind": "linear", "graph__layers": 0, "input__context_tokens": 60}),
        ("NER", "marker", {"training__precision": "bf16", "training__micro_batch_tokens": 200}),
        ("RE", "vanilla", {"head__kind": "linear", "graph__layers": 0, "input__context_tokens": 60}),
        ("RE", "vanilla", {"head__object_typing": "loss", "training__micro_batch_tokens": 60}),
        ("RE", "marker", {"head__object_typing": "types", "training__precision": "bf16"}),
        ("RE", "marker", {"input__context_tokens": 60, "head__shortcut": False}),
    ],
    ids=str,
)
def test_it_trains_with_the_other_options_and_loads(
    phase: Phase,
    family: Representation,
    settings: dict[str, Any],
    tiny_encoder: str,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpus = easily_found(corpus, monkeypatch)
    config = config_of(phase, family, tiny_encoder, training__epochs=1, filter__cold_epochs=0, **settings)
    (report,) = train_trial(config, 1, corpus, tmp_path)
    evaluation = evaluate_trial(tmp_path / "best", corpus, "dev")
    assert report.dev["f1"] == score_of(evaluation, phase) > 0


def test_a_text_may_not_grow_beyond_the_encoder(tiny_encoder: str) -> None:
    for phase, family, longest in (("NER", "vanilla", 512), ("NER", "marker", 510), ("RE", "marker", 508)):
        config = config_of(phase, family, tiny_encoder, input__max_text_tokens=longest)
        built(config)
        with pytest.raises(InputError, match=r"lower input\.max_text_tokens"):
            built(with_settings(config, {"input.max_text_tokens": longest + 1}))

"""Trained models: what they predict, and folders that hold none."""

import json
from itertools import combinations, product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lai_net.errors import InputError
from lai_net.evaluation import score_split
from lai_net.pipeline import evaluate_trial
from lai_net.schema import Corpus, Entity, Sentence, Span
from lai_net.streams import Streams
from lai_net.trained_model import load_model, make_task
from lai_net.training.ner_task import without_overlaps
from lai_net.training.task import PredictedSentence, Predictions
from tests.embedded import small_corpus
from tests.scores import score_of
from tests.unit.training import easily_found, run, small


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return small_corpus(12)


@pytest.mark.parametrize("mask", ["inv", "vis", "full"])
@pytest.mark.parametrize(
    ("phase", "settings"),
    [
        ("NER", {"filter__stage": "text"}),
        ("NER", {"filter__stage": "marker", "input__max_candidates": 9}),
        ("NER", {"filter__enabled": False}),
        ("RE", {"input__max_candidates": 1}),
    ],
    ids=["text filter", "marker filter", "no filter", "RE"],
)
def test_a_prediction_depends_on_nothing_beside_its_sentence(
    phase: str, settings: dict[str, object], mask: str, tiny_encoder: str, corpus: Corpus
) -> None:
    config = small(phase, tiny_encoder, input__attention_mask=mask, **settings)
    task = make_task(config, corpus.labels, Streams(1, torch.device("cpu")), "cpu", ())
    sentences = corpus.sentences("train")[:12]
    together = task.predict(sentences).sentences
    assert sum(len(item.entities) + len(item.relations) for item in together) > 12
    without_gold = [
        Sentence(item.words) if phase == "NER" else Sentence(item.words, item.entities) for item in sentences
    ]
    for sentence, beside in zip(without_gold, together, strict=True):
        (alone,) = task.predict([sentence]).sentences
        assert alone.sentence == beside.sentence
        found = [score for _, score in (*alone.entities, *alone.relations)]
        assert found == pytest.approx([s for _, s in (*beside.entities, *beside.relations)], abs=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"filter__stage": "marker"},
        {"filter__enabled": False, "training__negatives": 10},
        {"input__annotations": False, "graph__layers": 0},
        {"input__attention_mask": "full", "input__max_candidates": 7},
        {"input__attention_mask": "full", "filter__stage": "marker", "input__annotations": False},
        {"input__attention_mask": "vis", "graph__layers": 1},
        {"input__text_sees_markers": True, "input__marker_marker": "type", "input__max_candidates": 40},
        {"graph__direction": "gdpnet", "graph__normalization": "symmetric"},
        {"head__kind": "linear", "graph__layers": 0, "input__annotations": False, "filter__enabled": False},
        {"encoder__freeze": "all"},
        {"encoder__freeze": "embeddings", "encoder__num_layers": 1},
        {"training__precision": "bf16"},
        {"training__selection": "test", "training__selection_averaging": "macro"},
    ],
    ids=str,
)
def test_every_option_trains_and_loads(
    settings: dict[str, object],
    tiny_encoder: str,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpus = easily_found(corpus, monkeypatch)
    config = small("NER", tiny_encoder, training__epochs=1, filter__cold_epochs=0, **settings)
    (report,) = run(config, corpus, tmp_path)
    found = evaluate_trial(tmp_path / "best", corpus, config.training.selection)
    assert score_of(found, "NER", config.training.selection_averaging) == pytest.approx(report.dev["f1"])
    assert report.dev["f1"] > 0
    assert (report.filter_recall is None) == (not config.filter.enabled)


def test_a_folder_without_a_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trained model there"):
        load_model(tmp_path)


def test_a_damaged_model_is_one_clear_line(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    run(small("NER", tiny_encoder), corpus, tmp_path)
    (tmp_path / "best" / "model.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match=r"model.safetensors: cannot be read .* train again"):
        load_model(tmp_path / "best")
    path = tmp_path / "best" / "config.json"
    described = json.loads(path.read_text())
    (tmp_path / "best" / "model.safetensors").unlink()
    for content, message in (
        (described, r"model.safetensors: cannot be read \(No such file.*train again"),
        ({"config": described["config"]}, r"config.json is not of this version \(KeyError: 'labels'\)"),
        (described | {"labels": 3}, "config.json is not of this version"),
        (
            described | {"config": {"phase": "NER", "graph": {"loops": 1}}},
            "version .*'graph.loops'",
        ),
        (described | {"config": {"phase": "NER", "graph": 1}}, "not of this version"),
        ({"model_type": "bert"}, "no trained model, but something else; give a folder of `lai train`"),
        ([1], "no trained model, but something else"),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(InputError, match=message):
            load_model(tmp_path / "best")
    path.write_text("{")
    with pytest.raises(InputError, match=r"config.json: is damaged .* train again"):
        load_model(tmp_path / "best")


@pytest.mark.parametrize("name", ["classifier.weight", "classifier.bias"])
@pytest.mark.parametrize("is_there", [True, False])
def test_weights_of_another_model_are_refused(
    name: str, is_there: bool, tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    """Also where a tensor of another shape could be spread over one of ours."""
    run(small("NER", tiny_encoder, training__epochs=1, filter__cold_epochs=0), corpus, tmp_path)
    path = tmp_path / "best" / "model.safetensors"
    stored = load_file(path)
    changed = {name: stored.pop(name)[:1].contiguous()}
    save_file(stored | changed if is_there else stored, path)
    with pytest.raises(InputError, match=rf"{name} is not as config.json says \(1 such\); train again"):
        load_model(tmp_path / "best")


def test_overlaps_of_one_type_are_dropped_by_score() -> None:
    a, b, c = Entity(Span(0, 2), "X"), Entity(Span(1, 3), "X"), Entity(Span(1, 3), "Y")
    assert without_overlaps([(a, 0.5), (b, 0.9), (c, 0.4)]) == [(b, 0.9), (c, 0.4)]


def test_what_overlaps_is_left_out_and_kept_apart(tiny_encoder: str, corpus: Corpus) -> None:
    config = small("NER", tiny_encoder, filter__enabled=False)
    task = make_task(config, corpus.labels, Streams(1, torch.device("cpu")), "cpu", ())
    with torch.no_grad():
        task.model.classifier.bias[1] = 9.0  # every span has the first type
    for item in task.predict(corpus.sentences("dev")[:3]).sentences:
        num_words, longest = len(item.words), config.input.max_span_words
        num_spans = sum(min(longest, num_words - start) for start in range(num_words))
        assert len({entity for entity, _ in (*item.entities, *item.overlapping)}) == num_spans
        assert not any(a.span.overlaps(b.span) for (a, _), (b, _) in combinations(item.entities, 2))
        for entity, score in item.overlapping:
            beside = [other for kept, other in item.entities if kept.span.overlaps(entity.span)]
            assert max(beside) >= score


def test_f1_overlap_is_scored_before_overlaps_are_dropped(corpus: Corpus) -> None:
    """Every gold entity is found, and beside each a span of its type that is a word longer, less likely."""
    predicted = [
        PredictedSentence(
            gold.words,
            tuple((entity, 0.9) for entity in gold.entities),
            overlapping=tuple(
                (Entity(Span(entity.span.start, entity.span.end + 1), entity.type), 0.5)
                for entity in gold.entities
            ),
        )
        for gold in corpus.sentences("dev")
    ]
    rows = score_split(corpus, "dev", Predictions(predicted), "predicted", ("NER",)).scores
    assert [(row["protocol"], row["averaging"]) for row in rows] == list(
        product(("pure", "plmarker"), ("micro", "macro"))
    )
    for row in rows:
        assert (row["f1"], row["f1_overlap"]) == (1.0, pytest.approx(2 / 3))

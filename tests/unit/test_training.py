"""Training on a tiny random encoder: determinism, resumption, streams, selection."""

import json
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from lai_net.config import TrialConfig, with_settings
from lai_net.corpora.loading import load_corpus
from lai_net.errors import DivergedError, InputError
from lai_net.pipeline import Evaluation, evaluate_trial, extract, load_model, train_trial
from lai_net.schema import Corpus, Document, Entity, Span
from lai_net.streams import Streams
from lai_net.training.loop import EpochReport
from lai_net.training.ner_task import without_overlaps


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """The first 24 documents of each split of the embedded corpus."""
    whole = load_corpus("embedded", name="embedded")
    splits: dict[str, tuple[Document, ...]] = {name: docs[:12] for name, docs in whole.splits.items()}
    return Corpus(name="small", splits=splits, labels=whole.labels)


def small(phase: str, encoder: str, **settings: object) -> TrialConfig:
    base = TrialConfig(phase=phase)  # type: ignore[arg-type]
    common = {
        "encoder.name": encoder,
        "training.epochs": 3,
        "training.batch_size": 8,
        "training.encoder_lr": 1e-3,
        "training.head_lr": 3e-3,
        "filter.stage": "text",
        "filter.threshold": 0.0,
    }
    return with_settings(base, common | {key.replace("__", "."): value for key, value in settings.items()})


def run(config: TrialConfig, corpus: Corpus, folder: Path, *, seed: int = 1) -> list[EpochReport]:
    return list(train_trial(config, seed, corpus, folder))


def numbers(reports: list[EpochReport]) -> list[tuple[object, ...]]:
    return [(report.epoch, report.loss, report.dev, report.filter_recall) for report in reports]


def weights(folder: Path) -> bytes:
    return (folder / "best" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_one_seed_gives_one_result_and_another_seed_another(
    phase: str, tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    config = small(phase, tiny_encoder, training__epochs=1, filter__cold_epochs=0)
    first = run(config, corpus, tmp_path / "a")
    torch.rand(7)  # what others draw from the global generator does not matter
    assert numbers(first) == numbers(run(config, corpus, tmp_path / "b"))
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert first[0].loss != run(config, corpus, tmp_path / "c", seed=2)[0].loss


@pytest.mark.parametrize("phase", ["NER", "RE"])
@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_resumed_run_equals_an_unbroken_one(
    phase: str, stop_after: int, tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    config = small(phase, tiny_encoder)
    unbroken = run(config, corpus, tmp_path / "unbroken")
    broken: Iterator[EpochReport] = train_trial(config, 1, corpus, tmp_path / "attempt-1")
    list(islice(broken, stop_after))
    broken.close()  # type: ignore[attr-defined]
    before = sorted((tmp_path / "attempt-1").rglob("*"))
    resumed = list(
        train_trial(config, 1, corpus, tmp_path / "attempt-2", resume_from=[tmp_path / "attempt-1"])
    )
    assert numbers(resumed) == numbers(unbroken)
    assert [report.cpu_s for report in resumed[:stop_after]] != [r.cpu_s for r in unbroken[:stop_after]]
    assert weights(tmp_path / "attempt-2") == weights(tmp_path / "unbroken")
    assert sorted((tmp_path / "attempt-1").rglob("*")) == before


def test_a_finished_training_is_only_reported_again(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    config = small("NER", tiny_encoder, training__epochs=2)
    first = run(config, corpus, tmp_path / "a")
    assert run(config, corpus, tmp_path / "a") == first
    assert list(train_trial(config, 1, corpus, tmp_path / "b", resume_from=[tmp_path / "a"])) == first
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"best"}


def test_a_damaged_checkpoint_is_not_used(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    config = small("NER", tiny_encoder)
    unbroken = run(config, corpus, tmp_path / "unbroken")
    list(islice(train_trial(config, 1, corpus, tmp_path / "a"), 2))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    damaged = next((tmp_path / "a").glob("epoch-*")) / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-10])
    assert numbers(run(config, corpus, tmp_path / "a")) == numbers(unbroken)
    intact = next((tmp_path / "b").glob("epoch-*")) / "state.json"
    intact.write_text("{")
    assert numbers(run(config, corpus, tmp_path / "b")) == numbers(unbroken)


def test_no_epoch_of_the_cold_start_is_selected(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    config = small("NER", tiny_encoder, filter__cold_epochs=2)
    run(config, corpus, tmp_path)
    assert json.loads((tmp_path / "best" / "history.json").read_text())[-1]["epoch"] == 3
    assert {path.name for path in tmp_path.iterdir()} == {"best"}


@pytest.mark.parametrize(
    "settings",
    [
        {"filter__stage": "marker"},
        {"filter__enabled": False, "training__negatives": 10},
        {"input__annotations": False, "graph__layers": 0},
        {"input__attention_mask": "full", "input__max_candidates": 7},
        {"input__attention_mask": "full", "filter__stage": "marker", "input__annotations": False},
        {"input__attention_mask": "vis", "graph__layers": 1},
        {"encoder__freeze": "all"},
        {"encoder__freeze": "embeddings", "encoder__num_layers": 1},
        {"training__precision": "bf16"},
        {"training__selection": "test", "training__selection_averaging": "macro"},
    ],
    ids=str,
)
def test_every_option_trains_and_loads(
    settings: dict[str, object], tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    config = small("NER", tiny_encoder, training__epochs=1, filter__cold_epochs=0, **settings)
    (report,) = run(config, corpus, tmp_path)
    found = evaluate_trial(tmp_path / "best", corpus, config.training.selection)
    assert score_of(found, "NER", config.training.selection_averaging) == pytest.approx(report.dev["f1"])
    assert (report.filter_recall is None) == (not config.filter.enabled)


def score_of(evaluation: Evaluation, task: str, averaging: str = "micro", protocol: str = "pure") -> float:
    (row,) = [
        score
        for score in evaluation.scores
        if (score["task"], score["averaging"], score["protocol"]) == (task, averaging, protocol)
    ]
    return float(row["f1"])


def test_end_to_end_takes_the_entities_of_the_ner_trial(corpus: Corpus, tmp_path: Path) -> None:
    learnt = {"encoder__num_layers": 1, "training__epochs": 5, "filter__cold_epochs": 1}
    run(small("NER", "minilm", **learnt), corpus, tmp_path / "ner")
    run(small("RE", "minilm", **learnt), corpus, tmp_path / "re")
    gold = evaluate_trial(tmp_path / "re" / "best", corpus, "train")
    end_to_end = evaluate_trial(
        tmp_path / "re" / "best", corpus, "train", upstream_dir=tmp_path / "ner" / "best"
    )
    assert (gold.entities, end_to_end.entities) == ("gold", "predicted")
    assert score_of(gold, "RE") == score_of(gold, "RE+") > score_of(end_to_end, "RE") > 0
    assert end_to_end.coverage["relations_unreachable"] > gold.coverage["relations_unreachable"] == 0
    ner, relations = load_model(tmp_path / "ner" / "best"), load_model(tmp_path / "re" / "best")
    found = extract(ner, relations, corpus.sentences("train"))
    assert sum(len(item.relations) for item in found) > 0
    with pytest.raises(InputError, match="a model of phase NER is needed"):
        extract(relations, ner, [])


def test_a_folder_without_a_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trained model there"):
        load_model(tmp_path)


def test_a_diverging_config_is_told(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    config = small("NER", tiny_encoder, training__head_lr=1e38, training__encoder_lr=1e38)
    with pytest.raises(DivergedError, match="lower the learning rates"):
        run(config, corpus, tmp_path)


def test_order_and_dropout_streams_are_apart() -> None:
    streams = Streams(5, torch.device("cpu"))
    streams.start_epoch(1)
    with streams.dropout("encoder"):
        first = torch.rand(3)
    streams.start_epoch(1)
    with streams.dropout("graph"):
        torch.rand(100)
    with streams.dropout("encoder"):
        assert torch.equal(torch.rand(3), first)
        assert not torch.equal(torch.rand(3), first)
    streams.start_epoch(2)
    with streams.dropout("encoder"):
        assert not torch.equal(torch.rand(3), first)
    order = streams.generator("order", 1).permutation(9).tolist()
    assert order == Streams(5, torch.device("cpu")).generator("order", 1).permutation(9).tolist()
    assert order != streams.generator("order", 2).permutation(9).tolist()


@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_layers_and_heads_leave_the_other_parameters_as_they_are(
    phase: str, tiny_encoder: str, corpus: Corpus
) -> None:
    from lai_net.pipeline import _task

    def parameters(**settings: object) -> dict[str, torch.Tensor]:
        config = small(phase, tiny_encoder, **settings)
        task = _task(config, corpus.labels, Streams(1, torch.device("cpu")), "cpu", ())
        return dict(task.model.named_parameters())

    base = parameters(graph__layers=2, graph__heads=4)
    for settings in ({"graph__layers": 0}, {"graph__layers": 5}, {"graph__heads": 6}):
        other = parameters(**settings)
        shared = [name for name in base if name in other and base[name].shape == other[name].shape]
        assert len(shared) > 30
        assert all(torch.equal(base[name], other[name]) for name in shared)


def test_overlaps_of_one_type_are_dropped_by_score() -> None:
    a, b, c = Entity(Span(0, 2), "X"), Entity(Span(1, 3), "X"), Entity(Span(1, 3), "Y")
    assert without_overlaps([(a, 0.5), (b, 0.9), (c, 0.4)]) == [(b, 0.9), (c, 0.4)]

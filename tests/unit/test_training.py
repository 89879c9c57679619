"""Training on a tiny random encoder: determinism, resumption, streams, selection."""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import pytest
import torch

from lai_net.config import TrialConfig
from lai_net.errors import DivergedError, InputError
from lai_net.metrics.scoring import Scores
from lai_net.pipeline import evaluate_trial, train_trial
from lai_net.schema import Corpus, Document, Entity, Labels, Sentence
from lai_net.settings import with_settings
from lai_net.streams import Streams
from lai_net.trained_model import make_task
from lai_net.training.checkpoint import save_model
from lai_net.training.loop import EpochReport, train, training_step
from lai_net.training.ner_task import NerTask
from lai_net.upstream import store_entities
from tests.embedded import small_corpus
from tests.scores import score_of
from tests.unit.training import easily_found, run, small


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return small_corpus(12)


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


@pytest.mark.parametrize(
    ("phase", "stop_after", "settings"),
    [
        ("NER", 1, {}),
        ("NER", 2, {}),
        ("RE", 1, {}),
        ("RE", 2, {}),
        ("NER", 2, {"filter__stage": "marker", "input__attention_mask": "vis"}),
        ("NER", 2, {"input__attention_mask": "vis", "training__precision": "bf16"}),
        ("NER", 2, {"input__attention_mask": "full", "input__max_candidates": 9, "training__negatives": 12}),
        ("NER", 2, {"input__representation": "vanilla", "encoder__freeze": "all"}),
        ("NER", 2, {"input__representation": "marker", "graph__direction": "gdpnet"}),
        ("NER", 2, {"filter__enabled": False, "training__micro_batch_tokens": 200, "graph__layers": 0}),
        ("RE", 2, {"input__representation": "vanilla", "training__activation_checkpointing": True}),
        ("RE", 2, {"input__representation": "marker", "graph__normalization": "symmetric"}),
        ("RE", 2, {"input__annotations": False, "head__kind": "linear", "graph__layers": 0}),
        ("RE", 2, {"input__marker_marker": "type", "head__object_typing": "loss"}),
    ],
    ids=str,
)  # fmt: skip
def test_a_resumed_run_equals_an_unbroken_one(
    phase: str,
    stop_after: int,
    settings: dict[str, object],
    tiny_encoder: str,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpus = easily_found(corpus, monkeypatch)
    config = small(phase, tiny_encoder, **settings)
    unbroken = run(config, corpus, tmp_path / "unbroken")
    assert min(report.dev["f1"] for report in unbroken[stop_after:]) > 0
    broken: Iterator[EpochReport] = train_trial(config, 1, corpus, tmp_path / "attempt-1")
    list(islice(broken, stop_after))
    broken.close()  # type: ignore[attr-defined]
    before = sorted((tmp_path / "attempt-1").rglob("*"))
    resumed = list(
        train_trial(config, 1, corpus, tmp_path / "attempt-2", resume_from=[tmp_path / "attempt-1"])
    )
    assert numbers(resumed) == numbers(unbroken)
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
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"best", "training.json"}


@pytest.mark.parametrize(
    ("by_epoch", "cold", "expected"),
    [
        ([0.1, 0.3, 0.2, 0.3], 0, 2),
        ([0.9, 0.3, 0.2, 0.4], 1, 4),
        ([0.0, 0.0, 0.0, 0.0], 2, 3),
    ],
    ids=["the earliest of the best", "none of the cold start", "any beats none"],
)
@pytest.mark.parametrize("stop_after", [None, 3])
def test_the_best_eligible_epoch_is_kept(
    by_epoch: list[float],
    cold: int,
    expected: int,
    stop_after: int | None,
    tiny_encoder: str,
    corpus: Corpus,
    tmp_path: Path,
) -> None:
    config = small("NER", tiny_encoder, training__epochs=4, filter__cold_epochs=cold)
    weights_by_epoch: dict[int, bytes] = {}

    def go(folder: Path, resume_from: list[Path]) -> Iterator[EpochReport]:
        folder.mkdir()
        streams = Streams(1, torch.device("cpu"))
        task = NerTask(config, corpus.labels, streams, torch.device("cpu"), corpus.sentences("train"))
        epoch = iter(range(len(weights_by_epoch), 4))

        def evaluate() -> tuple[Scores, None]:
            number = next(epoch)
            save_model(task.model, tmp_path / "now", {})
            weights_by_epoch[number + 1] = (tmp_path / "now" / "model.safetensors").read_bytes()
            return Scores(0.0, 0.0, by_epoch[number]), None

        return train(task, evaluate, folder, resume_from=resume_from, description={})

    list(islice(go(tmp_path / "a", []), stop_after))
    folder = tmp_path / "a"
    if stop_after is not None:
        folder = tmp_path / "b"
        list(go(folder, [tmp_path / "a"]))
    assert weights(folder) == weights_by_epoch[expected]
    assert {path.name for path in folder.iterdir()} == {"best"}


@pytest.mark.parametrize(
    ("phase", "splits", "message"),
    [
        ("NER", ("train",), "corpus small has no sentences in dev"),
        ("NER", ("dev", "test"), "corpus small has no sentences in train"),
    ],
)
def test_a_missing_split_is_one_clear_line(
    phase: str, splits: tuple[str, ...], message: str, tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    cut = Corpus(name="small", splits={name: corpus.splits[name] for name in splits}, labels=corpus.labels)
    config = small(phase, tiny_encoder)
    with pytest.raises(InputError, match=message):
        run(config, cut, tmp_path)
    assert run(config, corpus, tmp_path), "the folder is free for a corpus that is whole"


def test_a_corpus_with_nothing_to_learn_is_one_clear_line(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    bare = {
        name: tuple(
            Document(
                document.key, tuple(Sentence(item.words, item.entities[:1]) for item in document.sentences)
            )
            for document in documents
        )
        for name, documents in corpus.splits.items()
    }
    unmarked = {name: (Document("d", (Sentence(("Paris",)),)),) for name in corpus.splits}
    with pytest.raises(InputError, match="holds nothing to learn NER from"):
        run(small("NER", tiny_encoder), Corpus(name="small", splits=unmarked, labels=corpus.labels), tmp_path)
    config = small("RE", tiny_encoder)
    with pytest.raises(InputError, match="holds nothing to learn RE from"):
        run(config, Corpus(name="small", splits=bare, labels=corpus.labels), tmp_path)
    unlabelled = Labels(entities=corpus.labels.entities, relations={})
    with pytest.raises(InputError, match="no labels for RE"):
        run(config, Corpus(name="small", splits=bare, labels=unlabelled), tmp_path)
    untyped = Labels(entities={}, relations=corpus.labels.relations)
    typing = small("RE", tiny_encoder, head__object_typing="types")
    with pytest.raises(InputError, match=r"no entity types for head\.object_typing"):
        run(typing, Corpus(name="small", splits=corpus.splits, labels=untyped), tmp_path)


def test_empty_and_one_word_sentences_train_and_are_predicted(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    odd = (Document("odd", (Sentence(()), Sentence(("Paris",)), *corpus.sentences("train")[:3])),)
    config = small("NER", tiny_encoder, training__batch_size=1)
    splits = {"train": odd, "dev": odd, "test": odd}
    reports = run(config, Corpus(name="odd", splits=splits, labels=corpus.labels), tmp_path)
    assert len(reports) == 3


def test_a_diverging_config_is_told(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    config = small("NER", tiny_encoder, training__head_lr=1e38, training__encoder_lr=1e38)
    with pytest.raises(DivergedError, match=r"epoch \d+; lower training\.encoder_lr or training\.head_lr"):
        run(config, corpus, tmp_path)


def test_a_gradient_that_is_not_finite_changes_no_weight() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.AdamW(model.parameters())
    with pytest.raises(DivergedError, match=r"norm is (nan|inf)"):
        training_step(model, optimizer, [model.weight.abs().sqrt().sum()], clip=1.0)
    assert model.weight.item() == 0.0


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
    def parameters(**settings: object) -> dict[str, torch.Tensor]:
        config = small(phase, tiny_encoder, **settings)
        task = make_task(config, corpus.labels, Streams(1, torch.device("cpu")), "cpu", ())
        return dict(task.model.named_parameters())

    base = parameters(graph__layers=2, graph__heads=4)
    for settings in ({"graph__layers": 0}, {"graph__layers": 5}, {"graph__heads": 6}):
        other = parameters(**settings)
        shared = [name for name in base if name in other and base[name].shape == other[name].shape]
        assert len(shared) > 30
        assert all(torch.equal(base[name], other[name]) for name in shared)


def test_re_is_selected_by_re_plus_on_the_entities_of_an_ner_trial(corpus, tiny_encoder, tmp_path):
    """Of the entities that the NER trial found, every third is lost and every fourth of another type."""
    run(small("NER", tiny_encoder, training__epochs=1, filter__cold_epochs=0), corpus, tmp_path / "ner")
    upstream, number, predicted = tmp_path / "ner" / "best", count(), []
    for sentence in corpus.sentences("dev"):
        kept = [(n, item) for item in sentence.entities if (n := next(number)) % 3]
        entities = tuple(Entity(item.span, item.type if n % 4 else "Other") for n, item in kept)
        predicted.append(Sentence(sentence.words, entities))
    store_entities(upstream, corpus, "dev", "predicted", predicted)
    every = {"head__symmetric_rule": "both", "head__relation_threshold": 0.0}
    config = small("RE", tiny_encoder, training__selection_entities="of-an-ner-trial", **every)
    with pytest.raises(InputError, match="its model was not given"):
        run(config, corpus, tmp_path / "re")
    reports = list(train_trial(config, 1, corpus, tmp_path / "re", upstream_dir=upstream))
    found = evaluate_trial(tmp_path / "re" / "best", corpus, "dev", upstream_dir=upstream)
    wanted = {"task": "RE+", "protocol": "pure", "averaging": "micro"}
    (scores,) = [row for row in found.scores if wanted.items() <= row.items()]
    best = max(reports, key=lambda report: report.dev["f1"])
    assert best.dev == {name: scores[name] for name in best.dev}
    assert score_of(found, "RE") > best.dev["f1"] > 0
    by_gold = run(small("RE", tiny_encoder, **every), corpus, tmp_path / "gold")
    assert [report.loss for report in by_gold] == [report.loss for report in reports], "trained alike"
    assert all(gold.dev != report.dev for gold, report in zip(by_gold, reports, strict=True))


def test_entities_of_another_trial_select_in_re_alone():
    with pytest.raises(InputError, match='= "gold" in NER'):
        with_settings(TrialConfig(phase="NER"), {"training.selection_entities": "x"})

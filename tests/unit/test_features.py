"""States of a fixed encoder: kept, found again, and the same as computed, whatever ends a builder."""

import json
import os
import shutil
import signal
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from lai_net.config import TrialConfig, active_settings
from lai_net.corpora.loading import load_corpus
from lai_net.errors import InputError
from lai_net.model.encoder import build_encoder
from lai_net.model.stored_features import Arrays
from lai_net.pipeline import _task, evaluate_trial, train_trial
from lai_net.schema import Corpus, Document, Sentence
from lai_net.settings import with_settings
from lai_net.streams import Streams
from lai_net.training import features
from lai_net.training.features import FeatureStore
from lai_net.training.ner_task import NerTask
from lai_net.training.re_task import ReTask


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """The first 8 documents of each split of the embedded corpus."""
    whole = load_corpus("embedded", name="embedded")
    splits: dict[str, tuple[Document, ...]] = {name: docs[:8] for name, docs in whole.splits.items()}
    return Corpus(name="small", splits=splits, labels=whole.labels)


def config(phase: str, encoder: str, **settings: object) -> TrialConfig:
    common = {
        "encoder.name": encoder,
        "encoder.freeze": "features",
        "training.epochs": 2,
        "training.batch_size": 8,
        "training.head_lr": 3e-3,
        "filter.threshold": 0.0,
    }
    changes = {key.replace("__", "."): value for key, value in settings.items()}
    return with_settings(TrialConfig(phase=phase), common | changes)  # type: ignore[arg-type]


def task_of(settings: TrialConfig, corpus: Corpus, seed: int = 1) -> NerTask | ReTask:
    streams = Streams(seed, torch.device("cpu"))
    return _task(settings, corpus.labels, streams, "cpu", corpus.sentences("train"))


def share(task: NerTask | ReTask, folder: Path) -> Path:
    """Have the task read its training split's states from the folder; returns where they are."""
    before = set(folder.glob("[!.]*"))
    first_round = task.model.first_round
    with task.autocast():
        first_round.features.append(
            FeatureStore(folder).states(task.config, task.marked_texts(), first_round)
        )
    (made,) = set(folder.glob("[!.]*")) - before
    return made


def epoch_losses(task: NerTask | ReTask) -> list[float]:
    task.streams.start_epoch(1)
    task.model.train()
    return [loss.item() for step in task.steps(1) for loss in step]


def forbid_encoding(task: NerTask | ReTask, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("encode", "encode_pairs"):
        monkeypatch.setattr(task.model.first_round.encoder, name, None)


READINGS = [
    {},
    {"filter__stage": "text"},
    {"filter__stage": "text", "training__negatives": 5},
    {"input__attention_mask": "vis"},
    {"input__annotations": False},
    {"input__representation": "vanilla"},
    {"input__context_tokens": 40},
    {"head__kind": "linear", "graph__layers": 0},
]


@pytest.mark.parametrize("phase", ["NER", "RE"])
@pytest.mark.parametrize("settings", READINGS, ids=str)
def test_stored_states_give_the_same_losses_without_the_encoder(
    phase: str,
    settings: dict[str, object],
    tiny_encoder: str,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = task_of(config(phase, tiny_encoder, **settings), corpus)
    assert task.config.has_constant_states
    computed = epoch_losses(task)
    share(task, tmp_path)
    forbid_encoding(task, monkeypatch)
    assert epoch_losses(task) == pytest.approx(computed, abs=1e-6)


@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_stored_logits_of_a_batch_are_those_that_are_computed(
    phase: str, tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    task = task_of(config(phase, tiny_encoder, input__attention_mask="vis"), corpus)
    sentences = corpus.sentences("train")
    before = task.predict(sentences)
    share(task, tmp_path)
    after = task.predict(sentences)
    for old, new in zip(before.sentences, after.sentences, strict=True):
        assert new.sentence == old.sentence
        for (_, score), (_, other) in zip(
            (*old.entities, *old.relations), (*new.entities, *new.relations), strict=True
        ):
            assert other == pytest.approx(score, abs=1e-6)


def test_bf16_is_stored_as_such_and_gives_what_bf16_gives(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    task = task_of(config("NER", tiny_encoder, training__precision="bf16"), corpus)
    computed = epoch_losses(task)
    made = share(task, tmp_path)
    assert np.load(made / "pairs.npy").dtype.itemsize == 2
    assert epoch_losses(task) == pytest.approx(computed, abs=5e-3)


def test_what_is_not_stored_is_computed(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    task = task_of(config("NER", tiny_encoder), corpus)
    known, unknown = corpus.sentences("train"), corpus.sentences("dev")
    expected = [task.predict(sentences) for sentences in (known, unknown)]
    short = task_of(config("NER", tiny_encoder, input__max_span_words=2), corpus)
    share(short, tmp_path)
    task.model.first_round.features = short.model.first_round.features  # texts, but not all candidates
    text, candidates = torch.tensor([[5, 6, 7]]), short.marked_texts()
    stored = task.model.first_round.features[0]
    assert stored.find(text, torch.ones(1, 3, dtype=torch.bool)) is None
    found = stored.find(
        torch.tensor(candidates.ids[0]).unsqueeze(0), torch.ones(1, len(candidates.ids[0])).bool()
    )
    assert found is not None
    bounds, every = torch.tensor([[[1, 1], [1, 5]]]), torch.ones(1, 2, dtype=torch.bool)
    assert found.pairs(bounds, every) is None
    assert found.pairs(bounds, torch.tensor([[True, False]])) is not None, "padding may be anything"
    assert [task.predict(sentences) for sentences in (known, unknown)] == expected


def test_a_split_without_candidates_is_computed(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    task = task_of(config("NER", tiny_encoder), corpus)
    empty = [Sentence(())]
    expected = task.predict(empty)
    task.model.first_round.features = [
        FeatureStore(tmp_path).states(task.config, task.marked_texts(empty), task.model.first_round)
    ]
    assert task.predict(empty) == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"input__attention_mask": "full"},
        {"input__marker_marker": "type"},
        {"input__text_sees_markers": True},
        {"input__representation": "marker", "filter__stage": "text"},
        {"encoder__freeze": "all"},
    ],
    ids=str,
)
def test_states_that_depend_on_more_are_not_kept(
    settings: dict[str, object], tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    changed = config("NER", tiny_encoder, training__epochs=1, filter__cold_epochs=0, **settings)
    assert not changed.has_constant_states
    list(train_trial(changed, 1, corpus, tmp_path / "work", features=FeatureStore(tmp_path / "features")))
    assert not (tmp_path / "features").exists()


def test_fixed_features_train_nothing_of_the_encoder_and_know_no_seed(
    tiny_encoder: str, corpus: Corpus
) -> None:
    settings = config("NER", tiny_encoder)
    encoders = [task_of(settings, corpus, seed).model.first_round.encoder.train() for seed in (1, 2)]
    assert not any(parameter.requires_grad for parameter in encoders[0].parameters())
    assert torch.equal(encoders[0].markers.weight, encoders[1].markers.weight)
    assert not any(module.training for module in encoders[0].modules())
    own = build_encoder(with_settings(settings, {"encoder.freeze": "all"}).encoder, mask_id=1, entity_id=2)
    assert own.train().training
    assert own.markers.weight.requires_grad


def test_the_encoders_learning_rate_does_not_act(tiny_encoder: str) -> None:
    rates = [config("NER", tiny_encoder, training__encoder_lr=rate) for rate in (1e-5, 1e-3)]
    assert active_settings(rates[0]) == active_settings(rates[1])


KEPT_APART = [
    {"encoder__num_layers": 1},
    {"training__precision": "bf16"},
    {"input__attention_mask": "vis"},
    {"input__annotations": False},
    {"input__representation": "vanilla"},
    {"input__max_text_tokens": 100},
    {"input__max_span_words": 3},
    {"input__context_tokens": 30},
]
SHARED = [
    {"filter__stage": "text"},
    {"filter__enabled": False},
    {"graph__layers": 0},
    {"head__dropout": 0.5},
    {"training__epochs": 7},
    {"training__batch_size": 3},
    {"training__negatives": 9},
    {"training__encoder_lr": 0.1},
    {"input__max_candidates": 5},
    {"encoder__num_layers": 2},
]


def test_a_folder_is_found_by_all_that_its_states_depend_on_and_by_nothing_else(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def use(settings: TrialConfig, seed: int = 1, of: Corpus = corpus) -> str:
        task = task_of(settings, of, seed)
        with task.autocast():
            FeatureStore(tmp_path).states(settings, task.marked_texts(), task.model.first_round)
        return max(tmp_path.glob("[!.]*"), key=lambda path: path.stat().st_mtime_ns).name

    base = use(config("NER", tiny_encoder))
    assert [use(config("NER", tiny_encoder, **changes)) for changes in SHARED] == [base] * len(SHARED)
    assert use(config("NER", tiny_encoder), seed=2) == base
    others = {use(config("NER", tiny_encoder, **changes)) for changes in KEPT_APART}
    others.add(use(config("RE", tiny_encoder)))
    phrases = {name: f"some {phrase}" for name, phrase in corpus.labels.entities.items()}
    labels = type(corpus.labels)(entities=phrases, relations=corpus.labels.relations)
    others.add(use(config("NER", tiny_encoder), of=Corpus(name="o", splits=corpus.splits, labels=labels)))
    swapped = {"train": corpus.splits["dev"], "dev": corpus.splits["dev"]}
    others.add(use(config("NER", tiny_encoder), of=Corpus(name="o", splits=swapped, labels=corpus.labels)))
    monkeypatch.setattr(features, "FORMAT", features.FORMAT + 1)
    others.add(use(config("NER", tiny_encoder)))
    monkeypatch.setattr(features, "FORMAT", 1)
    monkeypatch.setattr(features, "encoder_id", lambda name: "another")
    others.add(use(config("NER", tiny_encoder)))
    assert len(others - {base}) == len(KEPT_APART) + 5


def test_other_code_or_another_device_finds_no_states_of_this(
    tiny_encoder: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config("NER", tiny_encoder, input__annotations=False)
    task = task_of(settings, corpus)
    texts, first_round = task.marked_texts(), task.model.first_round
    described = [features._description(settings, texts, first_round)]
    for module in (features.torch, features.transformers):
        with monkeypatch.context() as patch:
            patch.setattr(module, "__version__", "another")
            described.append(features._description(settings, texts, first_round))
    described.append(features._description(settings, texts, first_round.to("meta")))
    assert len({json.dumps(item) for item in described}) == 4


def test_trials_share_and_evaluations_too(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    for number, settings in enumerate([{}, {"graph__layers": 0}, {"filter__stage": "text"}]):
        work = tmp_path / str(number)
        list(train_trial(config("NER", tiny_encoder, **settings), number, corpus, work, features=store))
        stored = evaluate_trial(work / "best", corpus, "test", features=store)
        assert stored.scores == evaluate_trial(work / "best", corpus, "test").scores
    assert len(list(store.folder.glob("*/features.json"))) == 3, "train, dev and test"


def test_a_resumed_run_equals_an_unbroken_one(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    settings, store = config("NER", tiny_encoder, training__epochs=3), FeatureStore(tmp_path / "features")
    unbroken = list(train_trial(settings, 1, corpus, tmp_path / "unbroken", features=store))
    broken = train_trial(settings, 1, corpus, tmp_path / "attempt-1", features=store)
    list(islice(broken, 1))
    broken.close()  # type: ignore[attr-defined]
    for path in sorted(store.folder.rglob("*.npy")):
        path.unlink()  # the second attempt runs on another node
    for path in sorted(store.folder.glob("[!.]*")):
        (path / "features.json").unlink()
        path.rmdir()
    resumed = list(
        train_trial(
            settings,
            1,
            corpus,
            tmp_path / "attempt-2",
            resume_from=[tmp_path / "attempt-1"],
            features=store,
        )
    )
    assert [(r.epoch, r.loss, r.dev) for r in resumed] == [(r.epoch, r.loss, r.dev) for r in unbroken]
    weights = [tmp_path / name / "best" / "model.safetensors" for name in ("unbroken", "attempt-2")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_states_are_mapped_not_loaded(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    task = task_of(config("NER", tiny_encoder), corpus)
    made = share(task, tmp_path)
    stored = task.model.first_round.features[0]
    for array in (stored.tokens, stored.pairs, stored.labels):
        assert array is not None
        assert isinstance(array.base, np.memmap)
        assert not array.flags.writeable
    described = json.loads((made / "features.json").read_text())
    assert stored.pairs is not None
    assert described["num_candidates"] == len(stored.pairs)


def test_a_builder_that_was_killed_is_followed_by_one_that_starts_anew(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    task = task_of(config("NER", tiny_encoder), corpus)
    child = os.fork()
    if not child:  # dies with the first array written and the lock held
        features.np.save = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        share(task, tmp_path)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    (left,) = tmp_path.glob(".*.partial")
    made = share(task, tmp_path)
    assert not left.exists()
    assert {path.name for path in made.iterdir()} == {
        "tokens.npy",
        "pairs.npy",
        "labels.npy",
        "features.json",
    }


def test_of_two_builders_one_builds(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    task = task_of(config("NER", tiny_encoder), corpus)
    log = tmp_path / "log"
    log.touch()
    children = []
    for _ in range(2):
        if not (child := os.fork()):
            write = features._write_states

            def logged(*arguments: object, write: object = write) -> None:
                with log.open("a") as file:
                    file.write("built\n")
                write(*arguments)  # type: ignore[operator]

            features._write_states = logged  # type: ignore[assignment]
            texts, first_round = task.marked_texts(), task.model.first_round
            try:
                FeatureStore(tmp_path / "features").states(task.config, texts, first_round)
            except BaseException:
                os._exit(1)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert log.read_text() == "built\n"


class Shelf:
    """A carrier within one process."""

    def __init__(self) -> None:
        self.kept: dict[str, Arrays] = {}
        self.calls: list[str] = []

    def fetch(self, key: str) -> Arrays | None:
        self.calls.append("fetch")
        return self.kept.get(key)

    def offer(self, key: str, arrays: Arrays) -> None:
        self.calls.append("offer")
        self.kept[key] = arrays


def test_what_a_carrier_brings_is_read_in_place_of_the_folder(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    task, shelf = task_of(config("NER", tiny_encoder), corpus), Shelf()
    asked = (task.config, task.marked_texts(), task.model.first_round)
    store = FeatureStore(tmp_path, shelf)
    made = store.states(*asked)
    assert shelf.calls == ["fetch", "fetch", "offer"], "again under the lock"
    (place,) = tmp_path.glob("*/features.json")
    shutil.rmtree(place.parent)
    brought = store.states(*asked)
    assert brought.tokens is made.tokens
    assert list(tmp_path.glob("*/features.json")) == [], "nothing was computed again"
    ((key, arrays),) = shelf.kept.items()
    shelf.kept[key] = {**arrays, "tokens.npy": arrays["tokens.npy"][:-1]}
    with pytest.raises(
        InputError, match=r"tokens.npy has \d+ rows, but its texts have \d+; delete the folder"
    ):
        store.states(*asked)


def test_a_later_run_carries_what_the_folder_has(tiny_encoder: str, corpus: Corpus, tmp_path: Path) -> None:
    task, shelf = task_of(config("NER", tiny_encoder), corpus), Shelf()
    asked = (task.config, task.marked_texts(), task.model.first_round)
    FeatureStore(tmp_path).states(*asked)
    (place,) = tmp_path.glob("*/features.json")
    before = place.stat().st_ino
    FeatureStore(tmp_path, shelf).states(*asked)
    assert place.stat().st_ino == before
    assert list(shelf.kept) == [place.parent.name]

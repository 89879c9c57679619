"""Where states of a fixed encoder are kept: found again, shared, carried, whatever ends a builder."""

import json
import os
import shutil
import signal
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from lai_net.config import TrialConfig
from lai_net.errors import InputError
from lai_net.model.stored_features import Arrays
from lai_net.pipeline import evaluate_trial, train_trial
from lai_net.schema import Corpus, Document, Sentence
from lai_net.training import features
from lai_net.training.features import FeatureStore
from tests.scores import score_of
from tests.unit.storing import config, share, task_of
from tests.unit.training import easily_found

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
    longer = {name: f"some {phrase}" for name, phrase in corpus.labels.entities.items()}
    turned = {name: " ".join(reversed(phrase.split())) for name, phrase in corpus.labels.entities.items()}
    one, two, *_ = corpus.labels.entities
    *first, word = corpus.labels.entities[one].split()
    cut_elsewhere = {one: " ".join(first), two: f"{word} {corpus.labels.entities[two]}"}
    for phrases in (longer, turned, {**corpus.labels.entities, **cut_elsewhere}):
        labels = type(corpus.labels)(entities=phrases, relations=corpus.labels.relations)
        of = Corpus(name="o", splits=corpus.splits, labels=labels)
        others.add(use(config("NER", tiny_encoder), of=of))
    swapped = {"train": corpus.splits["dev"], "dev": corpus.splits["dev"]}
    others.add(use(config("NER", tiny_encoder), of=Corpus(name="o", splits=swapped, labels=corpus.labels)))
    with monkeypatch.context() as patch:
        patch.setattr(features, "FORMAT", features.FORMAT + 1)
        others.add(use(config("NER", tiny_encoder)))
    monkeypatch.setattr(features, "encoder_id", lambda name: "another")
    others.add(use(config("NER", tiny_encoder)))
    assert len(others - {base}) == len(KEPT_APART) + 7


@pytest.mark.parametrize(
    ("settings", "first", "second"),
    [
        ({"input__representation": "vanilla"}, ("x", "y"), ("x", "z")),
        ({}, ("x-", "y", "z"), ("x", "-y", "z")),
    ],
    ids=["other words", "the same pieces, but other candidates"],
)
def test_as_many_words_and_candidates_are_not_the_same(
    settings: dict[str, object],
    first: tuple[str, ...],
    second: tuple[str, ...],
    tiny_encoder: str,
    corpus: Corpus,
) -> None:
    chosen, described = config("NER", tiny_encoder, **settings), []
    for words in (first, second):
        splits = {"train": (Document("d", (Sentence(words),)),)}
        task = task_of(chosen, Corpus(name="o", splits=splits, labels=corpus.labels))
        described.append(features._description(chosen, task.marked_texts(), task.model.first_round))
    different = {name for name, value in described[0].items() if value != described[1][name]}
    assert different == ({"texts"} if settings else {"candidates"})


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


def test_trials_share_and_evaluations_too(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = easily_found(corpus, monkeypatch)
    store = FeatureStore(tmp_path / "features")
    for number, settings in enumerate([{}, {"graph__layers": 0}, {"filter__stage": "text"}]):
        work = tmp_path / str(number)
        list(train_trial(config("NER", tiny_encoder, **settings), number, corpus, work, features=store))
        stored = evaluate_trial(work / "best", corpus, "test", features=store)
        assert stored.scores == evaluate_trial(work / "best", corpus, "test").scores
        assert score_of(stored, "NER") > 0
    assert len(list(store.folder.glob("*/features.json"))) == 3, "train, dev and test"


def test_a_resumed_run_equals_an_unbroken_one(
    tiny_encoder: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = easily_found(corpus, monkeypatch)
    settings, store = config("NER", tiny_encoder, training__epochs=3), FeatureStore(tmp_path / "features")
    unbroken = list(train_trial(settings, 1, corpus, tmp_path / "unbroken", features=store))
    assert unbroken[-1].dev["f1"] > 0
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

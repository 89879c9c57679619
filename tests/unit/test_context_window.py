"""`input.context_tokens`: a sentence read in a window of its document."""

import re
from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from lai_net.active_settings import active_settings
from lai_net.config import Phase, TrialConfig
from lai_net.corpora.annotations import load_labels, shipped_annotations
from lai_net.corpora.loading import load_corpus
from lai_net.errors import InputError
from lai_net.extractor import LaiNet
from lai_net.inputs.batching import bucketed_batches, sorted_batches
from lai_net.inputs.ner_inputs import NerExample, ner_batch, ner_examples
from lai_net.inputs.re_inputs import PairLabels, candidate_entities, re_batch, re_examples
from lai_net.inputs.tokenization import WordTokenizer, word_tokenizer
from lai_net.model.ner_model import NerOutput
from lai_net.pipeline import evaluate_trial, train_trial
from lai_net.schema import Corpus, Document, Sentence, iterate_sentences
from lai_net.settings import with_settings
from lai_net.streams import Streams
from lai_net.trained_model import load_model
from lai_net.training.ner_task import NerTask
from lai_net.training.re_task import ReTask
from lai_net.training.task import Predictions
from tests.configs import config_with

CPU = torch.device("cpu")


@pytest.fixture
def tokenizer(tiny_encoder: str) -> WordTokenizer:
    return word_tokenizer(tiny_encoder)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Documents of 1, 2, 3, 4 sentences of the embedded corpus in each split."""
    whole = load_corpus("embedded", name="embedded")
    splits = {}
    for name in whole.splits:
        sentences = whole.sentences(name)
        cuts = [0, 1, 3, 6, 10]
        splits[name] = tuple(
            Document(f"{name}-{start}", tuple(sentences[start:end])) for start, end in pairwise(cuts)
        )
    return Corpus(name="documents", splits=splits, labels=whole.labels)


def config(phase: Phase, encoder: str, **settings: object) -> TrialConfig:
    common = {
        "encoder.name": encoder, "training.epochs": 1, "training.batch_size": 4, "filter.cold_epochs": 0,
        "input.context_tokens": 100,
    }  # fmt: skip
    return config_with(phase, common, **settings)


def grown_window(left: list[int], own: list[int], right: list[int], size: int) -> tuple[list[int], int]:
    """What grows around a sentence piece by piece, right side first, and where the sentence starts in it."""
    window, start = list(own), 0
    left, right = list(left), list(right)
    while len(window) < size and (left or right):
        if right:
            window.append(right.pop(0))
        if left and len(window) < size:
            window.insert(0, left.pop())
            start += 1
    return window, start


def test_a_window_grows_evenly_around_the_sentence(tokenizer: WordTokenizer) -> None:
    rng = np.random.default_rng(5)
    vocabulary = ["graph", "transformers", "co-occurring", "chemistry", "unbelievably", "of", "naïve"]
    for _ in range(60):
        sentences = [
            Sentence(tuple(rng.choice(vocabulary, rng.integers(0, 7)).tolist()))
            for _ in range(rng.integers(1, 8))
        ]
        placed = list(iterate_sentences([Document("d", tuple(sentences))]))
        pieces = [tokenizer.text(sentence.words, 999).ids[1:-1] for sentence in sentences]
        size = int(rng.integers(1, 60))
        for number, sentence in enumerate(placed):
            found = tokenizer.window(sentence, 999, size)
            window, start = grown_window(
                [*chain(*pieces[:number])], pieces[number], [*chain(*pieces[number + 1 :])], size
            )
            assert found.ids == [tokenizer.cls_id, *window, tokenizer.sep_id]
            alone = tokenizer.text(sentence.words, 999)
            assert found.bounds == [(first + start, last + start) for first, last in alone.bounds]


def test_sentences_of_a_document_that_fits_have_one_text(tokenizer: WordTokenizer, corpus: Corpus) -> None:
    sentences = corpus.sentences("train")
    examples, _ = ner_examples(
        sentences, tokenizer, list(corpus.labels.entities),
        max_text_tokens=150, max_span_words=8, context_tokens=148,
    )  # fmt: skip
    assert [example.text for example in examples] == [0, 1, 1, 3, 3, 3, 6, 6, 6, 6]
    batch = ner_batch(examples, tokenizer.pad_id)
    assert len(batch.ids) == 4
    assert batch.text_rows.tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    alone, _ = ner_examples(
        sentences, tokenizer, list(corpus.labels.entities), max_text_tokens=150, max_span_words=8
    )
    assert [example.text for example in alone] == list(range(10))
    for example, bare in zip(examples, alone, strict=True):
        assert np.array_equal(example.spans, bare.spans)
        assert np.array_equal(example.targets, bare.targets)
        for (first, last), (bare_first, bare_last) in zip(example.bounds, bare.bounds, strict=True):
            assert example.ids[first : last + 1] == bare.ids[bare_first : bare_last + 1]


def test_a_sentence_that_fills_its_window_or_is_cut_has_no_context(tokenizer: WordTokenizer) -> None:
    words = ("graph", "networks", "beat", "unbelievably")
    _, middle, _ = iterate_sentences([Document("d", tuple(Sentence(words) for _ in range(3)))])
    alone = tokenizer.text(words, 999)
    assert tokenizer.window(middle, 999, len(alone.ids) - 2) == alone
    assert tokenizer.window(middle, 999, 0) == alone
    limit = len(alone.ids) - 1
    assert tokenizer.window(middle, limit, limit - 2) == tokenizer.text(words, limit)


def test_where_a_sentence_stands_is_no_part_of_what_it_is() -> None:
    bare = Sentence(("a", "b"))
    first, second = iterate_sentences([Document("d", (bare, bare))])
    assert first == second == bare
    assert (second.document, second.offset) == (("a", "b", "a", "b"), 2)


def class_logits_by_span(output: NerOutput, row: int) -> dict[int, torch.Tensor]:
    kept = zip(output.kept[row].tolist(), output.kept_valid[row].tolist(), strict=True)
    return {span: output.class_logits[row, column] for column, (span, real) in enumerate(kept) if real}


def logits(task: NerTask, examples: list[NerExample]) -> NerOutput:
    with torch.inference_mode():
        return task.model.eval()(ner_batch(examples, task.tokenizer.pad_id), task.streams)


@pytest.mark.parametrize("mask", ["inv", "vis", "full"])
@pytest.mark.parametrize("stage", ["marker", "text", None])
def test_shared_texts_give_the_logits_of_one_sentence_at_a_time(
    mask: str, stage: str | None, tiny_encoder: str, corpus: Corpus
) -> None:
    settings = {"filter__stage": stage} if stage else {"filter__enabled": False}
    chosen = config("NER", tiny_encoder, input__attention_mask=mask, **settings)
    task = NerTask(chosen, corpus.labels, Streams(1, CPU), CPU, corpus.sentences("train"))
    examples = task.examples
    together = logits(task, examples)
    for row, example in enumerate(examples):
        alone = logits(task, [example])
        if stage:
            assert together.filter_logits is not None
            assert alone.filter_logits is not None
            spans = len(example.spans)
            difference = together.filter_logits[row, :spans] - alone.filter_logits[0, :spans]
            assert difference.abs().max() < 1e-4
        expected, found = class_logits_by_span(alone, 0), class_logits_by_span(together, row)
        assert expected.keys() == found.keys()
        for span in expected:
            assert (expected[span] - found[span]).abs().max() < 1e-4


def test_inference_reads_every_document_once(
    tiny_encoder: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = config("NER", tiny_encoder, input__annotations=False)
    task = NerTask(chosen, corpus.labels, Streams(1, CPU), CPU)
    encoder, encode, texts = task.model.first_round.encoder, task.model.first_round.encoder.encode, []

    def counting(ids: torch.Tensor, *rest: torch.Tensor) -> object:
        texts.append(len(ids))
        return encode(ids, *rest)

    monkeypatch.setattr(encoder, "encode", counting)
    task.predict(corpus.sentences("train"))
    assert sum(texts) == 4


def test_the_context_acts(tiny_encoder: str, corpus: Corpus) -> None:
    found = [
        NerTask(
            config("NER", tiny_encoder, input__context_tokens=size), corpus.labels, Streams(1, CPU), CPU
        ).predict(corpus.sentences("train")).sentences
        for size in (0, 100)
    ]  # fmt: skip
    (alone, whole) = ([[score for _, score in item.entities] for item in items] for items in found)
    assert alone[0] == whole[0], "a document of one sentence has no context"
    assert alone[1:] != whole[1:]


def test_re_instances_stand_in_the_window(tokenizer: WordTokenizer, corpus: Corpus) -> None:
    sentences = corpus.sentences("train")
    entities = [candidate_entities(sentence) for sentence in sentences]
    classes = PairLabels.of(corpus.labels)
    inside, _ = re_examples(sentences, entities, tokenizer, classes, max_text_tokens=80, context_tokens=40)
    alone, _ = re_examples(sentences, entities, tokenizer, classes, max_text_tokens=80)
    assert len(inside) == len(alone) > 10
    for found, bare in zip(inside, alone, strict=True):
        assert found.targets == bare.targets
        assert len(found.ids) <= 40 + 4
        start, end = (bound for bound in found.subject_bounds)
        bare_start, bare_end = bare.subject_bounds
        assert found.ids[start : end + 1] == bare.ids[bare_start : bare_end + 1]
        for (first, last), (bare_first, bare_last) in zip(found.bounds, bare.bounds, strict=True):
            assert found.ids[first : last + 1] == bare.ids[bare_first : bare_last + 1]
    assert any(len(found.ids) > len(bare.ids) for found, bare in zip(inside, alone, strict=True))
    assert re_batch(inside, tokenizer.pad_id).bounds.max() < 44


@pytest.fixture(scope="module")
def models(tiny_encoder: str, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[Phase, Path]:
    """Trained for an epoch in windows of 100 (NER) and 60 (RE) word pieces."""
    folder = tmp_path_factory.mktemp("models")
    configs: dict[Phase, TrialConfig] = {
        "NER": config("NER", tiny_encoder),
        "RE": config("RE", tiny_encoder, input__context_tokens=60),
    }
    for phase, chosen in configs.items():
        assert len(list(train_trial(chosen, 1, corpus, folder / phase))) == 1
    return {phase: folder / phase / "best" for phase in configs}


def test_entities_go_on_to_re_with_their_context(
    corpus: Corpus, models: dict[Phase, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    predict, read = ReTask.predict, []

    def recording(task: ReTask, sentences: Sequence[Sentence], **options: bool) -> Predictions:
        read.append(sentences)
        return predict(task, sentences, **options)

    monkeypatch.setattr(ReTask, "predict", recording)
    sentences = corpus.sentences("train")
    evaluate_trial(models["RE"], corpus, "train")
    evaluate_trial(models["RE"], corpus, "train", upstream_dir=models["NER"])
    LaiNet(load_model(models["NER"]), load_model(models["RE"])).predict(sentences)
    assert len(read) == 3
    for given in read:
        assert [(item.document, item.offset) for item in given] == [
            (sentence.document, sentence.offset) for sentence in sentences
        ]


def test_a_window_is_a_setting_of_the_trial_and_fits_the_text() -> None:
    for phase in ("NER", "RE"):
        base = TrialConfig(phase=phase)  # type: ignore[arg-type]
        assert "context_tokens" not in active_settings(base)["input"]
        wide = with_settings(base, {"input.context_tokens": 100})
        assert active_settings(wide)["input"]["context_tokens"] == 100
    with pytest.raises(InputError, match=r"input.context_tokens <= input.max_text_tokens - 2"):
        with_settings(base, {"input.context_tokens": 149})


def test_plmarkers_windows_fit_a_bert_without_annotations(tiny_encoder: str, corpus: Corpus) -> None:
    settings = {"input__annotations": False, "input__max_text_tokens": 512, "input__context_tokens": 510}
    NerTask(config("NER", tiny_encoder, **settings), corpus.labels, Streams(1, CPU), CPU)
    with pytest.raises(InputError, match="takes 514 positions"):
        ReTask(config("RE", tiny_encoder, **settings), corpus.labels, Streams(1, CPU), CPU)


@pytest.mark.parametrize("annotations", shipped_annotations())
def test_the_window_of_the_readme_fits_beside_annotations(tiny_encoder: str, annotations: str) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    wide = {name: int(value) for name, value in re.findall(r"`(input\.\w+) = (\d+)`", readme)}
    assert "input.context_tokens" in wide
    labels = load_labels(annotations)
    NerTask(with_settings(config("NER", tiny_encoder), wide), labels, Streams(1, CPU), CPU)
    ReTask(with_settings(config("RE", tiny_encoder), wide), labels, Streams(1, CPU), CPU)


def test_batches_keep_groups_together() -> None:
    groups = [index // 5 for index in range(100)]
    lengths = [10 + group % 7 for group in groups]
    batches = bucketed_batches(lengths, 10, np.random.default_rng(1), groups)
    assert sorted(index for batch in batches for index in batch) == list(range(100))
    assert len(batches) == 10
    assert all(len({groups[index] for index in batch}) == 2 for batch in batches)
    for batch in sorted_batches(lengths, 120, groups):
        members = {groups[index] for index in batch}
        assert len(batch) == 5 * len(members)
        assert len(members) == 1 or sum(lengths[index] for index in batch) <= 120

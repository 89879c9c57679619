import logging

import numpy as np
import pytest

from lai_net.inputs import tokenization
from lai_net.inputs.batching import bucketed_batches, padded, sorted_batches
from lai_net.inputs.ner_inputs import ner_examples
from lai_net.inputs.re_inputs import PairLabels, candidate_entities, re_batch, re_examples
from lai_net.inputs.tokenization import WordTokenizer, word_tokenizer
from lai_net.schema import Entity, Labels, Relation, Sentence, Span

A, B, C = Entity(Span(0, 2), "X"), Entity(Span(3, 4), "Y"), Entity(Span(5, 6), "X")
WORDS = ("graph", "networks", "beat", "transformers", "on", "chemistry")
LABELS = Labels(
    entities={"X": "thing", "Y": "other thing"},
    relations={"USES": "uses", "LIKE": "is like"},
    symmetric=frozenset({"LIKE"}),
)


@pytest.fixture
def tokenizer(tiny_encoder: str) -> WordTokenizer:
    return word_tokenizer(tiny_encoder)


def test_text_is_cut_before_the_first_word_that_does_not_fit(tokenizer: WordTokenizer) -> None:
    whole = tokenizer.text(WORDS, 50)
    assert len(whole.bounds) == len(WORDS)
    assert whole.ids[0] == tokenizer.cls_id
    assert whole.ids[-1] == tokenizer.sep_id
    cut = tokenizer.text(WORDS, whole.bounds[3][1] + 2)
    assert cut.bounds == whole.bounds[:4]
    assert cut.ids == [*whole.ids[: whole.bounds[3][1] + 1], tokenizer.sep_id]


def test_words_equal_the_tokenizer_of_the_encoder(tokenizer: WordTokenizer, tiny_encoder: str) -> None:
    from transformers import AutoTokenizer

    words = ["Unbelievably", "co-occurring", "naïve", "42%", "(", "\u200b"]
    theirs = AutoTokenizer.from_pretrained(tiny_encoder)(words[:-1], is_split_into_words=True)
    assert tokenizer.text(words[:-1], 99).ids == theirs["input_ids"]
    assert len(tokenizer.text(words, 99).bounds) == len(words)


def test_words_are_remembered_up_to_a_number(
    tokenizer: WordTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenization, "_MOST_WORDS", 5)
    own = WordTokenizer(tokenizer._tokenizer, tokenizer.vocab_size)
    for number in range(20):
        assert own.pieces(f"w{number}") == tokenizer.pieces(f"w{number}")
        assert len(own._pieces) <= 5


def test_a_long_word_is_cut_without_a_word_of_transformers(
    tokenizer: WordTokenizer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    assert tokenizer.text(["a-" * 600], max_tokens=256).bounds == []
    assert caplog.text == ""


def test_every_short_span_is_a_candidate_and_loss_is_counted(tokenizer: WordTokenizer) -> None:
    long = Entity(Span(0, 5), "X")
    twice = Entity(Span(3, 4), "X")
    sentence = Sentence(WORDS, (A, A, B, twice, long))
    (example,), coverage = ner_examples(
        [sentence], tokenizer, ["X", "Y"], max_text_tokens=99, max_span_words=3
    )
    assert example.spans.tolist() == [
        [start, end] for start in range(6) for end in range(start + 1, min(start + 3, 6) + 1)
    ]
    targets = {
        tuple(span): target for span, target in zip(example.spans.tolist(), example.targets, strict=True)
    }
    assert {span: target for span, target in targets.items() if target} == {(0, 2): 1, (3, 4): 2}
    assert coverage == {"sentences": 1, "sentences_cut": 0, "entities": 4, "entities_unreachable": 2}


def test_entities_beyond_the_text_limit_are_counted(tokenizer: WordTokenizer) -> None:
    (example,), coverage = ner_examples(
        [Sentence(WORDS, (A, C))], tokenizer, ["X"], max_text_tokens=7, max_span_words=8
    )
    assert example.num_words < 6
    assert coverage["sentences_cut"] == 1
    assert coverage["entities_unreachable"] == 1


def test_sampling_keeps_gold_and_order(tokenizer: WordTokenizer) -> None:
    (example,), _ = ner_examples(
        [Sentence(WORDS, (A, B))], tokenizer, ["X", "Y"], max_text_tokens=99, max_span_words=8
    )
    sampled = example.subset(4, np.random.default_rng(0))
    assert len(sampled.targets) == 6
    assert sorted(sampled.targets[sampled.targets > 0]) == [1, 2]
    rows = [example.spans.tolist().index(span) for span in sampled.spans.tolist()]
    assert rows == sorted(rows)


def test_pair_classes_follow_plmarkers_order() -> None:
    classes = PairLabels.of(LABELS)
    assert classes.forward == {"LIKE": 1, "USES": 2}
    assert classes.inverse == {"LIKE": 1, "USES": 3}
    assert classes.num_classes == 4
    assert classes.reversed_classes() == [0, 1, 3, 2]


def test_an_instance_has_solid_markers_around_its_subject(tokenizer: WordTokenizer) -> None:
    relations = (Relation(A, B, "USES"), Relation(B, C, "LIKE"))
    sentence = Sentence(WORDS, (A, B, C), relations)
    examples, coverage = re_examples(
        [sentence], [candidate_entities(sentence)], tokenizer, PairLabels.of(LABELS), max_text_tokens=99
    )
    assert [(example.subject, example.objects, example.targets) for example in examples] == [
        (0, [1, 2], [2, 0]),
        (1, [0, 2], [3, 1]),
        (2, [0, 1], [0, 1]),
    ]
    plain = tokenizer.text(WORDS, 99)
    middle = examples[1]
    start, end = middle.subject_bounds
    assert [middle.ids[start], middle.ids[end]] == [tokenizer.vocab_size, tokenizer.vocab_size + 1]
    assert [piece for piece in middle.ids if piece < tokenizer.vocab_size] == plain.ids
    for (first, last), entity in zip(middle.bounds, (A, C), strict=True):
        words = plain.ids[plain.bounds[entity.span.start][0] : plain.bounds[entity.span.end - 1][1] + 1]
        assert middle.ids[first : last + 1] == words
    assert coverage == {"sentences": 1, "sentences_cut": 0, "relations": 2, "relations_unreachable": 0}


def test_relations_of_missing_entities_are_counted_and_lone_entities_give_no_instance(
    tokenizer: WordTokenizer,
) -> None:
    sentence = Sentence(WORDS, (A, B), (Relation(A, B, "USES"),))
    examples, coverage = re_examples([sentence], [[A]], tokenizer, PairLabels.of(LABELS), max_text_tokens=99)
    assert examples == []
    assert coverage["relations_unreachable"] == 1


def test_a_batch_pads_objects(tokenizer: WordTokenizer) -> None:
    sentences = [Sentence(WORDS, (A, B, C)), Sentence(WORDS[:4], (A, B))]
    examples, _ = re_examples(
        sentences, [list(s.entities) for s in sentences], tokenizer, PairLabels.of(LABELS), max_text_tokens=99
    )
    batch = re_batch(examples, tokenizer.pad_id)
    assert batch.valid.tolist() == [[True, True]] * 3 + [[True, False]] * 2
    assert batch.bounds.shape == (5, 2, 2)


def test_bucketed_batches_visit_everything_once_and_are_seeded() -> None:
    lengths = [index % 17 for index in range(100)]
    first = bucketed_batches(lengths, 8, np.random.default_rng(1))
    assert sorted(index for batch in first for index in batch) == list(range(100))
    assert first == bucketed_batches(lengths, 8, np.random.default_rng(1))
    assert first != bucketed_batches(lengths, 8, np.random.default_rng(2))
    assert max(len(batch) for batch in first) == 8
    assert len(first) == 13


def test_sorted_batches_keep_the_token_budget() -> None:
    lengths = [5, 1, 9, 3, 40]
    batches = sorted_batches(lengths, 12)
    assert sorted(index for batch in batches for index in batch) == [0, 1, 2, 3, 4]
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 12 for batch in batches)


def test_padded_keeps_a_tail_axis_even_when_rows_are_empty() -> None:
    stacked, valid = padded([np.zeros((0, 2)), np.ones((2, 2))])
    assert stacked.shape == (2, 2, 2)
    assert valid.tolist() == [[False, False], [True, True]]

import random
from dataclasses import asdict
from pathlib import Path

import pytest

from lai_net.corpora.dygie import read_dygie
from lai_net.metrics.scoring import MatchCounts, Scores, average, count_matches, score_sentences
from lai_net.schema import Entity, Relation, Sentence, Span, iterate_sentences

SCIERC_TEST = Path(__file__).parents[3] / "shared" / "data" / "scierc" / "test.json"
SYMMETRIC = frozenset({"SYM"})
WORDS = tuple("abcdef")
A, B, C = Entity(Span(0, 1), "X"), Entity(Span(1, 3), "Y"), Entity(Span(4, 5), "X")


def retyped(entity: Entity, label: str) -> Entity:
    return Entity(entity.span, label)


GOLD = Sentence(WORDS, (A, B, C), (Relation(A, B, "DIR"), Relation(A, C, "SYM")))


def scored(predicted, protocol, averaging="micro", gold=GOLD):
    return score_sentences([gold], [predicted], protocol=protocol, averaging=averaging, symmetric=SYMMETRIC)


def counted(predicted, protocol, gold=GOLD):
    by_task = count_matches([gold], [predicted], protocol=protocol, symmetric=SYMMETRIC)
    return {task: sum(by_label.values(), MatchCounts()) for task, by_label in by_task.items()}


@pytest.mark.parametrize(
    ("protocol", "relations"), [("pure", MatchCounts(2, 2, 2)), ("plmarker", MatchCounts(3, 3, 3))]
)
def test_gold_against_itself(protocol, relations):
    assert counted(GOLD, protocol) == {"NER": MatchCounts(3, 3, 3), "RE": relations, "RE+": relations}
    assert scored(GOLD, protocol)["RE+"] == Scores(1.0, 1.0, 1.0)


def test_reversed_symmetric_prediction_is_a_miss_in_pure_and_a_hit_in_plmarker():
    predicted = Sentence(WORDS, (A, B, C), (Relation(C, A, "SYM"),))
    assert counted(predicted, "pure")["RE"] == MatchCounts(2, 1, 0)
    assert counted(predicted, "plmarker")["RE"] == MatchCounts(3, 2, 2)


@pytest.mark.parametrize("protocol", ["pure", "plmarker"])
def test_reversed_directed_prediction_is_a_miss(protocol):
    predicted = Sentence(WORDS, (A, B, C), (Relation(B, A, "DIR"),))
    assert counted(predicted, protocol)["RE"].matched == 0


@pytest.mark.parametrize("protocol", ["pure", "plmarker"])
def test_wrong_entity_type_costs_the_strict_hit_only(protocol):
    wrong = retyped(B, "X")
    predicted = Sentence(WORDS, (A, wrong, C), (Relation(A, wrong, "DIR"),))
    counts = counted(predicted, protocol)
    gold = {"pure": 2, "plmarker": 3}[protocol]
    assert counts["NER"] == MatchCounts(3, 3, 2)
    assert counts["RE"] == MatchCounts(gold, 1, 1)
    assert counts["RE+"] == MatchCounts(gold, 1, 0)


@pytest.mark.parametrize("protocol", ["pure", "plmarker"])
def test_argument_that_is_no_predicted_entity_is_never_strict(protocol):
    untyped = retyped(B, "")
    gold = Sentence(WORDS, (A,), (Relation(A, untyped, "DIR"),))
    counts = counted(gold, protocol, gold=gold)
    assert (counts["RE"].matched, counts["RE+"].matched) == (1, 0)


def test_duplicates_count_as_listed_in_pure_and_once_in_plmarker():
    predicted = Sentence(WORDS, (A, A, B), (Relation(A, B, "DIR"), Relation(A, B, "DIR")))
    assert counted(predicted, "pure") == {
        "NER": MatchCounts(3, 3, 3), "RE": MatchCounts(2, 2, 2), "RE+": MatchCounts(2, 2, 2),
    }  # fmt: skip
    assert counted(predicted, "plmarker") == {
        "NER": MatchCounts(3, 2, 2), "RE": MatchCounts(3, 1, 1), "RE+": MatchCounts(3, 1, 1),
    }  # fmt: skip


def test_duplicate_gold_counts_as_listed_in_pure():
    gold = Sentence(WORDS, (A, A, B), (Relation(A, B, "DIR"), Relation(A, B, "DIR")))
    predicted = Sentence(WORDS, (A, B), (Relation(A, B, "DIR"),))
    assert counted(predicted, "pure", gold=gold)["RE"] == MatchCounts(2, 1, 1)
    assert counted(predicted, "plmarker", gold=gold)["RE"] == MatchCounts(1, 1, 1)


def test_span_with_two_predicted_types_is_strict_in_pure_if_one_is_right():
    wrong = retyped(A, "Y")
    predicted = Sentence(WORDS, (A, wrong, B), (Relation(wrong, B, "DIR"),))
    assert counted(predicted, "pure")["RE+"] == MatchCounts(2, 1, 1)


def test_overlapping_predictions_are_all_counted():
    inside = Entity(Span(1, 2), "Y")
    predicted = Sentence(WORDS, (B, inside), ())
    assert counted(predicted, "plmarker")["NER"] == MatchCounts(3, 2, 1)


def test_micro_scores_worked_by_hand():
    predicted = Sentence(WORDS, (A, B, Entity(Span(5, 6), "X"), Entity(Span(3, 4), "Y")), ())
    scores = scored(predicted, "pure")
    assert scores["NER"] == Scores(2 / 4, 2 / 3, pytest.approx(4 / 7))
    assert scores["RE"] == Scores(0.0, 0.0, 0.0)


def test_macro_is_the_mean_over_labels_of_gold_or_predictions():
    spurious = Entity(Span(5, 6), "Z")
    scores = scored(Sentence(WORDS, (A, B, spurious), ()), "pure", "macro")
    # X: P 1, R 1/2, F 2/3; Y: 1, 1, 1; Z: 0, 0, 0
    assert scores["NER"] == Scores(pytest.approx(2 / 3), pytest.approx(1 / 2), pytest.approx((2 / 3 + 1) / 3))


def test_nothing_to_score_is_zero():
    empty = Sentence(WORDS)
    for averaging in ("micro", "macro"):
        scores = scored(empty, "pure", averaging, gold=empty)
        assert {task: asdict(rates) for task, rates in scores.items()} == {
            task: {"precision": 0.0, "recall": 0.0, "f1": 0.0} for task in ("NER", "RE", "RE+")
        }


def random_sentence(rng):
    entities = []
    for _ in range(rng.randrange(5)):
        start = rng.randrange(3)
        entities.append(Entity(Span(start, start + 1), rng.choice("XY")))
    pairs = [(a, b) for a in entities for b in entities]
    chosen = rng.sample(pairs, min(len(pairs), rng.randrange(4)))
    return Sentence(
        WORDS, tuple(entities), tuple(Relation(a, b, rng.choice(("DIR", "SYM"))) for a, b in chosen)
    )


@pytest.mark.parametrize("protocol", ["pure", "plmarker"])
def test_properties_on_random_sentences(protocol):
    rng = random.Random(3)
    gold, predicted = ([random_sentence(rng) for _ in range(60)] for _ in range(2))

    def count(first, second):
        return count_matches(first, second, protocol=protocol, symmetric=SYMMETRIC)

    whole = count(gold, predicted)
    parts = [count(gold[:20], predicted[:20]), count(gold[20:], predicted[20:])]
    assert whole["RE"]["DIR"].matched > 0
    for task, by_label in whole.items():
        for label, counts in by_label.items():
            summed = sum((part[task].get(label, MatchCounts()) for part in parts), MatchCounts())
            assert summed == counts
            assert counts.matched <= counts.predicted
    for label, counts in whole["RE"].items():
        assert whole["RE+"][label].matched <= counts.matched
        assert (whole["RE+"][label].gold, whole["RE+"][label].predicted) == (counts.gold, counts.predicted)


def test_plmarker_swaps_gold_and_predictions_into_each_other():
    rng = random.Random(4)
    gold, predicted = ([random_sentence(rng) for _ in range(60)] for _ in range(2))
    forth = count_matches(gold, predicted, protocol="plmarker", symmetric=SYMMETRIC)
    back = count_matches(predicted, gold, protocol="plmarker", symmetric=SYMMETRIC)
    for task in forth:
        assert average(forth[task], "micro").f1 == pytest.approx(average(back[task], "micro").f1)
        assert average(forth[task], "micro").recall == average(back[task], "micro").precision


@pytest.mark.skipif(not SCIERC_TEST.exists(), reason="SciERC is not at hand")
@pytest.mark.parametrize(("protocol", "num_gold"), [("pure", 974), ("plmarker", 1135)])
def test_scierc_test_against_itself(protocol, num_gold):
    sentences = list(iterate_sentences(read_dygie(SCIERC_TEST).documents))
    symmetric = frozenset({"COMPARE", "CONJUNCTION"})
    counts = count_matches(sentences, sentences, protocol=protocol, symmetric=symmetric)
    for task in ("RE", "RE+"):
        total = sum(counts[task].values(), MatchCounts())
        assert total == MatchCounts(num_gold, num_gold, num_gold)
    for averaging in ("micro", "macro"):
        scores = score_sentences(
            sentences, sentences, protocol=protocol, averaging=averaging, symmetric=symmetric
        )
        assert set(scores.values()) == {Scores(1.0, 1.0, 1.0)}

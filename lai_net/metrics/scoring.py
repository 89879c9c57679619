"""Precision, recall and F1 of NER, RE and RE+ under the two protocols that the literature uses.

Both compare spans and labels exactly. RE needs both argument spans and the relation's type; RE+ needs both
entity types, too.

`pure`: gold and predictions are lists: every annotation counts as often as it is listed, and a prediction
    listed twice can hit twice. Relations are directed, symmetric types too: a prediction in the direction
    that the gold file does not have is a miss. An RE+ hit is an RE hit both of whose spans are spans of
    correctly predicted entities.
    Source: github.com/princeton-nlp/PURE, shared/data_structures.py (evaluate_sent, compute_f1).
`plmarker`: gold and predictions are sets. A relation of a symmetric type stands for both directions and so
    counts twice in gold, in predictions and in hits. An RE+ hit compares the entity types that the relation
    itself carries; an argument without a type is never right.
    Source: github.com/thunlp/PL-Marker, run_re.py (evaluate).
    Differs: its decoding states each pair once; sets give other predictions the same meaning.

Micro averages over counts. Macro is the plain mean of each label's precision, recall and F1 (the F1 is no
harmonic mean of the two others) over the labels that occur in gold or in predictions; a label without gold
or without predictions counts with 0.
    Source: github.com/lavis-nlp/spert, spert/evaluator.py (_score, _compute_metrics).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import astuple, dataclass
from typing import Literal, get_args

from lai_net.schema import Entity, Relation, Sentence, Span

Protocol = Literal["pure", "plmarker"]
Averaging = Literal["micro", "macro"]
Task = Literal["NER", "RE", "RE+"]
TASKS: tuple[Task, ...] = get_args(Task)
TASKS_OF_PHASE: Mapping[str, tuple[Task, ...]] = {"NER": ("NER",), "RE": ("RE", "RE+")}
"""What is scored in a phase."""
SCORES = ("precision", "recall", "f1")


@dataclass(frozen=True, slots=True)
class Scores:
    """Rates in 0–1; 0 where a denominator is 0."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class MatchCounts:
    """How many annotations there are in gold, in predictions and in both; counts of parts add up."""

    gold: int = 0
    predicted: int = 0
    matched: int = 0

    def __add__(self, other: "MatchCounts") -> "MatchCounts":
        return MatchCounts(
            self.gold + other.gold, self.predicted + other.predicted, self.matched + other.matched
        )

    @property
    def scores(self) -> Scores:
        """Precision, recall and F1 of these counts."""
        precision = self.matched / self.predicted if self.predicted else 0.0
        recall = self.matched / self.gold if self.gold else 0.0
        total = precision + recall
        return Scores(precision, recall, 2 * precision * recall / total if total else 0.0)


def score_sentences(
    gold: Sequence[Sentence],
    predicted: Sequence[Sentence],
    *,
    protocol: Protocol,
    averaging: Averaging,
    symmetric: AbstractSet[str],
) -> dict[Task, Scores]:
    """Score predictions sentence by sentence; see the module for what is counted.

    Args:
        gold: sentences with gold annotations.
        predicted: the same sentences, in the same order, with predicted annotations.
        protocol: `pure` or `plmarker`.
        averaging: `micro` or `macro`.
        symmetric: relation types without a direction; they matter to `plmarker` only.

    Returns:
        The scores of each task.
    """
    counts = count_matches(gold, predicted, protocol=protocol, symmetric=symmetric)
    return {task: average(by_label, averaging) for task, by_label in counts.items()}


def count_matches(
    gold: Sequence[Sentence],
    predicted: Sequence[Sentence],
    *,
    protocol: Protocol,
    symmetric: AbstractSet[str],
) -> dict[Task, dict[str, MatchCounts]]:
    """Counts by task and label, labels sorted; arguments as in `score_sentences`."""
    tallies: dict[Task, tuple[Counter[str], ...]] = {
        task: (Counter(), Counter(), Counter()) for task in TASKS
    }
    for truth, guess in zip(gold, predicted, strict=True):
        parts = _pure(truth, guess) if protocol == "pure" else _plmarker(truth, guess, symmetric)
        for task, *groups in parts:
            for tally, labels in zip(tallies[task], groups, strict=True):
                tally.update(labels)
    return {
        task: {
            label: MatchCounts(*(tally[label] for tally in tally_by_group))
            for label in sorted(set().union(*tally_by_group))
        }
        for task, tally_by_group in tallies.items()
    }


def average(by_label: Mapping[str, MatchCounts], averaging: Averaging) -> Scores:
    """One task's scores over its labels; zeros where there is no label."""
    if averaging == "micro" or not by_label:
        return sum(by_label.values(), MatchCounts()).scores
    rows = [astuple(counts.scores) for counts in by_label.values()]
    return Scores(*(sum(column) / len(rows) for column in zip(*rows, strict=True)))


_BoundaryKey = tuple[Span, Span, str]
_Part = tuple[Task, list[str], list[str], list[str]]
"""A task, and one label for each annotation of gold, of the predictions, and of the hits."""


def _pure(truth: Sentence, guess: Sentence) -> Iterator[_Part]:
    hits = [entity for entity in guess.entities if entity in truth.entities]
    yield "NER", _types(truth.entities), _types(guess.entities), _types(hits)
    correct = {entity.span for entity in hits}
    gold_keys = {_boundary_key(relation) for relation in truth.relations}
    found = [relation for relation in guess.relations if _boundary_key(relation) in gold_keys]
    strict = [r for r in found if r.subject.span in correct and r.object.span in correct]
    gold, predicted = _types(truth.relations), _types(guess.relations)
    yield "RE", gold, predicted, _types(found)
    yield "RE+", gold, predicted, _types(strict)


def _boundary_key(relation: Relation) -> _BoundaryKey:
    return (relation.subject.span, relation.object.span, relation.type)


def _types(annotations: Iterable[Entity | Relation]) -> list[str]:
    return [annotation.type for annotation in annotations]


def _plmarker(truth: Sentence, guess: Sentence, symmetric: AbstractSet[str]) -> Iterator[_Part]:
    truths, guesses = set(truth.entities), set(guess.entities)
    yield "NER", _types(truths), _types(guesses), _types(truths & guesses)
    gold, predicted = (_both_directions(sentence.relations, symmetric) for sentence in (truth, guess))
    typed = [r for r in gold & predicted if r.subject.type and r.object.type]
    bounds, guessed, strict = ({_boundary_key(r) for r in group} for group in (gold, predicted, typed))
    yield "RE", _labels(bounds), _labels(guessed), _labels(bounds & guessed)
    yield "RE+", _labels(bounds), _labels(guessed), _labels(strict)


def _labels(keys: Iterable[_BoundaryKey]) -> list[str]:
    return [label for _, _, label in keys]


def _both_directions(relations: Iterable[Relation], symmetric: AbstractSet[str]) -> set[Relation]:
    directed = set(relations)
    return directed | {Relation(r.object, r.subject, r.type) for r in directed if r.type in symmetric}

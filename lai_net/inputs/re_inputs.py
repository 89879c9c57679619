"""Sentences with entities to RE batches: one instance a subject, all other entities are its objects.

B batch of instances, T text tokens with the two solid subject markers, P objects.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lai_net.inputs.batching import Batch, padded
from lai_net.inputs.marker_ids import SUBJECT_END, SUBJECT_START
from lai_net.inputs.tokenization import TokenizedText, WordTokenizer
from lai_net.schema import Entity, Labels, Sentence, Span


@dataclass(frozen=True, slots=True)
class PairLabels:
    """The classes of an ordered pair: none, symmetric, directed, inverse directed (PL-Marker's order).

    Attributes:
        forward: relation type -> class.
        inverse: relation type -> class of the reversed pair; the same for a symmetric type.
    """

    forward: Mapping[str, int]
    inverse: Mapping[str, int]

    @classmethod
    def of(cls, labels: Labels) -> "PairLabels":
        """The classes of a label inventory."""
        symmetric = [name for name in labels.relations if name in labels.symmetric]
        directed = [name for name in labels.relations if name not in labels.symmetric]
        forward = {name: number for number, name in enumerate([*symmetric, *directed], start=1)}
        inverse = {name: forward[name] + len(directed) * (name in directed) for name in forward}
        return cls(forward, inverse)

    @property
    def num_classes(self) -> int:
        """Classes with "none"."""
        return 1 + len(set(self.forward.values()) | set(self.inverse.values()))

    def reversed_classes(self) -> list[int]:
        """Per class the class that the reversed pair has."""
        reverse = {self.forward[name]: self.inverse[name] for name in self.forward}
        reverse |= {self.inverse[name]: self.forward[name] for name in self.forward}
        return [reverse.get(number, 0) for number in range(self.num_classes)]


@dataclass(frozen=True, slots=True)
class ReExample:
    """One subject of one sentence.

    Attributes:
        sentence: its index.
        subject: index of the subject among the sentence's spans.
        objects: indices of the objects among the sentence's spans.
        ids: word pieces with the solid markers.
        subject_bounds: token index of the two solid markers.
        bounds: first and last word piece of each object.
        targets: class of each pair.
    """

    sentence: int
    subject: int
    objects: list[int]
    ids: list[int]
    subject_bounds: tuple[int, int]
    bounds: list[tuple[int, int]]
    targets: list[int]


@dataclass(frozen=True)
class ReBatch(Batch):
    """Padded tensors: ids (B, T), subject_bounds (B, 2), bounds (B, P, 2), targets (B, P)."""

    ids: Tensor
    ids_valid: Tensor
    subject_bounds: Tensor
    bounds: Tensor
    valid: Tensor
    targets: Tensor


def candidate_entities(sentence: Sentence) -> list[Entity]:
    """A sentence's entities, one a span (the first type counts), in text order."""
    first: dict[Span, Entity] = {}
    for entity in sentence.entities:
        first.setdefault(entity.span, entity)
    return [first[span] for span in sorted(first)]


def re_examples(
    sentences: Sequence[Sentence],
    entities: Sequence[Sequence[Entity]],
    tokenizer: WordTokenizer,
    classes: PairLabels,
    *,
    max_text_tokens: int,
) -> tuple[list[ReExample], Counter[str]]:
    """Turn sentences into one example a subject; sentences with fewer than two entities give none.

    Args:
        sentences: with gold relations, for the targets.
        entities: per sentence the subjects and objects, as from `candidate_entities`.
        tokenizer: the encoder's.
        classes: of ordered pairs.
        max_text_tokens: bound of the text without the solid markers.

    Returns:
        Examples, and what was seen and lost: `sentences`, `sentences_cut`, `relations`,
        `relations_unreachable` (an argument is no given entity or lies beyond the text limit, or the pair
        already has another relation).
    """
    coverage: Counter[str] = Counter(sentences=0, sentences_cut=0, relations=0, relations_unreachable=0)
    examples: list[ReExample] = []
    for number, (sentence, given) in enumerate(zip(sentences, entities, strict=True)):
        text = tokenizer.text(sentence.words, max_text_tokens)
        spans = [entity.span for entity in given]
        reachable = [index for index, span in enumerate(spans) if span.end <= len(text.bounds)]
        gold = _gold_pairs(sentence, classes)
        coverage["sentences"] += 1
        coverage["sentences_cut"] += len(text.bounds) < len(sentence.words)
        coverage["relations"] += len(set(sentence.relations))
        coverage["relations_unreachable"] += _unreachable(
            sentence, gold, {spans[i] for i in reachable}, classes
        )
        if len(reachable) > 1:
            for subject in reachable:
                examples.append(_example(number, subject, reachable, spans, text, gold, tokenizer))
    return examples, coverage


def _gold_pairs(sentence: Sentence, classes: PairLabels) -> dict[tuple[Span, Span], int]:
    """Class of each ordered pair with a relation; the first relation of a pair counts."""
    pairs: dict[tuple[Span, Span], int] = {}
    for relation in sentence.relations:
        subject, target = relation.subject.span, relation.object.span
        if subject != target and (subject, target) not in pairs:
            pairs[subject, target] = classes.forward[relation.type]
            pairs.setdefault((target, subject), classes.inverse[relation.type])
    return pairs


def _unreachable(
    sentence: Sentence, gold: Mapping[tuple[Span, Span], int], spans: set[Span], classes: PairLabels
) -> int:
    reached = sum(
        relation.subject.span in spans
        and relation.object.span in spans
        and gold.get((relation.subject.span, relation.object.span)) == classes.forward[relation.type]
        for relation in set(sentence.relations)
    )
    return len(set(sentence.relations)) - reached


def _example(
    sentence: int,
    subject: int,
    reachable: Sequence[int],
    spans: Sequence[Span],
    text: TokenizedText,
    gold: Mapping[tuple[Span, Span], int],
    tokenizer: WordTokenizer,
) -> ReExample:
    first, last = text.bounds[spans[subject].start][0], text.bounds[spans[subject].end - 1][1]
    vocabulary = tokenizer.vocab_size
    ids = [
        *text.ids[:first],
        vocabulary + SUBJECT_START,
        *text.ids[first : last + 1],
        vocabulary + SUBJECT_END,
        *text.ids[last + 1 :],
    ]

    def shifted(token: int) -> int:
        return token + (token >= first) + (token > last)

    objects = [index for index in reachable if index != subject]
    return ReExample(
        sentence=sentence,
        subject=subject,
        objects=objects,
        ids=ids,
        subject_bounds=(first, last + 2),
        bounds=[
            (shifted(text.bounds[spans[i].start][0]), shifted(text.bounds[spans[i].end - 1][1]))
            for i in objects
        ],
        targets=[gold.get((spans[subject], spans[i]), 0) for i in objects],
    )


def re_batch(examples: Sequence[ReExample], pad_id: int) -> ReBatch:
    """Pad examples into one batch."""
    ids, ids_valid = padded([example.ids for example in examples], pad_id)
    bounds, valid = padded([example.bounds for example in examples])
    targets, _ = padded([example.targets for example in examples])
    subjects = torch.tensor([example.subject_bounds for example in examples])
    return ReBatch(ids, ids_valid, subjects, bounds, valid, targets)

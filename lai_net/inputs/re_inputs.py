"""Sentences with entities to RE batches: one instance a subject, all other entities are its objects.

B batch of instances, T text tokens, P objects, U texts of a batch. A text has the two solid markers of its
subject, and U = B; where texts are plain, the subjects of a sentence, or of a window of context, share one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lai_net.inputs.batching import Batch, Example, padded, shared_texts
from lai_net.inputs.marker_ids import SUBJECT_END, SUBJECT_START
from lai_net.inputs.tokenization import TokenizedText, WordTokenizer
from lai_net.schema import Entity, Labels, Sentence, Span

UNTYPED = -1
"""In place of the index of an entity type."""


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
class ReExample(Example):
    """One subject of one sentence, in a text with its solid markers or a plain one.

    Attributes:
        bounds: as in `Example`, of the objects.
        sentence: its index.
        subject: index of the subject among the sentence's spans.
        objects: indices of the objects among the sentence's spans.
        subject_bounds: token index of the two solid markers; in a plain text the subject's first and last
            word piece.
        targets: class of each pair.
        types: index of each object's entity type; `UNTYPED` where it has none that is known.
    """

    bounds: list[tuple[int, int]]
    sentence: int
    subject: int
    objects: list[int]
    subject_bounds: tuple[int, int]
    targets: list[int]
    types: list[int]


@dataclass(frozen=True)
class ReBatch(Batch):
    """Padded tensors: ids (U, T), subject_bounds (B, 2), bounds (B, P, 2), targets and types (B, P).

    `text_rows` int (B,) says which row of `ids` an instance reads; in order where nothing is shared.
    """

    ids: Tensor
    ids_valid: Tensor
    text_rows: Tensor
    subject_bounds: Tensor
    bounds: Tensor
    valid: Tensor
    targets: Tensor
    types: Tensor


def candidate_entities(sentence: Sentence) -> list[Entity]:
    """A sentence's entities, one a span, in text order; the last type counts, as in `join_relation`."""
    last = {entity.span: entity for entity in sentence.entities}
    return [last[span] for span in sorted(last)]


def re_examples(
    sentences: Sequence[Sentence],
    entities: Sequence[Sequence[Entity]],
    tokenizer: WordTokenizer,
    classes: PairLabels,
    *,
    max_text_tokens: int,
    context_tokens: int = 0,
    entity_types: Sequence[str] = (),
    solid_subjects: bool = True,
) -> tuple[list[ReExample], Counter[str]]:
    """Turn sentences into one example a subject; sentences with fewer than two entities give none.

    Args:
        sentences: with gold relations, for the targets.
        entities: per sentence the subjects and objects, as from `candidate_entities`.
        tokenizer: the encoder's.
        classes: of ordered pairs.
        max_text_tokens: bound of the text without the solid markers.
        context_tokens: word pieces of the window that a sentence is read in; 0 reads it alone.
        entity_types: numbers the types of objects.
        solid_subjects: whether a subject has solid markers in a text of its own.

    Returns:
        Examples, and what was seen and lost: `sentences`, `sentences_cut`, `relations`,
        `relations_unreachable` (an argument is no given entity or lies beyond the text limit, or the pair
        already has another relation).
    """
    coverage: Counter[str] = Counter(sentences=0, sentences_cut=0, relations=0, relations_unreachable=0)
    type_index = {name: number for number, name in enumerate(entity_types)}
    examples: list[ReExample] = []
    windows: dict[tuple[int, ...], int] = {}
    for number, (sentence, given) in enumerate(zip(sentences, entities, strict=True)):
        text = tokenizer.window(sentence, max_text_tokens, context_tokens)
        spans = [entity.span for entity in given]
        reachable = [index for index, span in enumerate(spans) if span.end <= len(text.bounds)]
        types = [type_index.get(entity.type, UNTYPED) for entity in given]
        gold = _gold_pairs(sentence, classes)
        coverage["sentences"] += 1
        coverage["sentences_cut"] += len(text.bounds) < len(sentence.words)
        coverage["relations"] += len(set(sentence.relations))
        coverage["relations_unreachable"] += _unreachable(
            sentence, gold, {spans[i] for i in reachable}, classes
        )
        if len(reachable) > 1:
            text_number = windows.setdefault(tuple(text.ids), number) if context_tokens else number
            read = _ReadSentence(number, text_number, text, spans, types, gold)
            for subject in reachable:
                example = read.example(subject, [index for index in reachable if index != subject])
                if solid_subjects:
                    example = _with_solid_subject(example, len(examples), tokenizer.vocab_size)
                examples.append(example)
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


@dataclass(frozen=True, slots=True)
class _ReadSentence:
    """What the examples of a sentence have in common.

    Attributes:
        number: of the sentence.
        text_number: see `Example.text`.
        text: that it is read in, plain.
        spans: of its entities.
        types: index of each entity's type.
        gold: class of each ordered pair with a relation.
    """

    number: int
    text_number: int
    text: TokenizedText
    spans: Sequence[Span]
    types: Sequence[int]
    gold: Mapping[tuple[Span, Span], int]

    def example(self, subject: int, objects: list[int]) -> ReExample:
        """One subject, and its objects, by the indices of their spans; all within the text."""
        return ReExample(
            ids=self.text.ids,
            text=self.text_number,
            bounds=[self._pieces(index) for index in objects],
            sentence=self.number,
            subject=subject,
            objects=objects,
            subject_bounds=self._pieces(subject),
            targets=[self.gold.get((self.spans[subject], self.spans[index]), 0) for index in objects],
            types=[self.types[index] for index in objects],
        )

    def _pieces(self, index: int) -> tuple[int, int]:
        span = self.spans[index]
        return self.text.bounds[span.start][0], self.text.bounds[span.end - 1][1]


def _with_solid_subject(example: ReExample, text: int, vocab_size: int) -> ReExample:
    """The same in a text of its own, with markers around the subject."""
    first, last = example.subject_bounds
    ids = example.ids
    start, end = vocab_size + SUBJECT_START, vocab_size + SUBJECT_END

    def shifted(token: int) -> int:
        return token + (token >= first) + (token > last)

    return replace(
        example,
        text=text,
        ids=[*ids[:first], start, *ids[first : last + 1], end, *ids[last + 1 :]],
        subject_bounds=(first, last + 2),
        bounds=[(shifted(head), shifted(tail)) for head, tail in example.bounds],
    )


def re_batch(examples: Sequence[ReExample], pad_id: int) -> ReBatch:
    """Pad examples into one batch; each text is in it once."""
    ids, ids_valid, text_rows = shared_texts(examples, pad_id)
    bounds, valid = padded([example.bounds for example in examples])
    targets, _ = padded([example.targets for example in examples])
    types, _ = padded([example.types for example in examples], UNTYPED)
    subjects = torch.tensor([example.subject_bounds for example in examples])
    return ReBatch(ids, ids_valid, text_rows, subjects, bounds, valid, targets, types)

"""RE as a task: batches of subject instances, and decoding that joins both directions of a pair."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from lai_net.config import HeadConfig
from lai_net.inputs.re_inputs import (
    PairLabels,
    ReBatch,
    ReExample,
    candidate_entities,
    re_batch,
    re_examples,
)
from lai_net.model.re_model import ReModel
from lai_net.schema import Entity, Relation, Sentence
from lai_net.training.task import PhaseTask, PredictedSentence, Predictions

RankedTriple = tuple[float, Relation, float]
"""Summed log-probability of both directions, a relation, and its score."""


@dataclass
class _SentenceScores:
    """What the model says of one sentence.

    Attributes:
        pairs: log-probabilities (C,) of each ordered pair of entities, by index.
        types: summed log-probabilities (E,) of each entity's type, over the subjects that it is an object of.
    """

    pairs: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    types: dict[int, Tensor] = field(default_factory=dict)


class ReTask(PhaseTask[ReExample, ReBatch]):
    """RE: an example is a subject of a sentence with its other gold entities."""

    kind = ReModel
    model: ReModel

    @cached_property
    def classes(self) -> PairLabels:
        """Of an ordered pair of entities."""
        return PairLabels.of(self.labels)

    @cached_property
    def _reversed(self) -> Tensor:
        return torch.tensor(self.classes.reversed_classes())

    def predict(self, sentences: Sequence[Sentence], *, typed: bool | None = None) -> Predictions:
        """Relations between the sentences' own entities, gold or predicted.

        Args:
            sentences: with the entities.
            typed: whether the entities take the types that the model gives them, by default as
                `head.object_typing` says; one that was no object, and so is in no relation, keeps its own.
        """
        typed = self.config.head.object_typing == "types" if typed is None else typed
        examples, coverage = self._read(sentences)
        predicted = []
        for sentence, found in zip(sentences, self._scores(examples, len(sentences)), strict=True):
            given = candidate_entities(sentence)
            scored = self._typed(given, found.types if typed else {})
            relations = tuple(self._decode([entity for entity, _ in scored], found.pairs))
            predicted.append(PredictedSentence(sentence.words, tuple(scored), relations))
        return Predictions(predicted, coverage)

    def _batch(self, examples: Sequence[ReExample]) -> ReBatch:
        return re_batch(examples, self.tokenizer.pad_id).to(self.device)

    def _loss(self, batch: ReBatch, whole: Counter[str] | None, *, cold: bool) -> Tensor:  # noqa: ARG002 - NER's
        with self.autocast():
            output = self.model(batch, self.streams)
        return self.model.loss(output, batch, whole)

    def _whole(self, batches: Sequence[ReBatch], *, cold: bool) -> Counter[str]:  # noqa: ARG002 - NER's
        return sum((self.model.counts(batch) for batch in batches), Counter())

    def _scores(self, examples: Sequence[ReExample], num_sentences: int) -> list[_SentenceScores]:
        """The model's word on examples, by sentence."""
        scores = [_SentenceScores() for _ in range(num_sentences)]
        with self._inference(examples, self._num_text_tokens(examples)) as batches:
            for members, batch in batches:
                output = self.model(batch, self.streams)
                pairs = output.pair_logits.log_softmax(-1).cpu()
                types = None if output.type_logits is None else output.type_logits.log_softmax(-1).cpu()
                for row, index in enumerate(members):
                    example = examples[index]
                    own = scores[example.sentence]
                    for column, other in enumerate(example.objects):
                        own.pairs[example.subject, other] = pairs[row, column]
                        if types is not None:
                            own.types[other] = own.types.get(other, 0) + types[row, column]
        return scores

    def _read(self, sentences: Sequence[Sentence]) -> tuple[list[ReExample], Counter[str]]:
        return re_examples(
            sentences,
            [candidate_entities(sentence) for sentence in sentences],
            self.tokenizer,
            self.classes,
            max_text_tokens=self.config.input.max_text_tokens,
            context_tokens=self.config.input.context_tokens,
            entity_types=self.types,
            solid_subjects=self.config.input.is_levitated,
        )

    def _num_tokens(self, examples: Sequence[ReExample]) -> list[int]:
        read = zip(self._num_text_tokens(examples), examples, strict=True)
        return [text + 2 * len(example.bounds) for text, example in read]

    def _num_text_tokens(self, examples: Sequence[ReExample]) -> list[int]:
        """Of each example; under `marker` every pair reads a copy of the text."""
        copies = self.config.input.family == "marker"
        return [len(example.ids) * (len(example.bounds) if copies else 1) for example in examples]

    def _shared_texts(self, examples: Sequence[ReExample]) -> list[int] | None:
        """See `PhaseTask`.

        Under `marker` a window would bring all pairs of a document into one pass, though each reads a copy.
        """
        if self.config.input.family == "marker" and self.config.input.context_tokens:
            return None
        return super()._shared_texts(examples)

    def _typed(self, entities: Sequence[Entity], types: Mapping[int, Tensor]) -> list[tuple[Entity, float]]:
        """The entities by the types that they are found to have, with those' probabilities; 1 where given."""
        found: list[tuple[Entity, float]] = []
        for index, entity in enumerate(entities):
            if index in types:
                best = int(types[index].argmax())
                score = types[index].double().softmax(-1)[best].item()
                found.append((Entity(entity.span, self.types[best]), score))
            else:
                found.append((entity, 1.0))
        return found

    def _decode(
        self, entities: Sequence[Entity], pairs: dict[tuple[int, int], Tensor]
    ) -> list[tuple[Relation, float]]:
        """Per unordered pair the class that joins both directions; its score is that of their sum."""
        forward = [(number, name, False) for name, number in self.classes.forward.items()]
        inverse = [(number, name, True) for name, number in self.classes.inverse.items()]
        meaning = {number: (name, is_inverse) for number, name, is_inverse in [*inverse, *forward]}
        found: list[RankedTriple] = []
        for (first, second), log_probabilities in sorted(pairs.items()):
            if first > second:
                continue
            backward = pairs[second, first][self._reversed]
            best = joint_class(log_probabilities, backward, self.config.head)
            if best:
                name, is_inverse = meaning[best]
                subject, target = (second, first) if is_inverse else (first, second)
                total = log_probabilities + backward
                relation = Relation(entities[subject], entities[target], name)
                found.append((total[best].item(), relation, total.softmax(-1)[best].item()))
        if self.config.head.overlapping_triples == "drop":
            found = without_overlapping_triples(found)
        return [(relation, score) for _, relation, score in found]


def without_overlapping_triples(found: Sequence[RankedTriple]) -> list[RankedTriple]:
    """Drop every relation whose two arguments overlap those of a likelier one of its type; order is kept.

    Source: github.com/thunlp/PL-Marker, run_re.py (evaluate), which does so always.
    Differs: a relation ranks by the summed log-probability of the class that was chosen for it; there one
    that was found in the inverse direction ranks by that of the class which was not.
    """
    kept: list[RankedTriple] = []
    for item in sorted(found, key=lambda item: -item[0]):
        if not any(_overlap(item[1], other) for _, other, _ in kept):
            kept.append(item)
    return [item for item in found if item in kept]


def _overlap(first: Relation, second: Relation) -> bool:
    return (
        first.type == second.type
        and first.subject.span.overlaps(second.subject.span)
        and first.object.span.overlaps(second.object.span)
    )


def joint_class(forward: Tensor, backward: Tensor, settings: HeadConfig) -> int:
    """The class of an unordered pair by `head.symmetric_rule`; 0 is none.

    Args:
        forward: log-probabilities (C,) of the pair in one direction.
        backward: those of the other direction, in the order of the forward classes.
        settings: of the head.
    """
    total = forward + backward
    if settings.symmetric_rule == "both":
        holds = torch.minimum(forward, backward).exp() > settings.relation_threshold
        holds[0] = False
        if not holds.any():
            return 0
        total = total.masked_fill(~holds, -torch.inf)
    return int(total.argmax())

"""NER as a task: batches of sentences, decoding, the filter's recall."""

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lai_net.inputs.ner_inputs import NerBatch, NerExample, ner_batch, ner_examples
from lai_net.model.ner_model import NerModel, NerOutput
from lai_net.schema import Entity, Sentence, Span
from lai_net.training.task import PhaseTask, PredictedSentence, Predictions


@dataclass(frozen=True)
class _SpanScores:
    """What the model says of one sentence: spans (K, 2) as in `NerExample`, and probabilities (K, 1 + E)."""

    spans: np.ndarray
    probabilities: Tensor


class NerTask(PhaseTask[NerExample, NerBatch]):
    """NER: an example is a sentence."""

    kind = NerModel
    model: NerModel

    def predict(self, sentences: Sequence[Sentence]) -> Predictions:
        """Entities of each sentence: argmax over kept spans, without overlaps of one type."""
        examples, coverage = self._read(sentences)
        scores, counts = self._scores(examples)
        predicted = []
        for sentence, own in zip(sentences, scores, strict=True):
            candidates = self._decode(own)
            kept = without_overlaps(candidates)
            left_out = [candidate for candidate in candidates if candidate not in kept]
            predicted.append(PredictedSentence(sentence.words, tuple(kept), overlapping=tuple(left_out)))
        coverage.update(counts)  # a sum would leave out those that are 0
        return Predictions(predicted, coverage)

    def with_types(self, sentences: Sequence[Sentence]) -> list[Sentence]:
        """Sentences whose own spans have the types that the model gives them, the likeliest each.

        A span that is out of the model's reach (too long, beyond the text limit) has no type then.
        """
        examples, _ = self._read(sentences)
        scores, _ = self._scores(examples, with_gold=True)
        return [
            replace(sentence, entities=self._typed({entity.span for entity in sentence.entities}, own))
            for sentence, own in zip(sentences, scores, strict=True)
        ]

    def _read(self, sentences: Sequence[Sentence]) -> tuple[list[NerExample], Counter[str]]:
        settings = self.config.input
        return ner_examples(
            sentences,
            self.tokenizer,
            self.types,
            max_text_tokens=settings.max_text_tokens,
            max_span_words=settings.max_span_words,
            context_tokens=settings.context_tokens,
        )

    def _scores(
        self, examples: Sequence[NerExample], *, with_gold: bool = False
    ) -> tuple[list[_SpanScores], Counter[str]]:
        """The model's word on examples, and what its filter kept, as counts."""
        scores: dict[int, _SpanScores] = {}
        counts: Counter[str] = Counter()
        with self._inference(examples, self._num_tokens(examples)) as batches:
            for members, batch in batches:
                output = self.model(batch, self.streams, with_gold=with_gold)
                counts.update(_filter_counts(output, batch))
                output = output.cpu()
                for row, index in enumerate(members):
                    valid = output.kept_valid[row]
                    spans = examples[index].spans[output.kept[row][valid].numpy()]
                    scores[index] = _SpanScores(spans, output.class_logits[row][valid].softmax(-1))
        return [scores[index] for index in range(len(examples))], counts

    def _drawn(self, example: NerExample, sampler: np.random.Generator) -> NerExample:
        negatives = self.config.training.negatives
        return example.subset(negatives, sampler) if negatives else example

    def _batch(self, examples: Sequence[NerExample]) -> NerBatch:
        return ner_batch(examples, self.tokenizer.pad_id).to(self.device)

    def _loss(self, batch: NerBatch, whole: Counter[str] | None, *, cold: bool) -> Tensor:
        with self.autocast():
            output = self.model(batch, self.streams, cold=cold)
        return self.model.loss(output, batch, whole)

    def _whole(self, batches: Sequence[NerBatch], *, cold: bool) -> Counter[str]:
        """See `PhaseTask`; what the filter chooses, the model must say, in a rehearsal."""
        if self.model.filter is None:
            candidates = sum(int(batch.valid.sum()) for batch in batches)
            return Counter(candidates=candidates, classified=candidates)
        whole: Counter[str] = Counter()
        with torch.no_grad(), self.autocast(), self.streams.rehearsing():
            for batch in batches:
                whole += self.model.counts(self.model(batch, self.streams, cold=cold), batch)
        return whole

    def _num_tokens(self, examples: Sequence[NerExample]) -> list[int]:
        """Text tokens of each example and, unless an early filter chooses who gets them, marker tokens.

        Under `marker` each candidate that is kept reads a copy of the text.
        """
        if self.config.input.family == "marker":
            most = self.config.filter.max_kept
            return [len(example.ids) * (1 + min(most, len(example.spans))) for example in examples]
        all_marked = self.config.input.is_levitated and not self.config.screens_text
        return [len(example.ids) + 2 * len(example.spans) * all_marked for example in examples]

    def _decode(self, scores: _SpanScores) -> list[tuple[Entity, float]]:
        best, classes = scores.probabilities.max(-1)
        return [
            (Entity(Span(start, end), self.types[number - 1]), score)
            for (start, end), number, score in zip(
                scores.spans.tolist(), classes.tolist(), best.tolist(), strict=True
            )
            if number > 0
        ]

    def _typed(self, spans: AbstractSet[Span], scores: _SpanScores) -> tuple[Entity, ...]:
        numbers = scores.probabilities[:, 1:].argmax(-1).tolist()
        types = {
            Span(start, end): self.types[number]
            for (start, end), number in zip(scores.spans.tolist(), numbers, strict=True)
        }
        return tuple(Entity(span, types.get(span, "")) for span in sorted(spans))


def without_overlaps(candidates: Sequence[tuple[Entity, float]]) -> list[tuple[Entity, float]]:
    """Drop every entity that shares a word with a likelier one of its own type (PL-Marker); text order."""
    kept: list[tuple[Entity, float]] = []
    for entity, score in sorted(candidates, key=lambda item: (-item[1], item[0])):
        if not any(entity.type == other.type and entity.span.overlaps(other.span) for other, _ in kept):
            kept.append((entity, score))
    return sorted(kept)


def _filter_counts(output: NerOutput, batch: NerBatch) -> dict[str, int]:
    """How many gold spans the filter kept, and how many spans in all."""
    is_gold = batch.targets.gather(1, output.kept) > 0
    return {
        "candidates_kept": int(output.kept_valid.sum()),
        "gold_kept": int((is_gold & output.kept_valid).sum()),
    }

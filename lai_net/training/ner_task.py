"""NER as a task: batches of sentences, decoding, the filter's recall."""

from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lai_net.config import TrialConfig
from lai_net.inputs.batching import bucketed_batches, sorted_batches
from lai_net.inputs.marked_texts import MarkedTexts
from lai_net.inputs.ner_inputs import NerBatch, NerExample, ner_batch, ner_examples
from lai_net.model.encoder import EncoderSource
from lai_net.model.ner_model import NerModel, NerOutput
from lai_net.schema import Entity, Labels, Sentence, Span
from lai_net.streams import Streams
from lai_net.training.task import PredictedSentence, Predictions, Task

_INFERENCE_TOKENS = 4096  # padded text and marker tokens in a batch without gradients


class NerTask(Task):
    """NER: an example is a sentence."""

    model: NerModel

    def __init__(
        self,
        config: TrialConfig,
        labels: Labels,
        streams: Streams,
        device: torch.device,
        training: Sequence[Sentence] = (),
        source: EncoderSource | None = None,
    ) -> None:
        super().__init__(config, streams, device, source)
        self.types = list(labels.entities)
        self.model = NerModel(config, labels, streams, self.source).to(device)
        self._examples, self.coverage = self._read(training)

    @property
    def num_examples(self) -> int:
        """Training examples."""
        return len(self._examples)

    def steps(self, epoch: int) -> Iterator[Iterator[Tensor]]:
        """One pass over the training sentences; see `Task`."""
        settings = self.config.training
        lengths = [len(example.ids) for example in self._examples]
        windows = [example.window for example in self._examples]
        sampler = self.streams.generator("negatives", epoch)
        order = self.streams.generator("order", epoch)
        for members in bucketed_batches(lengths, settings.batch_size, order, windows):
            examples = [self._examples[index] for index in members]
            if settings.negatives:
                examples = [example.subset(settings.negatives, sampler) for example in examples]
            yield self._losses(examples, cold=epoch <= self.config.cold_epochs)

    def largest_step(self, *, cold: bool) -> Iterator[Tensor]:
        """See `Task`; with all spans, though `training.negatives` may take some."""
        longest = sorted(self._examples, key=lambda example: len(example.ids) + 2 * len(example.spans))
        batch = longest[-self.config.training.batch_size :]
        return self._losses(batch, cold=cold and self.config.cold_epochs > 0)

    def predict(self, sentences: Sequence[Sentence]) -> Predictions:
        """Entities of each sentence: argmax over kept spans, without overlaps of one type."""
        examples, coverage = self._read(sentences)
        lengths = self._num_tokens(examples)
        windows = [example.window for example in examples]
        found: list[list[tuple[Entity, float]]] = [[] for _ in examples]
        self.model.eval()
        with torch.inference_mode(), self.autocast():  # one autocast: weights are cast once, not a batch
            for members in sorted_batches(lengths, _INFERENCE_TOKENS, windows):
                batch = ner_batch([examples[index] for index in members], self.tokenizer.pad_id)
                batch = batch.to(self.device)
                output = self.model(batch, self.streams)
                coverage.update(_filter_counts(output, batch))
                output = output.cpu()
                for row, index in enumerate(members):
                    found[index] = self._decode(output, row, examples[index])
        predicted = []
        for sentence, candidates in zip(sentences, found, strict=True):
            kept = without_overlaps(candidates)
            left_out = [candidate for candidate in candidates if candidate not in kept]
            predicted.append(PredictedSentence(sentence.words, tuple(kept), overlapping=tuple(left_out)))
        return Predictions(predicted, coverage)

    def marked_texts(self, sentences: Sequence[Sentence] | None = None) -> MarkedTexts:
        """See `Task`; every candidate is one that may be marked, whatever a filter keeps of them."""
        examples = self._examples if sentences is None else self._read(sentences)[0]
        return MarkedTexts.of((example.ids, example.bounds) for example in examples)

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

    def _losses(self, examples: Sequence[NerExample], *, cold: bool) -> Iterator[Tensor]:
        """The losses of one step; see `Task.steps`."""
        budget = self.config.training.micro_batch_tokens
        parts = [list(range(len(examples)))]
        if budget is not None:
            windows = [example.window for example in examples]
            parts = sorted_batches(self._num_tokens(examples), budget, windows)
        batches = [
            ner_batch([examples[index] for index in part], self.tokenizer.pad_id).to(self.device)
            for part in parts
        ]
        whole = self._rehearsed(batches, cold=cold) if len(batches) > 1 else None
        for batch in batches:
            with self.autocast():
                output = self.model(batch, self.streams, cold=cold)
            yield self.model.loss(output, batch, whole)

    def _rehearsed(self, batches: Sequence[NerBatch], *, cold: bool) -> Counter[str]:
        """How many spans the step's losses are means over; what the filter chooses, the model must say."""
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

    def _decode(self, output: NerOutput, row: int, example: NerExample) -> list[tuple[Entity, float]]:
        probabilities = output.class_logits[row].softmax(-1)
        best, classes = probabilities.max(-1)
        entity = (classes > 0) & output.kept_valid[row]
        spans = example.spans[output.kept[row][entity].numpy()]
        return [
            (Entity(Span(start, end), self.types[number - 1]), score)
            for (start, end), number, score in zip(
                spans.tolist(), classes[entity].tolist(), best[entity].tolist(), strict=True
            )
        ]


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

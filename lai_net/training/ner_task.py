"""NER as a task: batches of sentences, decoding, the filter's recall."""

from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lai_net.config import TrialConfig
from lai_net.inputs.batching import bucketed_batches, sorted_batches
from lai_net.inputs.ner_inputs import NerBatch, NerExample, ner_batch, ner_examples
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
    ) -> None:
        super().__init__(config, streams, device)
        self.types = list(labels.entities)
        self.model = NerModel(config, labels, streams).to(device)
        self._examples, self.coverage = self._read(training)

    @property
    def num_examples(self) -> int:
        """Training examples."""
        return len(self._examples)

    def losses(self, epoch: int) -> Iterator[Tensor]:
        """One pass over the training sentences; see `Task`."""
        settings = self.config.training
        lengths = [len(example.ids) for example in self._examples]
        sampler = self.streams.generator("negatives", epoch)
        for members in bucketed_batches(lengths, settings.batch_size, self.streams.generator("order", epoch)):
            examples = [self._examples[index] for index in members]
            if settings.negatives:
                examples = [example.subset(settings.negatives, sampler) for example in examples]
            batch = ner_batch(examples, self.tokenizer.pad_id).to(self.device)
            with self.autocast():
                output = self.model(batch, self.streams, cold=epoch <= self.config.cold_epochs)
            yield self.model.loss(output, batch)

    def predict(self, sentences: Sequence[Sentence]) -> Predictions:
        """Entities of each sentence: argmax over kept spans, without overlaps of one type."""
        examples, coverage = self._read(sentences)
        all_marked = not (self.config.filter.enabled and self.config.filter.stage == "text")
        lengths = [len(example.ids) + 2 * len(example.spans) * all_marked for example in examples]
        found: list[list[tuple[Entity, float]]] = [[] for _ in examples]
        self.model.eval()
        with torch.inference_mode():
            for members in sorted_batches(lengths, _INFERENCE_TOKENS):
                batch = ner_batch([examples[index] for index in members], self.tokenizer.pad_id)
                batch = batch.to(self.device)
                with self.autocast():
                    output = self.model(batch, self.streams)
                coverage.update(_filter_counts(output, batch))
                output = output.cpu()
                for row, index in enumerate(members):
                    found[index] = self._decode(output, row, examples[index])
        predicted = [
            PredictedSentence(sentence.words, tuple(entities))
            for sentence, entities in zip(sentences, found, strict=True)
        ]
        return Predictions(predicted, coverage)

    def _read(self, sentences: Sequence[Sentence]) -> tuple[list[NerExample], Counter[str]]:
        settings = self.config.input
        return ner_examples(
            sentences,
            self.tokenizer,
            self.types,
            max_text_tokens=settings.max_text_tokens,
            max_span_words=settings.max_span_words,
        )

    def _decode(self, output: NerOutput, row: int, example: NerExample) -> list[tuple[Entity, float]]:
        probabilities = output.class_logits[row].softmax(-1)
        best, classes = probabilities.max(-1)
        entity = (classes > 0) & output.kept_valid[row]
        spans = example.spans[output.kept[row][entity].numpy()]
        candidates = [
            (Entity(Span(start, end), self.types[number - 1]), score)
            for (start, end), number, score in zip(
                spans.tolist(), classes[entity].tolist(), best[entity].tolist(), strict=True
            )
        ]
        return without_overlaps(candidates)


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

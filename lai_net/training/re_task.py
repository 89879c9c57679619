"""RE as a task: batches of subject instances, and decoding that sums both directions of a pair."""

from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lai_net.config import TrialConfig
from lai_net.inputs.batching import bucketed_batches, sorted_batches
from lai_net.inputs.re_inputs import PairLabels, ReExample, candidate_entities, re_batch, re_examples
from lai_net.model.re_model import ReModel
from lai_net.schema import Entity, Labels, Relation, Sentence
from lai_net.streams import Streams
from lai_net.training.task import PredictedSentence, Predictions, Task

_INFERENCE_TOKENS = 4096


class ReTask(Task):
    """RE: an example is a subject of a sentence with its other gold entities."""

    model: ReModel

    def __init__(
        self,
        config: TrialConfig,
        labels: Labels,
        streams: Streams,
        device: torch.device,
        training: Sequence[Sentence] = (),
    ) -> None:
        super().__init__(config, streams, device)
        self.classes = PairLabels.of(labels)
        self.model = ReModel(config, labels, streams).to(device)
        self._examples, self.coverage = self._read(
            training, [candidate_entities(sentence) for sentence in training]
        )
        self._reversed = torch.tensor(self.classes.reversed_classes())

    @property
    def num_examples(self) -> int:
        """Training examples."""
        return len(self._examples)

    def losses(self, epoch: int) -> Iterator[Tensor]:
        """One pass over all subjects of the training sentences; see `Task`."""
        lengths = [len(example.ids) for example in self._examples]
        order = self.streams.generator("order", epoch)
        for members in bucketed_batches(lengths, self.config.training.batch_size, order):
            batch = re_batch([self._examples[index] for index in members], self.tokenizer.pad_id)
            batch = batch.to(self.device)
            with self.autocast():
                logits = self.model(batch, self.streams)
            yield self.model.loss(logits, batch)

    def predict(self, sentences: Sequence[Sentence]) -> Predictions:
        """Relations between the sentences' own entities, gold or predicted."""
        entities = [candidate_entities(sentence) for sentence in sentences]
        examples, coverage = self._read(sentences, entities)
        scores: list[dict[tuple[int, int], Tensor]] = [{} for _ in sentences]
        self.model.eval()
        with torch.inference_mode():
            for members in sorted_batches([len(example.ids) for example in examples], _INFERENCE_TOKENS):
                batch = re_batch([examples[index] for index in members], self.tokenizer.pad_id)
                with self.autocast():
                    logits = self.model(batch.to(self.device), self.streams)
                log_probabilities = logits.log_softmax(-1).cpu()
                for row, index in enumerate(members):
                    example = examples[index]
                    for column, other in enumerate(example.objects):
                        scores[example.sentence][example.subject, other] = log_probabilities[row, column]
        predicted = [
            PredictedSentence(
                sentence.words, tuple((entity, 1.0) for entity in given), tuple(self._decode(given, pairs))
            )
            for sentence, given, pairs in zip(sentences, entities, scores, strict=True)
        ]
        return Predictions(predicted, coverage)

    def _read(
        self, sentences: Sequence[Sentence], entities: Sequence[Sequence[Entity]]
    ) -> tuple[list[ReExample], Counter[str]]:
        return re_examples(
            sentences,
            entities,
            self.tokenizer,
            self.classes,
            max_text_tokens=self.config.input.max_text_tokens,
        )

    def _decode(
        self, entities: Sequence[Entity], pairs: dict[tuple[int, int], Tensor]
    ) -> list[tuple[Relation, float]]:
        """Per unordered pair the best class of both directions' summed log-probabilities (PL-Marker)."""
        forward = [(number, name, False) for name, number in self.classes.forward.items()]
        inverse = [(number, name, True) for name, number in self.classes.inverse.items()]
        meaning = {number: (name, is_inverse) for number, name, is_inverse in [*inverse, *forward]}
        found = []
        for (first, second), log_probabilities in sorted(pairs.items()):
            if first > second:
                continue
            total = log_probabilities + pairs[second, first][self._reversed]
            best = int(total.argmax())
            if best:
                name, is_inverse = meaning[best]
                subject, target = (second, first) if is_inverse else (first, second)
                relation = Relation(entities[subject], entities[target], name)
                found.append((relation, total.softmax(-1)[best].item()))
        return found

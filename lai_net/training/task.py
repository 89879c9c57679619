"""What the training loop and the pipeline need from a phase."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from lai_net.config import TrialConfig
from lai_net.inputs.batching import Batch, Example, bucketed_batches, inference_tokens, sorted_batches
from lai_net.inputs.marked_texts import MarkedTexts
from lai_net.model.ner_model import NerModel
from lai_net.model.pretrained import EncoderSource, encoder_source
from lai_net.model.re_model import ReModel
from lai_net.schema import Entity, Labels, Relation, Sentence
from lai_net.streams import Streams

ExampleT = TypeVar("ExampleT", bound=Example)
BatchT = TypeVar("BatchT", bound=Batch)


@dataclass(frozen=True)
class PredictedSentence:
    """A sentence with what a model found in it, each with its score (a probability).

    `overlapping` are the entities that NER leaves out since a likelier one of their type overlaps them.
    """

    words: tuple[str, ...]
    entities: tuple[tuple[Entity, float], ...] = ()
    relations: tuple[tuple[Relation, float], ...] = ()
    overlapping: tuple[tuple[Entity, float], ...] = ()

    @property
    def sentence(self) -> Sentence:
        """Without the scores."""
        return Sentence(
            self.words,
            tuple(entity for entity, _ in self.entities),
            tuple(relation for relation, _ in self.relations),
        )


@dataclass
class Predictions:
    """Predicted sentences in order, and counts of what was seen, kept and lost (see `lai_net.inputs`)."""

    sentences: list[PredictedSentence]
    coverage: Counter[str] = field(default_factory=Counter)

    @property
    def plain(self) -> list[Sentence]:
        """The sentences without the scores."""
        return [item.sentence for item in self.sentences]


class PhaseTask(ABC, Generic[ExampleT, BatchT]):
    """A phase on a corpus: batches, loss and predictions of its model.

    Args:
        config: of the phase.
        labels: of the corpus.
        streams: of the trial.
        device: where the model computes.
        training: sentences of the training split; none where the model only predicts.
        source: what the model is built on; None takes what the config names.
    """

    kind: ClassVar[type[NerModel] | type[ReModel]]
    model: NerModel | ReModel
    examples: list[ExampleT]
    """Of the training split."""
    coverage: Counter[str]
    """Of the training split: what was seen, and what is out of the model's reach."""

    def __init__(
        self,
        config: TrialConfig,
        labels: Labels,
        streams: Streams,
        device: torch.device,
        training: Sequence[Sentence] = (),
        source: EncoderSource | None = None,
    ) -> None:
        self.config = config
        self.streams = streams
        self.device = device
        self.source = source or encoder_source(config.encoder)
        self.tokenizer = self.source.tokenizer
        self.labels = labels
        self.types = list(labels.entities)
        self.model = self.kind(config, labels, streams, self.source).to(device)
        self.examples, self.coverage = self._read(training)

    @property
    def num_examples(self) -> int:
        """Training examples."""
        return len(self.examples)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return -(-self.num_examples // self.config.training.batch_size)

    def steps(self, epoch: int) -> Iterator[Iterator[Tensor]]:
        """One pass over the training split: for each step the losses of its micro-batches, lazily.

        They add up to the mean over the step's batch. Each is ready for `backward`, which must come before
        the next is asked for; the gradients are complete when there is no next.
        """
        lengths = [len(example.ids) for example in self.examples]
        texts = [example.text for example in self.examples]
        order, sampler = (self.streams.generator(name, epoch) for name in ("order", "negatives"))
        for members in bucketed_batches(lengths, self.config.training.batch_size, order, texts):
            examples = [self._drawn(self.examples[index], sampler) for index in members]
            yield self._losses(examples, cold=epoch <= self.config.cold_epochs)

    def largest_step(self, *, cold: bool) -> Iterator[Tensor]:
        """The losses, as in `steps`, of as many of the longest examples as a batch holds.

        Args:
            cold: as in the cold start of the filter; without one it makes no difference.
        """
        order = np.argsort(self._num_tokens(self.examples), kind="stable")
        batch = [self.examples[index] for index in order[-self.config.training.batch_size :]]
        return self._losses(batch, cold=cold and self.config.cold_epochs > 0)

    @abstractmethod
    def predict(self, sentences: Sequence[Sentence]) -> Predictions:
        """Predict the phase's annotations; RE takes the sentences' own entities."""

    def marked_texts(self, sentences: Sequence[Sentence] | None = None) -> MarkedTexts:
        """What the encoder reads of sentences, RE's with their own entities; None: of the training split.

        In NER every candidate is one that may be marked, whatever a filter keeps of them.
        """
        examples = self.examples if sentences is None else self._read(sentences)[0]
        return MarkedTexts.of((example.ids, np.asarray(example.bounds)) for example in examples)

    @contextmanager
    def sharing_annotations(self, num_parts: int) -> Iterator[None]:
        """Inside, the parts of a step see one reading of the annotations; one part alone reads its own.

        At the end, after each part's `backward`, the parts' gradients are carried on through that reading.
        """
        if num_parts == 1:
            yield
            return
        first_round = self.model.first_round
        with self.autocast(), self.streams.dropout("encoder"):
            first_round.shared = shared = first_round.share_annotations()
        try:
            yield
        finally:
            first_round.shared = None
        if shared is not None:
            shared.backward()

    def autocast(self) -> torch.autocast:
        """The config's precision on the task's device."""
        enabled = self.config.training.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    @abstractmethod
    def _read(self, sentences: Sequence[Sentence]) -> tuple[list[ExampleT], Counter[str]]:
        """Sentences as examples, with their coverage."""

    def _drawn(self, example: ExampleT, sampler: np.random.Generator) -> ExampleT:  # noqa: ARG002 - NER's
        """What of an example is trained on this time."""
        return example

    @abstractmethod
    def _batch(self, examples: Sequence[ExampleT]) -> BatchT:
        """Examples as one batch, on the device."""

    @abstractmethod
    def _num_tokens(self, examples: Sequence[ExampleT]) -> list[int]:
        """Tokens of each example, markers included, as `training.micro_batch_tokens` counts them."""

    @abstractmethod
    def _loss(self, batch: BatchT, whole: Counter[str] | None, *, cold: bool) -> Tensor:
        """The loss of a batch, or of its part in a whole one."""

    @abstractmethod
    def _whole(self, batches: Sequence[BatchT], *, cold: bool) -> Counter[str]:
        """How many candidates the losses of batches are means over, all together."""

    def _shared_texts(self, examples: Sequence[ExampleT]) -> list[int] | None:
        """The text of each example; those of one stay together in a batch. None: each alone."""
        return [example.text for example in examples]

    def _losses(self, examples: Sequence[ExampleT], *, cold: bool = False) -> Iterator[Tensor]:
        """The losses of one step; see `steps`."""
        budget = self.config.training.micro_batch_tokens
        parts = [list(range(len(examples)))]
        if budget is not None:
            parts = sorted_batches(self._num_tokens(examples), budget, self._shared_texts(examples))
        batches = [self._batch([examples[index] for index in part]) for part in parts]
        with self.sharing_annotations(len(batches)):
            whole = self._whole(batches, cold=cold) if len(batches) > 1 else None
            for batch in batches:
                yield self._loss(batch, whole, cold=cold)

    @contextmanager
    def _inference(
        self, examples: Sequence[ExampleT], sizes: Sequence[int]
    ) -> Iterator[Iterator[tuple[list[int], BatchT]]]:
        """Inside, the model is in evaluation; batches of examples, each with their indices, lazily.

        Args:
            examples: to read.
            sizes: how many tokens each counts for.
        """
        parts = sorted_batches(sizes, inference_tokens(self.device), self._shared_texts(examples))
        self.model.eval()
        with torch.no_grad(), self.autocast():  # inference_mode would cast weights anew for each batch
            yield ((part, self._batch([examples[index] for index in part])) for part in parts)


AnyTask = PhaseTask[Any, Any]
"""Of either phase."""

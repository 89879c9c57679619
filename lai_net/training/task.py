"""What the training loop and the pipeline need from a phase."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lai_net.config import TrialConfig
from lai_net.inputs.tokenization import word_tokenizer
from lai_net.schema import Entity, Relation, Sentence
from lai_net.streams import Streams


@dataclass(frozen=True)
class PredictedSentence:
    """A sentence with what a model found in it, each with its score (a probability)."""

    words: tuple[str, ...]
    entities: tuple[tuple[Entity, float], ...] = ()
    relations: tuple[tuple[Relation, float], ...] = ()

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


class Task(ABC):
    """A phase on a corpus: batches, loss and predictions of its model.

    Args:
        config: of the phase.
        streams: of the trial.
        device: where the model computes.
    """

    model: nn.Module

    def __init__(self, config: TrialConfig, streams: Streams, device: torch.device) -> None:
        self.config = config
        self.streams = streams
        self.device = device
        self.tokenizer = word_tokenizer(config.encoder.name)

    coverage: Counter[str]
    """Of the training split: what was seen, and what is out of the model's reach."""

    @property
    @abstractmethod
    def num_examples(self) -> int:
        """Training examples."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return -(-self.num_examples // self.config.training.batch_size)

    @abstractmethod
    def losses(self, epoch: int) -> Iterator[Tensor]:
        """One pass over the training split; the loss of each batch, ready for `backward`."""

    @abstractmethod
    def predict(self, sentences: Sequence[Sentence]) -> Predictions:
        """Predict the phase's annotations; RE takes the sentences' own entities."""

    def autocast(self) -> torch.autocast:
        """The config's precision on the task's device."""
        enabled = self.config.training.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

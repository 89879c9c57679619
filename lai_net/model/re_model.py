"""LAI-Net's RE phase (Section 3.5): a subject with solid markers, its objects levitated.

Other representations (`input.representation`) give both other states, and the same is made of them.

B batch of subject instances, P objects, C classes of a pair, E entity types, d width.
"""

import functools
from collections import Counter
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lai_net.config import TrialConfig
from lai_net.inputs.re_inputs import UNTYPED, PairLabels, ReBatch
from lai_net.model.layers import build_first_round, build_second_round, fully_connected, in_float32
from lai_net.model.pretrained import EncoderSource
from lai_net.model.readings import PairInteraction, Text
from lai_net.schema import Labels
from lai_net.streams import Streams


@dataclass(frozen=True)
class ReOutput:
    """What the RE model says of a batch.

    Attributes:
        pair_logits: (B, P, C) of each (subject, object) pair, float32.
        type_logits: (B, P, E) of each object's entity type, float32; None without `head.object_typing`.
    """

    pair_logits: Tensor
    type_logits: Tensor | None


class ReModel(nn.Module):
    """First round, pair representation, second round over the pairs of one subject, pair classifier.

    With `head.kind = "linear"` the pair's logits are PL-Marker's sum alone: of a linear layer on the
    subject's solid markers and one on the object's levitated markers.

    Args:
        config: of the trial.
        labels: what is told apart, each with its phrase.
        streams: for the initialisation.
        source: the encoder's weights and tokenizer.

    Raises:
        InputError: the encoder does not go with the config.
    """

    def __init__(self, config: TrialConfig, labels: Labels, streams: Streams, source: EncoderSource) -> None:
        super().__init__()
        self.first_round = build_first_round(config, list(labels.relations.values()), streams, source)
        width, states = self.first_round.encoder.hidden_size, self.first_round.states_per_span
        dropout = config.head.dropout
        num_classes = PairLabels.of(labels).num_classes
        self.classifier: nn.Linear | None = None
        if config.head.kind == "fc":
            with streams.initialising("heads"):
                self.subject_fc = fully_connected(2 * width, width, dropout)
                self.object_fc = fully_connected(states * width, width, dropout)
                self.pair_fc = fully_connected(2 * width, width, dropout)
                self.classifier = nn.Linear(width, num_classes)
        self.shortcut: nn.ModuleList | None = None
        if config.head.shortcut or config.head.kind == "linear":
            with streams.initialising("shortcut"):
                self.shortcut = nn.ModuleList(nn.Linear(2 * width, num_classes) for _ in range(2))
        self.states_dropout = nn.Dropout(dropout) if config.head.kind == "linear" else nn.Identity()
        self.object_types: nn.Linear | None = None
        if config.head.object_typing != "off":
            with streams.initialising("object types"):
                self.object_types = nn.Linear(2 * width, len(labels.entities))
        self.second_round = build_second_round(width, config, streams)

    def forward(self, batch: ReBatch, streams: Streams) -> ReOutput:
        """Classify a batch's pairs and, with `head.object_typing`, its objects."""
        with streams.dropout("encoder"):
            reading = self.first_round.read_rows(Text(batch.ids, batch.ids_valid), batch.text_rows)
            interaction = self.first_round.mark_objects(
                reading, batch.subject_bounds, batch.bounds, batch.valid
            )
        with streams.dropout("heads"):
            subject_ends = self.states_dropout(interaction.subjects.flatten(2))
            object_ends = self.states_dropout(interaction.objects[:, :, -2:].flatten(2))
        parts = []
        if self.classifier is not None:
            parts.append(in_float32(self.classifier, self._pairs(subject_ends, interaction, batch, streams)))
        if self.shortcut is not None:
            of_subject, of_object = self.shortcut
            parts += [in_float32(of_subject, subject_ends), in_float32(of_object, object_ends)]
        types = None if self.object_types is None else in_float32(self.object_types, object_ends)
        return ReOutput(functools.reduce(torch.add, parts), types)

    def loss(self, output: ReOutput, batch: ReBatch, whole: Counter[str] | None = None) -> Tensor:
        """Cross-entropy, mean over the pairs of the batch, plus that of the objects' types.

        Args:
            output: of the batch.
            batch: with targets.
            whole: where the batch is a part of one: `counts` of that one. The losses of the parts then add
                up to that of the whole.
        """
        # Each place is looked up once: on a GPU the host waits for it.
        valid, typed = (places.nonzero(as_tuple=True) for places in (batch.valid, batch.types != UNTYPED))
        own = Counter(pairs=len(valid[0]), typed=len(typed[0]))
        whole = whole or own
        loss = F.cross_entropy(output.pair_logits[valid], batch.targets[valid])
        loss = loss * (own["pairs"] / whole["pairs"])
        if output.type_logits is None or not own["typed"]:
            return loss
        type_loss = F.cross_entropy(output.type_logits[typed], batch.types[typed])
        return loss + type_loss * (own["typed"] / whole["typed"])

    @staticmethod
    def counts(batch: ReBatch) -> Counter[str]:
        """How many pairs and typed objects of a batch the losses are means over."""
        return Counter(pairs=int(batch.valid.sum()), typed=int((batch.types != UNTYPED).sum()))

    def _pairs(
        self, subject: Tensor, interaction: PairInteraction, batch: ReBatch, streams: Streams
    ) -> Tensor:
        """Pair representations (B, P, d) after the second round."""
        with streams.dropout("heads"):
            subjects = self.subject_fc(subject).expand(-1, batch.bounds.shape[1], -1)
            objects = self.object_fc(interaction.objects.flatten(2))
            pairs: Tensor = self.pair_fc(torch.cat([subjects, objects], dim=-1))
        if self.second_round is not None:
            pairs = self.second_round(pairs, batch.valid, interaction.labels, streams)
        return pairs

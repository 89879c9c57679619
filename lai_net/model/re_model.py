"""LAI-Net's RE phase (Section 3.5): a subject with solid markers, its objects levitated.

B batch of subject instances, P objects, C classes of a pair, d width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lai_net.config import TrialConfig
from lai_net.inputs.re_inputs import PairLabels, ReBatch
from lai_net.model.first_round import Text, gather_tokens
from lai_net.model.layers import build_first_round, build_second_round, fully_connected, in_float32
from lai_net.schema import Labels
from lai_net.streams import Streams


class ReModel(nn.Module):
    """First round, pair representation, second round over the pairs of one subject, pair classifier."""

    def __init__(self, config: TrialConfig, labels: Labels, streams: Streams) -> None:
        super().__init__()
        self.first_round = build_first_round(config, list(labels.relations.values()), streams)
        width = self.first_round.encoder.hidden_size
        dropout = config.head.dropout
        num_classes = PairLabels.of(labels).num_classes
        with streams.initialising("heads"):
            self.subject_fc = fully_connected(2 * width, width, dropout)
            self.object_fc = fully_connected(4 * width, width, dropout)
            self.pair_fc = fully_connected(2 * width, width, dropout)
            self.classifier = nn.Linear(width, num_classes)
        self.shortcut: nn.ModuleList | None = None
        if config.head.shortcut:
            with streams.initialising("shortcut"):
                self.shortcut = nn.ModuleList(nn.Linear(2 * width, num_classes) for _ in range(2))
        self.second_round = build_second_round(width, config, streams)

    def forward(self, batch: ReBatch, streams: Streams) -> Tensor:
        """Logits (B, P, C) in float32 of each (subject, object) pair."""
        with streams.dropout("encoder"):
            reading = self.first_round.read(Text(batch.ids, batch.ids_valid))
            interaction = self.first_round.mark(reading, batch.bounds, batch.valid)
        with streams.dropout("heads"):
            solid = gather_tokens(interaction.text, batch.subject_bounds).flatten(1)
            subjects = self.subject_fc(solid).unsqueeze(1).expand(-1, batch.bounds.shape[1], -1)
            objects = self.object_fc(interaction.pairs.flatten(2))
            pairs = self.pair_fc(torch.cat([subjects, objects], dim=-1))
        if self.second_round is not None:
            pairs = self.second_round(pairs, batch.valid, interaction.labels, streams)
        logits = in_float32(self.classifier, pairs)
        if self.shortcut is not None:
            of_subject, of_object = self.shortcut
            levitated = interaction.pairs[:, :, 2:].flatten(2)
            logits = logits + in_float32(of_subject, solid).unsqueeze(1) + in_float32(of_object, levitated)
        return logits

    def loss(self, logits: Tensor, batch: ReBatch) -> Tensor:
        """Cross-entropy, mean over the pairs of the batch."""
        return F.cross_entropy(logits[batch.valid], batch.targets[batch.valid])

"""LAI-Net's NER phase (Sections 3.2-3.4).

B batch of sentences, P candidates, K classified candidates, E entity types, d width.
"""

from collections import Counter
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lai_net.config import TrialConfig
from lai_net.inputs.ner_inputs import NerBatch
from lai_net.model.candidate_filter import cold_candidates, kept_first, select_candidates
from lai_net.model.first_round import gather_tokens
from lai_net.model.layers import (
    build_first_round,
    build_second_round,
    classifier_input,
    fully_connected,
    in_float32,
)
from lai_net.model.pretrained import EncoderSource
from lai_net.model.readings import Reading, Text
from lai_net.schema import Labels
from lai_net.streams import Streams

_POSITIVE_RATE = 0.018  # of SciERC's spans; where the filter's bias starts


@dataclass(frozen=True)
class NerOutput:
    """What the NER model says of a batch.

    Attributes:
        filter_logits: (B, P) of being an entity, float32; None without a filter.
        kept: int (B, K), which candidates were classified.
        kept_valid: bool (B, K).
        class_logits: (B, K, 1 + E), float32.
    """

    filter_logits: Tensor | None
    kept: Tensor
    kept_valid: Tensor
    class_logits: Tensor

    def cpu(self) -> "NerOutput":
        """What decoding needs, on the host in one go."""
        return NerOutput(None, self.kept.cpu(), self.kept_valid.cpu(), self.class_logits.cpu())


class NerModel(nn.Module):
    """First round, candidate filter, second round, span classifier.

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
        self.config = config
        self.first_round = build_first_round(config, list(labels.entities.values()), streams, source)
        width, states = self.first_round.encoder.hidden_size, self.first_round.states_per_span
        with streams.initialising("heads"):
            self.span_fc, span_width = classifier_input(states * width, width, config.head)
            self.classifier = nn.Linear(span_width, 1 + len(labels.entities))
        self.text_fc: nn.Module | None = None
        self.filter: nn.Linear | None = None
        if config.filter.enabled:
            on_text = config.screens_text
            with streams.initialising("filter"):
                self.filter = nn.Linear(width if on_text else span_width, 1)
                nn.init.constant_(self.filter.bias, torch.logit(torch.tensor(_POSITIVE_RATE)).item())
                if on_text:
                    self.text_fc = fully_connected(2 * width, width, config.head.dropout)
        self.second_round = build_second_round(width, config, streams)

    def forward(
        self, batch: NerBatch, streams: Streams, *, cold: bool = False, with_gold: bool = False
    ) -> NerOutput:
        """Classify a batch's candidates.

        Args:
            batch: in training mode its gold spans join the filter's choice.
            streams: of dropout.
            cold: training mode: the cold start's choice instead of the filter's.
            with_gold: in evaluation gold spans join, too, to be typed; else they are not read there.
        """
        with_gold = with_gold or self.training
        screened_on_text = self.text_fc is not None
        with streams.dropout("encoder"):
            text = Text(batch.ids, batch.ids_valid)
            reading = self.first_round.read_rows(text, batch.text_rows, text_first=screened_on_text)
        if screened_on_text:
            return self._screen_then_mark(batch, reading, streams, cold=cold, with_gold=with_gold)
        return self._mark_then_screen(batch, reading, streams, cold=cold, with_gold=with_gold)

    def loss(self, output: NerOutput, batch: NerBatch, whole: Counter[str] | None = None) -> Tensor:
        """L_ner = L_filter + L_span (Eq. 11, 12), each a mean over its spans of the batch.

        Args:
            output: of the batch.
            batch: with targets.
            whole: where the batch is a part of one: `counts` of that one. The losses of the parts then add
                up to that of the whole.
        """
        # Each place is looked up once: on a GPU the host waits for it.
        kept, valid = (places.nonzero(as_tuple=True) for places in (output.kept_valid, batch.valid))
        own = Counter(candidates=len(valid[0]), classified=len(kept[0]))
        whole = whole or own
        targets = batch.targets.gather(1, output.kept)[kept]
        span_loss = F.cross_entropy(output.class_logits[kept], targets, reduction="sum")
        span_loss = span_loss / max(1, whole["classified"])
        if output.filter_logits is None or not own["candidates"]:
            return span_loss
        is_gold = (batch.targets > 0).float()
        filter_loss = F.binary_cross_entropy_with_logits(output.filter_logits[valid], is_gold[valid])
        return filter_loss * (own["candidates"] / whole["candidates"]) + span_loss

    def counts(self, output: NerOutput, batch: NerBatch) -> Counter[str]:
        """How many spans of a batch each of the two losses is a mean over."""
        return Counter(candidates=int(batch.valid.sum()), classified=int(output.kept_valid.sum()))

    def _screen_then_mark(
        self, batch: NerBatch, reading: Reading, streams: Streams, *, cold: bool, with_gold: bool
    ) -> NerOutput:
        """`filter.stage = "text"`: spans are screened on text states, survivors get markers."""
        if reading.states is None or self.text_fc is None or self.filter is None:
            raise RuntimeError("the text filter needs a text that was read first")
        with streams.dropout("heads"):
            ends = gather_tokens(reading.states, batch.bounds).flatten(2)
            filter_logits = in_float32(self.filter, self.text_fc(ends)).squeeze(-1)
        kept, kept_valid = kept_first(self._choice(filter_logits, batch, cold=cold, with_gold=with_gold))
        with streams.dropout("encoder"):
            bounds = gather_tokens(batch.bounds, kept)
            interaction = self.first_round.mark(reading, bounds, kept_valid)
        with streams.dropout("heads"):
            spans = self.span_fc(interaction.pairs.flatten(2))
        return self._classified(filter_logits, kept, kept_valid, spans, interaction.labels, streams)

    def _mark_then_screen(
        self, batch: NerBatch, reading: Reading, streams: Streams, *, cold: bool, with_gold: bool
    ) -> NerOutput:
        """The paper's order: every candidate gets markers; the filter sees span representations."""
        with streams.dropout("encoder"):
            interaction = self.first_round.mark(reading, batch.bounds, batch.valid)
        with streams.dropout("heads"):
            spans = self.span_fc(interaction.pairs.flatten(2))
            filter_logits = None if self.filter is None else in_float32(self.filter, spans).squeeze(-1)
        chosen = batch.valid
        if filter_logits is not None:
            chosen = self._choice(filter_logits, batch, cold=cold, with_gold=with_gold)
        kept, kept_valid = kept_first(chosen)
        spans = gather_tokens(spans, kept)
        return self._classified(filter_logits, kept, kept_valid, spans, interaction.labels, streams)

    def _choice(self, filter_logits: Tensor, batch: NerBatch, *, cold: bool, with_gold: bool) -> Tensor:
        logits = filter_logits.detach()
        is_gold = batch.targets > 0
        if self.training and cold:
            return cold_candidates(logits, batch.valid, is_gold, self.config.filter.cold_negatives)
        chosen = select_candidates(logits, batch.valid, batch.num_words, self.config.filter)
        return chosen | is_gold if with_gold else chosen

    def _classified(
        self,
        filter_logits: Tensor | None,
        kept: Tensor,
        kept_valid: Tensor,
        spans: Tensor,
        labels: Tensor | None,
        streams: Streams,
    ) -> NerOutput:
        if self.second_round is not None:
            spans = self.second_round(spans, kept_valid, labels, streams)
        return NerOutput(filter_logits, kept, kept_valid, in_float32(self.classifier, spans))

"""What NER and RE share: the encoder as it reads their labels, layers of heads, the second round."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lai_net.config import HeadConfig, Phase, Representation, TrialConfig
from lai_net.errors import InputError
from lai_net.model.encoder import build_encoder
from lai_net.model.first_round import FirstRound
from lai_net.model.g4cn import G4CN
from lai_net.model.in_text import SolidMarkers, SpanEnds
from lai_net.model.levitated import LevitatedMarkers
from lai_net.model.pretrained import EncoderSource
from lai_net.streams import Streams

_FIRST_ROUNDS: Mapping[Representation, type[FirstRound]] = {
    "vanilla": SpanEnds, "marker": SolidMarkers,
    "enumerate": LevitatedMarkers, "annotate": LevitatedMarkers,
}  # fmt: skip
_SOLID_MARKERS: Mapping[tuple[Representation, Phase], int] = {
    ("marker", "NER"): 2, ("marker", "RE"): 4, ("enumerate", "RE"): 2, ("annotate", "RE"): 2,
}  # fmt: skip
"""How many of them come on top of a text."""


def fully_connected(width_in: int, width: int, dropout: float) -> nn.Sequential:
    """The paper's FC: linear, GELU, dropout."""
    return nn.Sequential(nn.Linear(width_in, width), nn.GELU(), nn.Dropout(dropout))


def classifier_input(width_in: int, width: int, settings: HeadConfig) -> tuple[nn.Module, int]:
    """The module between a span's encoder states (..., width_in) and its classifier, and the width it gives.

    An FC to `width`, or, before a linear head, the states as they are, with dropout.
    """
    if settings.kind == "linear":
        return nn.Dropout(settings.dropout), width_in
    return fully_connected(width_in, width, settings.dropout), width


def in_float32(layer: nn.Module, states: Tensor) -> Tensor:
    """A layer outside autocast: what is compared or goes into a softmax must not be rounded to bf16."""
    with torch.autocast(states.device.type, enabled=False):
        result: Tensor = layer(states.float())
    return result


def build_first_round(
    config: TrialConfig, phrases: list[str], streams: Streams, source: EncoderSource
) -> FirstRound:
    """The encoder with a phase's label phrases.

    Raises:
        InputError: text and annotations do not fit the encoder's positions.
    """
    with streams.initialising("encoder"):
        encoder = build_encoder(config.encoder, source)
    encoder.checkpointing = config.training.activation_checkpointing
    annotations = source.tokenizer.annotations(phrases if config.input.is_annotated else [])
    start = config.input.max_text_tokens + 2  # RE's solid markers come on top of the text
    used = start + len(annotations.ids)
    if not config.input.is_annotated:
        solid = _SOLID_MARKERS.get((config.input.family, config.phase), 0)
        used = config.input.max_text_tokens + solid
    if used > encoder.max_positions:
        raise InputError(
            f"input.max_text_tokens {config.input.max_text_tokens} takes {used} positions with markers and "
            f"annotations, but the encoder has {encoder.max_positions}; lower input.max_text_tokens"
        )
    return _FIRST_ROUNDS[config.input.family](
        encoder,
        torch.tensor(annotations.ids) if config.input.is_annotated else None,
        torch.tensor(annotations.bounds, dtype=torch.long),
        annotation_start=start,
        settings=config.input,
    )


class SecondRound(nn.Module):
    """Eq. 8 and 13: nodes and labels through G4CN, averaged with the nodes.

    Args:
        width: d.
        config: of the trial.
        streams: for the initialisation.

    Raises:
        InputError: `graph.heads` does not divide d.
    """

    def __init__(self, width: int, config: TrialConfig, streams: Streams) -> None:
        super().__init__()
        self.graph = G4CN(width, config.graph, streams)
        with streams.initialising("labels"):
            self.label_fc = (
                fully_connected(2 * width, width, config.head.dropout) if config.input.is_annotated else None
            )

    def forward(self, nodes: Tensor, valid: Tensor, labels: Tensor | None, streams: Streams) -> Tensor:
        """Enhance nodes.

        Args:
            nodes: (B, K, d).
            valid: bool (B, K).
            labels: first and last state of each label's phrase, (1 or B, E, 2, d); None without annotations.
            streams: dropout draws from the stream `graph`.

        Returns:
            (B, K, d) in float32; label nodes are dropped after the graph.
        """
        with streams.dropout("graph"):
            every, everywhere = nodes, valid
            if self.label_fc is not None and labels is not None:
                label_nodes = self.label_fc(labels.flatten(2)).expand(nodes.shape[0], -1, -1)
                every = torch.cat([nodes, label_nodes.to(nodes.dtype)], dim=1)
                everywhere = torch.cat([valid, valid.new_ones(label_nodes.shape[:2])], dim=1)
            mixed = self.graph(every, everywhere)[:, : nodes.shape[1]]
        enhanced: Tensor = (nodes.float() + mixed) / 2
        return enhanced


def build_second_round(width: int, config: TrialConfig, streams: Streams) -> SecondRound | None:
    """None for 0 layers: "w/o 2nd" leaves the nodes as they are."""
    return SecondRound(width, config, streams) if config.graph.layers else None

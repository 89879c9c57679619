"""The `config.json` of a saved model. It may come from anywhere, so it is checked before it is used."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError
from torch import Tensor
from transformers.activations import ACT2FN

from lai_net.config import TrialConfig
from lai_net.errors import InputError

_RATE = Field(ge=0, lt=1)
_Phrase = Annotated[str, Field(pattern=r"\S")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class EncoderShape(_Section):
    """The shape of a BERT, by its names in `transformers`."""

    vocab_size: PositiveInt
    hidden_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    intermediate_size: PositiveInt
    max_position_embeddings: PositiveInt
    type_vocab_size: PositiveInt
    hidden_act: str
    layer_norm_eps: float = Field(gt=0)
    hidden_dropout_prob: float = _RATE
    attention_probs_dropout_prob: float = _RATE

    @property
    def num_weights(self) -> int:
        """At least so many numbers its embeddings and layers hold."""
        rows = self.vocab_size + self.max_position_embeddings + self.type_vocab_size
        layer = 4 * self.hidden_size**2 + 2 * self.hidden_size * self.intermediate_size
        return rows * self.hidden_size + self.num_hidden_layers * layer


class LabelPhrases(_Section):
    """As `lai_net.schema.Labels`."""

    entities: dict[str, _Phrase]
    relations: dict[str, _Phrase]
    symmetric: list[str]


class PhaseDescription(_Section):
    """One phase: its config by sections, and for people where the model comes from."""

    settings: dict[str, dict[str, Any]]
    labels: LabelPhrases
    encoder: EncoderShape
    origin: dict[str, Any]


class PhaseDescriptions(_Section):
    """Both phases."""

    NER: PhaseDescription
    RE: PhaseDescription


class ModelDescription(_Section):
    """The whole file; `sha256` is of files beside it, and empty where an earlier version wrote it."""

    model_type: Literal["lai-net"]
    format: Literal[1]
    shared_tokenizer: bool
    sha256: dict[str, str] = {}
    phases: PhaseDescriptions


def parse_description(content: bytes) -> ModelDescription:
    """Read `config.json`.

    Raises:
        InputError: it is no JSON, or not of this form; names the first place that is wrong.
    """
    try:
        return ModelDescription.model_validate_json(content)
    except ValidationError as error:
        complaint = error.errors(include_url=False)[0]
        place = ".".join(map(str, complaint["loc"])) or "the file"
        raise InputError(f"{place}: {complaint['msg']}") from error


def check_sizes(config: TrialConfig, encoder: EncoderShape, weights: Mapping[str, Tensor]) -> None:
    """Refuse a description that would have more built or enumerated than the weights can stand for.

    Raises:
        InputError: what is wrong, by its place in the phase's description.
    """
    held = sum(tensor.numel() for tensor in weights.values())
    longest = encoder.max_position_embeddings
    rules = {
        "encoder: more weights than the file holds": encoder.num_weights > held,
        "encoder.hidden_size: is no multiple of num_attention_heads": (
            encoder.hidden_size % encoder.num_attention_heads > 0
        ),
        f"encoder.hidden_act: {encoder.hidden_act!r} is unknown": encoder.hidden_act not in ACT2FN,
        "settings.graph.layers: more than the file holds": config.graph.layers > len(weights),
        "settings.input: longer than the encoder's positions": (
            max(config.input.max_text_tokens, config.input.max_span_words) > longest
        ),
    }
    for wrong, holds in rules.items():
        if holds:
            raise InputError(wrong)

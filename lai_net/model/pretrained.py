"""Pretrained BERTs of `transformers`, read and checked, and their tokenizers."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from lai_net.config import EncoderConfig
from lai_net.encoder_files import encoder_folder
from lai_net.encoder_reading import reading_encoder
from lai_net.errors import InputError
from lai_net.inputs.tokenization import WordTokenizer, word_tokenizer


@dataclass(frozen=True)
class EncoderSource:
    """What a model is built on: a tokenizer and a BERT of `transformers` without its pooler."""

    tokenizer: WordTokenizer
    bert: Any


def encoder_source(config: EncoderConfig) -> EncoderSource:
    """The encoder that a config names, read once a process.

    Raises:
        InputError: the model is no BERT or a damaged one, or has fewer layers than asked for.
    """
    bert = _pretrained(config.name, config.num_layers)
    return EncoderSource(word_tokenizer(config.name), bert)


@lru_cache(maxsize=2)
def _pretrained(name: str, num_layers: int | None) -> nn.Module:
    """Loaded once a process and kept; callers copy it."""
    folder = encoder_folder(name)
    with reading_encoder(name, "configuration"):
        kind = AutoConfig.from_pretrained(folder).model_type
    if kind != "bert":
        raise InputError(f"encoder {name!r} is a {kind} model; give a BERT")
    with reading_encoder(name, "model"):
        bert, report = AutoModel.from_pretrained(
            folder,
            add_pooling_layer=False,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are in the report
        )
    if report["missing_keys"]:
        raise InputError(
            f"encoder {name!r} lacks weights, such as {min(report['missing_keys'])}; give a whole one"
        )
    if report["mismatched_keys"]:
        key, stored, wanted = min(report["mismatched_keys"])
        raise InputError(
            f"encoder {name!r}: {key} has the shape {tuple(stored)}, but by its config.json {tuple(wanted)}; "
            "give a whole one"
        )
    if num_layers is not None:
        if num_layers > len(bert.encoder.layer):
            raise InputError(
                f"encoder.num_layers is {num_layers}, but {name!r} has {len(bert.encoder.layer)} layers"
            )
        bert.encoder.layer = bert.encoder.layer[:num_layers]
    return bert  # type: ignore[no-any-return]

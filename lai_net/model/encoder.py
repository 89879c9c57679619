"""A BERT encoder that can be read in two passes: a context first, marker pairs over its keys and values.

Weights and layers are those of `transformers`; only the order in which attention is computed is ours.
B batch, L tokens, C context tokens, P marker pairs, H hidden, A attention heads, D = H / A.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lai_net.config import EncoderConfig
from lai_net.model.backward_order import end_layer
from lai_net.model.pair_attention import mix_pairs
from lai_net.model.pretrained import EncoderSource
from lai_net.model.row_attention import RowAttention


@dataclass(frozen=True)
class Memory:
    """What pass one leaves to pass two.

    Attributes:
        layers: per encoder layer the keys and values, each (B, A, C, D).
        valid: bool (B, C), which of them are no padding.
    """

    layers: list[tuple[Tensor, Tensor]]
    valid: Tensor

    def expand(self, size: int) -> "Memory":
        """The memory of one context, shared by a batch of `size`."""
        layers = [(k.expand(size, -1, -1, -1), v.expand(size, -1, -1, -1)) for k, v in self.layers]
        return Memory(layers, self.valid.expand(size, -1))

    def rows(self, index: Tensor) -> "Memory":
        """The memory of the contexts that `index` names, int (R,); a context may be named more than once."""
        return Memory([(k[index], v[index]) for k, v in self.layers], self.valid[index])

    def join(self, other: "Memory") -> "Memory":
        """Both contexts side by side, for queries that may see both."""
        layers = [
            (torch.cat([k, other_k], dim=2), torch.cat([v, other_v], dim=2))
            for (k, v), (other_k, other_v) in zip(self.layers, other.layers, strict=True)
        ]
        return Memory(layers, torch.cat([self.valid, other.valid], dim=1))


@dataclass(frozen=True)
class Context:
    """Sequences whose tokens all see one another.

    Attributes:
        embedded: (B, L, H), from `TwoPassEncoder.look_up`.
        positions: int (B, L).
        valid: bool (B, L), which tokens are no padding.
    """

    embedded: Tensor
    positions: Tensor
    valid: Tensor


class TwoPassEncoder(nn.Module):
    """The first k layers of a BERT and four marker embeddings of its own.

    Marker ids follow the vocabulary (`lai_net.inputs.marker_ids`), so no slot of any vocabulary
    is assumed to be unused. Start markers begin as [MASK], end markers as the word "entity" (PL-Marker), with
    a little noise; unless they are fixed: then they are these and never change, and nothing is dropped out.
    """

    def __init__(self, bert: Any, *, mask_id: int, entity_id: int, fixed: bool = False) -> None:
        super().__init__()
        config = bert.config
        self.vocab_size: int = config.vocab_size
        self.hidden_size: int = config.hidden_size
        self.max_positions: int = config.max_position_embeddings
        self.num_heads: int = config.num_attention_heads
        self.attention_dropout: float = config.attention_probs_dropout_prob
        self.checkpointing = False
        self.is_compiled = False
        self.fixed = fixed
        self.embeddings: Any = bert.embeddings
        self.layers: Any = bert.encoder.layer
        words = self.embeddings.word_embeddings.weight.detach()
        start, end = words[mask_id], words[entity_id]
        initial = torch.stack([start, end, start, end])
        noise = 0.0 if fixed else 0.01 * torch.randn_like(initial)
        self.markers = nn.Embedding.from_pretrained(initial + noise, freeze=fixed)
        if fixed:
            self.eval()

    def train(self, mode: bool = True) -> Self:
        """As every module; a fixed encoder stays in evaluation mode, where its states are always the same."""
        return super().train(mode and not self.fixed)

    def look_up(self, *texts: Tensor) -> list[Tensor]:
        """Embeddings (B, L, H) of texts int (B, L), word pieces and marker ids.

        The gradient of a lookup is as large as the vocabulary: there is one, of each distinct id.
        """
        ids, places = torch.cat([text.flatten() for text in texts]).unique(return_inverse=True)
        is_marker = ids >= self.vocab_size
        words = self.embeddings.word_embeddings(ids.masked_fill(is_marker, 0))
        markers = self.markers((ids - self.vocab_size).clamp(min=0))
        distinct = torch.where(is_marker.unsqueeze(-1), markers, words)
        split = places.split([text.numel() for text in texts])
        return [F.embedding(own.view_as(text), distinct) for own, text in zip(split, texts, strict=True)]

    def encode(self, embedded: Tensor, positions: Tensor, seen: Tensor) -> tuple[Tensor, Memory]:
        """One pass over whole sequences.

        Args:
            embedded: (B, L, H), from `look_up`.
            positions: int (B, L).
            seen: bool (B, 1 or L, L), which keys a query may see.

        Returns:
            States (B, L, H) and the keys and values for a second pass.
        """
        states = self.embeddings(inputs_embeds=embedded, position_ids=positions)
        layers = []
        for number, layer in enumerate(self.layers):
            states, key, value = self._run(self._read_layer, layer, states, seen)
            layers.append((key, value))
            end_layer(states, number)
        return states, Memory(layers, seen[:, -1])

    def encode_pairs(self, ids: Tensor, positions: Tensor, memory: Memory) -> Tensor:
        """Pass two: each marker sees the memory and the two markers of its own pair, nothing else.

        Args:
            ids: int (B, P, 2), start and end marker ids.
            positions: int (B, P, 2).
            memory: of the context, batch B.

        Returns:
            States (B, P, 2, H), equal to those of one dense pass with the same visibility.
        """
        kinds, places = ids.flatten(1) - self.vocab_size, positions.flatten(1)
        index = None
        if not self.training:  # without dropout markers of a kind at a place differ only after layer one
            kinds, places, index = self._distinct(kinds, places)
        states: Tensor = self.embeddings(inputs_embeds=self.markers(kinds), position_ids=places)
        bias = _bias(memory.valid)
        for number, (layer, (key, value)) in enumerate(zip(self.layers, memory.layers, strict=True)):
            states = self._run(self._mark_layer, layer, states, key, value, bias, index)
            index = None
            end_layer(states, number)
        return states.view(*ids.shape, self.hidden_size)

    def encode_with_pairs(
        self, context: Context, ids: Tensor, positions: Tensor, valid: Tensor, beside: Memory | None
    ) -> tuple[Tensor, Tensor]:
        """Both passes layer by layer, for inference: each product takes the rows of both, none of padding.

        The fewer rows a product has, the more of its time goes into reading its weights.

        Args:
            context: batch B.
            ids: int (B, P, 2), start and end marker ids.
            positions: int (B, P, 2).
            valid: bool (B, P), which pairs are no padding.
            beside: what all markers see beside their contexts, batch 1 without padding.

        Returns:
            States of the context (B, L, H) and of the markers (B, P, 2, H), 0 in padding.
        """
        present, marked = context.valid, valid.unsqueeze(2).expand_as(ids).flatten(1)
        kinds = (ids.flatten(1) - self.vocab_size)[marked]
        kinds, places, distinct = self._distinct(kinds, positions.flatten(1)[marked])
        tokens = self.embeddings(inputs_embeds=context.embedded, position_ids=context.positions)[present]
        pairs = self.embeddings(inputs_embeds=self.markers(kinds), position_ids=places)[0]
        states, num_tokens = torch.cat([tokens, pairs]), len(tokens)
        index: Tensor | None = torch.cat([torch.arange(num_tokens), num_tokens + distinct])
        attention = RowAttention(present.sum(1).tolist(), marked.sum(1).tolist(), self.num_heads)
        memories = repeat(None) if beside is None else beside.layers
        for layer, memory in zip(self.layers, memories, strict=False):
            query, key, value = (_spread(rows, index) for rows in _projections(layer, states))
            mixed = attention.mix(query, key, value, memory)
            states, index = self._finish(layer, mixed, _spread(states, index)), None
        pairs = _padded(states[num_tokens:], marked).view(*ids.shape, self.hidden_size)
        return _padded(states[:num_tokens], present), pairs

    def compile_passes(self) -> None:
        """`torch.compile` both passes, for any lengths; the first call of each takes a while.

        What was compiled for other models is forgotten: torch compiles a function at most eight times, then
        runs it as it is. A model takes four, for training or not and one row or several.
        """
        torch.compiler.reset()
        self.is_compiled = True
        self.encode = torch.compile(self.encode, dynamic=True)  # type: ignore[method-assign]
        self.encode_pairs = torch.compile(self.encode_pairs, dynamic=True)  # type: ignore[method-assign]

    def _run(self, layer_pass: Callable[..., Any], *inputs: Any) -> Any:
        """One layer of a pass; with `checkpointing` its activations are computed again in `backward`."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(layer_pass, *inputs, use_reentrant=False)
        return layer_pass(*inputs)

    def _read_layer(self, layer: Any, states: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States, keys and values of one layer; see `encode`."""
        query, key, value = map(self._heads, _projections(layer, states))
        mixed = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=seen.unsqueeze(1),
            dropout_p=self.attention_dropout if self.training else 0.0,
        )
        return self._finish(layer, _joined(mixed), states), key, value

    def _mark_layer(
        self,
        layer: Any,
        states: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor,
        index: Tensor | None = None,
    ) -> Tensor:
        """The markers' states (B, 2P, H) after one layer over a context's keys and values (B, A, C, D).

        With `index` int (B, 2P), `states` (1, U, H) are the distinct ones, and it says which each marker has.
        """
        query, own_key, own_value = (
            self._heads(_spread(rows, index)) for rows in _projections(layer, states)
        )
        dropout = self.attention_dropout if self.training else 0.0
        mixed = mix_pairs(query, own_key, own_value, (key, value), bias=bias, dropout=dropout)
        return self._finish(layer, _joined(mixed), _spread(states, index))

    def _heads(self, states: Tensor) -> Tensor:
        """(B, L, H) -> (B, A, L, D)."""
        heads: Tensor = torch.unflatten(states, 2, (self.num_heads, -1))
        return heads.transpose(1, 2)

    def _finish(self, layer: Any, mixed: Tensor, states: Tensor) -> Tensor:
        """What follows attention, of (..., H) each."""
        finished: Tensor = layer.feed_forward_chunk(layer.attention.output(mixed, states))
        return finished

    def _distinct(self, kinds: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Kinds (1, U) and places (1, U) of the distinct markers, and which of them each is, as `kinds`."""
        distinct, index = (kinds * self.max_positions + places).unique(return_inverse=True)
        return (distinct // self.max_positions)[None], (distinct % self.max_positions)[None], index


def _projections(layer: Any, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (..., H) of states (..., H).

    For inference autocast's cast is made once, not once a product; in training its gradient would be rounded.
    """
    device = states.device.type
    if torch.is_autocast_enabled(device) and not torch.is_grad_enabled():
        states = states.to(torch.get_autocast_dtype(device))
    attention = layer.attention.self
    return attention.query(states), attention.key(states), attention.value(states)


def _bias(valid: Tensor) -> Tensor:
    """Added to scores: 0 where bool (B, C) holds, else so little that nothing is attended to."""
    return torch.zeros_like(valid, dtype=torch.float32).masked_fill(~valid, -1e4)


def _joined(heads: Tensor) -> Tensor:
    """(B, A, L, D) -> (B, L, H)."""
    return heads.transpose(1, 2).flatten(2)


def _padded(rows: Tensor, valid: Tensor) -> Tensor:
    """Rows (R, H) at the R places that bool (B, L) has, (B, L, H); 0 elsewhere."""
    padded = rows.new_zeros(*valid.shape, rows.shape[-1])
    padded[valid] = rows
    return padded


def _spread(distinct: Tensor, index: Tensor | None) -> Tensor:
    """Rows of (U, H) or (1, U, H) at `index` int (...) -> (..., H); without one, as they are."""
    return distinct if index is None else F.embedding(index, distinct.flatten(0, -2))


def build_encoder(config: EncoderConfig, source: EncoderSource) -> TwoPassEncoder:
    """A fresh encoder with a copy of the source's weights, frozen as the config says.

    Marker embeddings draw from torch's global generator.
    """
    encoder = TwoPassEncoder(
        copy.deepcopy(source.bert),
        mask_id=source.tokenizer.mask_id,
        entity_id=source.tokenizer.entity_id,
        fixed=config.freeze == "features",
    )
    if config.freeze in ("all", "features"):
        encoder.embeddings.requires_grad_(False)
        encoder.layers.requires_grad_(False)
    elif config.freeze == "embeddings":
        encoder.embeddings.word_embeddings.requires_grad_(False)
    return encoder

"""PL-Marker's shapes in our code: every instance padded, text and markers attended to in one dense pass.

An instance is a sentence (NER) or a subject (RE) with one pack of marker pairs. NER has 512 text tokens and
256 pairs, RE 256 and 16 (run_acener.py and run_re.py of thunlp/PL-Marker, with their published settings).
B batch, T text tokens, P marker pairs, H hidden, I instances.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lai_net.inputs.batching import inference_tokens
from lai_net.model.first_round import FirstRound
from lai_net.model.levitated import LevitatedMarkers
from lai_net.model.readings import Interaction, Reading, Text


@dataclass(frozen=True)
class Shape:
    """What an instance is padded to."""

    text_tokens: int
    pairs: int


PL_MARKER = {"NER": Shape(text_tokens=512, pairs=256), "RE": Shape(text_tokens=256, pairs=16)}


class PaddedFirstRound(LevitatedMarkers):
    """A first round whose instances all have one shape; what stands above it is as ever."""

    @classmethod
    def of(cls, first_round: FirstRound, shape: Shape) -> "PaddedFirstRound":
        """The same weights and inputs in that shape."""
        padded = cls(
            first_round.encoder,
            first_round.annotation_ids if first_round.has_annotations else None,
            first_round.label_bounds,
            annotation_start=max(first_round.annotation_start, shape.text_tokens),
            settings=first_round.settings,
        )
        padded.two_pass = False
        padded.shape = shape
        return padded

    shape: Shape

    def mark(self, reading: Reading, bounds: Tensor, valid: Tensor) -> Interaction:
        """One padded dense pass over all instances; a pack without candidates is no instance."""
        (batch, length), candidates, size = reading.text.ids.shape, bounds.shape[1], self.shape.pairs
        tail = (0, self.shape.text_tokens - length)
        ids, ids_valid = F.pad(reading.text.ids, tail), F.pad(reading.text.valid, tail)
        beyond = -candidates % size
        packs = F.pad(bounds, (0, 0, 0, beyond)).view(batch, -1, size, 2)
        packs_valid = F.pad(valid, (0, beyond)).view(batch, -1, size)
        used = packs_valid.any(-1)
        used[:, 0] = True
        rows, columns = used.nonzero(as_tuple=True)
        tokens = self.shape.text_tokens + 2 * size
        at_once = len(rows) if torch.is_grad_enabled() else max(1, inference_tokens(ids.device) // tokens)
        read = [
            self._read_pack(Text(ids[row], ids_valid[row]), packs[row, column], packs_valid[row, column])
            for row, column in zip(rows.split(at_once), columns.split(at_once), strict=True)
        ]
        pairs = torch.cat([instance.pairs for instance in read])
        whole = pairs.new_zeros(*used.shape, *pairs.shape[1:]).index_put((rows, columns), pairs)
        texts = torch.cat([instance.text for instance in read])[columns == 0]
        return Interaction(texts[:, :length], whole.flatten(1, 2)[:, :candidates], read[0].labels)

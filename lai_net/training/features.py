"""Makes what `lai_net.model.stored_features` reads: the states of a frozen encoder, once for many trials.

A folder below the cache's holds the states of one split under one reading. Its name is a hash of all that
the states depend on, it appears complete or not at all, and nothing ever changes it: it may be shared, copied
and, while no training runs, deleted.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import torch
import transformers
from torch import Tensor

from lai_net.config import TrialConfig
from lai_net.encoder_files import encoder_id
from lai_net.errors import InputError
from lai_net.files import json_digest, locked, new_folder
from lai_net.inputs.batching import inference_tokens, padded, sorted_batches
from lai_net.inputs.marked_texts import MarkedTexts
from lai_net.model.first_round import FirstRound
from lai_net.model.readings import Text
from lai_net.model.stored_features import (
    LABELS,
    PAIRS,
    TOKENS,
    Arrays,
    StoredFeatures,
    open_arrays,
    storable,
)

FORMAT = 1
"""Raised by hand whenever the same texts would give other states or be stored otherwise."""
DESCRIPTION = "features.json"


class Carrier(Protocol):
    """Brings arrays to other machines, so that each need not read them from the folder."""

    def fetch(self, key: str) -> Arrays | None:
        """What was offered under a key; None before."""

    def offer(self, key: str, arrays: Arrays) -> None:
        """Let others fetch arrays."""


@dataclass(frozen=True)
class FeatureStore:
    """Where the states of frozen encoders are kept.

    Attributes:
        folder: the cache's, shared by trainings.
        carrier: of a cluster; None where all trainings read the folder.
    """

    folder: Path
    carrier: Carrier | None = None

    def states(self, config: TrialConfig, texts: MarkedTexts, first_round: FirstRound) -> StoredFeatures:
        """The states of texts and their candidates, computed now if they are not kept.

        Of processes that lack the same states one computes them while the others wait.

        Args:
            config: with constant states (`TrialConfig.has_constant_states`).
            texts: of a split.
            first_round: of the config, with fixed features; computes under the caller's autocast.

        Raises:
            InputError: what is kept is not of these texts.
        """
        described = _description(config, texts, first_round)
        place = self.folder / json_digest(described)[:32]
        arrays = self._find(place)
        if arrays is None:
            with _sole_builder(place):
                arrays = self._find(place)
                if arrays is None:
                    if not place.is_dir():
                        dtype = torch.bfloat16 if config.training.precision == "bf16" else torch.float32
                        with new_folder(place, durable=True) as new:
                            _write_states(new, texts, first_round, dtype)
                            (new / DESCRIPTION).write_text(json.dumps(described, indent=1))
                    arrays = open_arrays(place)
                    if self.carrier is not None:
                        self.carrier.offer(place.name, arrays)
        _check_sizes(place, arrays, texts)
        return StoredFeatures(arrays, texts)

    def _find(self, place: Path) -> Arrays | None:
        if self.carrier is not None:
            return self.carrier.fetch(place.name)
        return open_arrays(place) if place.is_dir() else None


def _check_sizes(place: Path, arrays: Arrays, texts: MarkedTexts) -> None:
    """Refuse arrays with other numbers of rows than their texts have tokens and candidates."""
    wanted = {TOKENS: sum(map(len, texts.ids)), PAIRS: sum(map(len, texts.bounds))}
    for name, array in arrays.items():
        if len(array) != wanted.get(name, len(array)):
            raise InputError(
                f"{place}: {name} has {len(array)} rows, but its texts have {wanted[name]}; delete the folder"
            )


def _description(config: TrialConfig, texts: MarkedTexts, first_round: FirstRound) -> dict[str, Any]:
    """All that the states depend on; two that are equal have equal states.

    Phase, corpus, split and settings of the input act by way of what is read: word pieces, marked tokens and
    annotations. A marker's embedding is a word's, so no seed acts.
    """
    settings = config.input
    described = {
        "format": FORMAT,
        "torch": torch.__version__,
        "transformers": transformers.__version__,  # embeddings and layers are its code
        "device": first_round.annotation_ids.device.type,
        "encoder_id": encoder_id(config.encoder.name),
        "num_layers": len(first_round.encoder.layers),
        "precision": config.training.precision,
        "texts": _digest(texts.ids),
        "num_texts": len(texts.ids),
    }
    if settings.is_levitated:
        described |= {"candidates": _digest(texts.bounds), "num_candidates": len(texts.candidate_keys)}
    if settings.is_annotated:
        described |= {
            "attention_mask": settings.attention_mask,
            "annotations": first_round.annotation_ids.tolist(),
            "labels": first_round.label_bounds.tolist(),
            "annotation_start": first_round.annotation_start,
        }
    return described


def _digest(arrays: tuple[np.ndarray, ...]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(len(array).to_bytes(8, "little"))
        digest.update(array.astype("<i8").tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _sole_builder(place: Path) -> Iterator[None]:
    """Hold the lock of a folder that is to be built."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with locked(place.with_name(f".{place.name}.lock")):
        yield


def _write_states(folder: Path, texts: MarkedTexts, first_round: FirstRound, dtype: torch.dtype) -> None:
    """Token and pair states go to disk batch by batch; those of labels are few and held until the end."""
    width, settings = first_round.encoder.hidden_size, first_round.settings
    device = first_round.annotation_ids.device
    sizes = [len(ids) + 2 * len(bounds) for ids, bounds in zip(texts.ids, texts.bounds, strict=True)]
    in_order = np.maximum.accumulate(sizes).tolist()  # so that batches take the texts as they are stored
    shapes: dict[str, tuple[int, ...]] = {TOKENS: (sum(map(len, texts.ids)), width)}
    if settings.is_levitated:
        shapes[PAIRS] = (sum(map(len, texts.bounds)), 2, width)
    labels: list[Tensor] = []
    with contextlib.ExitStack() as stack, torch.no_grad():
        files = {
            name: stack.enter_context(_array_file(folder / name, shape, dtype))
            for name, shape in shapes.items()
        }
        for members in sorted_batches(in_order, inference_tokens(device)):
            ids, ids_valid = padded([texts.ids[row] for row in members])
            bounds, valid = padded([texts.bounds[row] for row in members])
            reading = first_round.read(Text(ids.to(device), ids_valid.to(device)))
            if reading.states is None:
                raise RuntimeError("constant states are read before candidates are marked")
            files[TOKENS].write(storable(reading.states[ids_valid], dtype).tobytes())
            if settings.is_levitated:
                pairs = first_round.mark(reading, bounds.to(device), valid.to(device)).pairs[:, :, 2:]
                files[PAIRS].write(storable(pairs[valid], dtype).tobytes())
            if reading.labels is not None:
                sees_text = settings.attention_mask == "vis"  # and so differs from text to text
                labels = [*labels, reading.labels] if sees_text else [reading.labels]
    if labels:
        np.save(folder / LABELS, storable(torch.cat(labels), dtype))


@contextlib.contextmanager
def _array_file(path: Path, shape: tuple[int, ...], dtype: torch.dtype) -> Iterator[BinaryIO]:
    """An `.npy` file that is written front to end: on a full disk that fails, where a memory map crashes."""
    kind = storable(torch.zeros(0), dtype).dtype
    with path.open("wb") as file:
        header = {"descr": kind.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        yield file

"""Checkpoints at epoch ends: safetensors and JSON, written under a temporary name, then renamed.

Only trainable parameters are stored; frozen ones come from the encoder, whose content is recorded.
Random streams need no place here: they are functions of (seed, name, epoch), see `lai_net.streams`.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_MODEL, _OPTIMIZER, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands after an epoch.

    Attributes:
        epoch: epochs done.
        best_epoch: the selected one; 0 before any could be selected.
        best_f1: its F1.
        history: one report an epoch, as yielded.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_f1: float = -1.0
    history: tuple[dict[str, Any], ...] = ()


def save_model(model: nn.Module, folder: Path, description: dict[str, Any]) -> None:
    """Write the trainable parameters and what is needed to build the model again."""
    temporary = _temporary(folder)
    save_file(_trainable(model), temporary / _MODEL)
    (temporary / "config.json").write_text(json.dumps(description, indent=1))
    _publish(temporary, folder)


def load_weights(model: nn.Module, folder: Path) -> None:
    """Read trainable parameters back; names and shapes must agree."""
    stored = load_file(folder / _MODEL)
    own = _trainable(model)
    if stored.keys() != own.keys():
        raise ValueError(f"{folder / _MODEL} is of another model: {sorted(stored.keys() ^ own.keys())[:3]}")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(stored[name])


def save_checkpoint(
    work_dir: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState
) -> None:
    """Write `epoch-NNNN` and remove older ones."""
    folder = work_dir / f"epoch-{state.epoch:04d}"
    temporary = _temporary(folder)
    save_file(_trainable(model), temporary / _MODEL)
    save_file(_optimizer_tensors(optimizer), temporary / _OPTIMIZER)
    digests = {name: _sha256(temporary / name) for name in (_MODEL, _OPTIMIZER)}
    (temporary / _STATE).write_text(json.dumps({"state": asdict(state), "sha256": digests}))
    _publish(temporary, folder)
    for older in work_dir.glob("epoch-*"):
        if older != folder:
            shutil.rmtree(older)


def newest_checkpoint(folders: Iterable[Path]) -> tuple[Path, TrainingState] | None:
    """The furthest complete and undamaged checkpoint below any of the folders."""
    found = []
    for folder in folders:
        for path in folder.glob("epoch-*"):
            state = _read_state(path)
            if state is not None:
                found.append((state.epoch, str(path), path, state))
    if not found:
        return None
    _, _, path, state = max(found, key=lambda item: item[:2])
    return path, state


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Set model and optimizer to a checkpoint from `newest_checkpoint`."""
    load_weights(model, path)
    tensors = load_file(path / _OPTIMIZER)
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def adopt(source: Path, target: Path) -> None:
    """Copy a folder of an earlier attempt into this one, completely or not at all."""
    temporary = _temporary(target)
    shutil.copytree(source, temporary, dirs_exist_ok=True)
    _publish(temporary, target)


def _read_state(path: Path) -> TrainingState | None:
    try:
        stored = json.loads((path / _STATE).read_text())
        intact = all(_sha256(path / name) == digest for name, digest in stored["sha256"].items())
    except (OSError, ValueError, KeyError):
        return None
    state = stored["state"]
    return TrainingState(**(state | {"history": tuple(state["history"])})) if intact else None


def _trainable(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad
    }


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{index}.{name}": tensor
        for index, values in optimizer.state_dict()["state"].items()
        for name, tensor in values.items()
    }


def _temporary(folder: Path) -> Path:
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    return temporary


def _publish(temporary: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""A training's folder and its checkpoints at epoch ends: safetensors and JSON, in folders that appear whole.

Only trainable parameters are stored; frozen ones come from the encoder, whose content is recorded.
Random streams need no place here: they are functions of (seed, name, epoch), see `lai_net.streams`.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lai_net.active_settings import active_settings
from lai_net.errors import InputError
from lai_net.files import json_digest, new_file, new_folder, replace_folder, sha256_of, unwritable
from lai_net.settings import config_from_dict
from lai_net.tensor_files import write_tensors

BEST, _OWNER = "best", "training.json"
_MODEL, _OPTIMIZER, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_DESCRIPTION, _HISTORY, _DIGESTS = "config.json", "history.json", "sha256.json"


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


def open_folder(work_dir: Path, description: dict[str, Any]) -> None:
    """Make a training's folder where it is missing; another training must not go on from its checkpoints.

    Cheap, so that it comes before a model is built; `claim` then marks the folder.

    Raises:
        InputError: it cannot be written, or holds another training.
    """
    owner = work_dir / _OWNER
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        held = owner.read_text() if owner.exists() else None
    except OSError as error:
        raise unwritable(work_dir, error) from error
    if held is not None and not _is_of(held, description):
        raise InputError(
            f"{work_dir}: holds a training with another config, seed, corpus or encoder; give another folder"
        )


def claim(work_dir: Path, description: dict[str, Any]) -> None:
    """Mark the folder as this training's."""
    owner = work_dir / _OWNER
    if not owner.exists():
        with new_file(owner) as new:
            new.write_text(json.dumps(description, indent=1))


def save_model(model: nn.Module, folder: Path, description: dict[str, Any]) -> None:
    """Write the trainable parameters and what is needed to build the model again."""
    with new_folder(folder) as new:
        write_tensors(_trainable(model), new / _MODEL)
        (new / _DESCRIPTION).write_text(json.dumps(description, indent=1))


def load_description(folder: Path) -> dict[str, Any]:
    """What `save_model` was given beside the model.

    Raises:
        InputError: there is no model, or the file is damaged, or of something else.
    """
    try:
        description: Any = json.loads((folder / _DESCRIPTION).read_text())
    except OSError as error:
        raise InputError(
            f"{folder}: no trained model there ({error.strerror}); give a folder of `lai train`"
        ) from error
    except ValueError as error:
        raise InputError(f"{folder / _DESCRIPTION}: is damaged ({error}); train again") from error
    if not isinstance(description, dict) or not isinstance(description.get("config"), dict):
        raise InputError(f"{folder}: no trained model, but something else; give a folder of `lai train`")
    return description


def load_weights(model: nn.Module, folder: Path) -> None:
    """Read trainable parameters back.

    Raises:
        InputError: the file is missing or damaged, or of another model.
    """
    try:
        stored, is_intact = load_file(folder / _MODEL), _is_as_finished(folder)
    except (OSError, ValueError, AttributeError, SafetensorError) as error:
        raise InputError(f"{folder / _MODEL}: cannot be read ({error}); train again") from error
    own = _trainable(model)
    shapes, expected = ({name: item.shape for name, item in these.items()} for these in (stored, own))
    if others := sorted(dict(shapes.items() ^ expected.items())):
        raise InputError(
            f"{folder / _MODEL}: {others[0]} is not as {_DESCRIPTION} says ({len(others)} such); train again"
        )
    if not is_intact:
        raise InputError(f"{folder / _MODEL}: is damaged, {_DIGESTS} beside it says; train again")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(stored[name])


def save_checkpoint(
    work_dir: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState
) -> None:
    """Write `epoch-NNNN` and remove older ones; the model of the best epoch is there already, and stays."""
    folder = work_dir / f"epoch-{state.epoch:04d}"
    names = [_MODEL, _OPTIMIZER]
    if state.best_epoch:
        names += [
            f"../{best_folder(work_dir, state.best_epoch).name}/{name}" for name in (_MODEL, _DESCRIPTION)
        ]
    with new_folder(folder) as new:
        write_tensors(_trainable(model), new / _MODEL)
        write_tensors(_optimizer_tensors(optimizer), new / _OPTIMIZER)
        stored = {"state": asdict(state), "sha256": {name: sha256_of(new / name) for name in names}}
        (new / _STATE).write_text(json.dumps(stored | {"state_sha256": json_digest(stored["state"])}))
    kept = (folder, best_folder(work_dir, state.best_epoch))
    for older in [*work_dir.glob("epoch-*"), *work_dir.glob("best-*")]:
        if older not in kept:
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


def best_folder(work_dir: Path, epoch: int) -> Path:
    """Where the model of the epoch that is best so far lies."""
    return work_dir / f"best-{epoch:04d}"


def finish(work_dir: Path, state: TrainingState) -> None:
    """Turn the best epoch's folder into `best`; its history marks the training as done."""
    best = best_folder(work_dir, state.best_epoch)
    with new_file(best / _HISTORY) as new:
        new.write_text(json.dumps(state.history))
        digests = {name: sha256_of(best / name) for name in (_MODEL, _DESCRIPTION)}
        (best / _DIGESTS).write_text(json.dumps(digests | {_HISTORY: sha256_of(new)}))
    replace_folder(best, work_dir / BEST)
    for path in list(work_dir.glob("epoch-*")):
        shutil.rmtree(path)


def best_model(folder: Path) -> Path:
    """The model in a folder of `lai train`; any other folder as it is.

    Raises:
        InputError: the training is not finished.
    """
    if (folder / _OWNER).is_file():
        if not (folder / BEST / _DESCRIPTION).is_file():
            raise InputError(f"{folder}: its training is not finished; call `lai train` again")
        return folder / BEST
    return folder


def finished_history(work_dir: Path) -> list[dict[str, Any]] | None:
    """The reports of a training that is done; None where it is not, or where its files are damaged."""
    best = work_dir / BEST
    try:
        history: list[dict[str, Any]] = json.loads((best / _HISTORY).read_text())
        return history if _is_as_finished(best) else None
    except (OSError, ValueError, AttributeError):
        return None


def adopt(source: Path, target: Path) -> None:
    """Copy a folder of an earlier attempt into this one, completely or not at all."""
    with new_folder(target) as new:
        shutil.copytree(source, new, dirs_exist_ok=True)


def _is_of(held: str, description: dict[str, Any]) -> bool:
    """Whether a folder's mark, maybe of another version, is of the training that is described."""
    try:
        return _identity(json.loads(held)) == _identity(description)
    except (InputError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _identity(description: dict[str, Any]) -> str:
    """What a training depends on: contents, not names; labels in their order, which numbers the classes."""
    settings = active_settings(config_from_dict(description["config"]))
    del settings["encoder"]["name"]
    contents = [description["corpus"]["content_id"], description["encoder_id"], description["labels"]]
    return json.dumps([settings, *contents, description["seed"]])


def _read_state(path: Path) -> TrainingState | None:
    try:
        stored = json.loads((path / _STATE).read_text())
        state = stored["state"]
        intact = stored.get("state_sha256") in (None, json_digest(state))  # None: of an earlier version
        intact &= all(sha256_of(path / name) == digest for name, digest in stored["sha256"].items())
        return TrainingState(**(state | {"history": tuple(state["history"])})) if intact else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_as_finished(folder: Path) -> bool:
    """Whether files have the digests that `finish` noted; true where it noted none."""
    noted = folder / _DIGESTS
    digests = json.loads(noted.read_text()) if noted.exists() else {}
    return all(sha256_of(folder / name) == digest for name, digest in digests.items())


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

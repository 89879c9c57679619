"""A trained pair of models as one folder that needs nothing else: neither its encoder nor the trials.

    config.json            settings, label phrases, encoder shape and origin of both phases, digests of the
                           files below
    model.safetensors      all weights, those of the encoder among them, under `NER.` and `RE.`
    tokenizer.json, tokenizer_config.json      which `transformers` reads; in `ner/` and `re/` where the
                                               phases were trained on encoders with different tokenizers

Data only: nothing of it is executed or unpickled, `config.json` is checked before anything is built from it,
and it holds no path that is followed.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from lai_net.config import PHASES, Phase, TrialConfig
from lai_net.errors import InputError, first_line
from lai_net.files import new_files, sha256_of, unreadable, unwritable
from lai_net.inputs.tokenization import (
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    TOKENIZER_FILES,
    WordTokenizer,
)
from lai_net.model.pretrained import EncoderSource
from lai_net.saved_description import (
    EncoderShape,
    LabelPhrases,
    ModelDescription,
    PhaseDescription,
    PhaseDescriptions,
    check_sizes,
    parse_description,
)
from lai_net.settings import config_from_dict
from lai_net.tensor_files import write_tensors
from lai_net.trained_model import TrainedModel, build_model, labels_from_dict, labels_to_dict

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_REMEDY = "save the model again"


def write_model(folder: Path, models: Mapping[Phase, TrainedModel]) -> None:
    """Write both phases' models; earlier ones there are replaced, each file at once and `config.json` last.

    Raises:
        InputError: the folder cannot be written, or has a model of another kind.
    """
    earlier = earlier_model(folder)
    tokenizers = [models[phase].task.tokenizer for phase in PHASES]
    shared = tokenizers[0].content == tokenizers[1].content
    phases = PhaseDescriptions(**{phase: _describe(models[phase]) for phase in PHASES})
    weights = {
        f"{phase}.{name}": tensor.detach().cpu().contiguous()
        for phase in PHASES
        for name, tensor in models[phase].task.model.state_dict().items()
    }
    try:
        with new_files(folder, last=CONFIG) as new:
            for phase, tokenizer in zip(PHASES, tokenizers, strict=True):
                tokenizer.save(_tokenizer_folder(new, phase, shared=shared))
            write_tensors(weights, new / WEIGHTS)
            description = ModelDescription(
                model_type="lai-net",
                format=1,
                shared_tokenizer=shared,
                sha256={name: sha256_of(new / name) for name in _digested(shared=shared)},
                phases=phases,
            )
            (new / CONFIG).write_text(description.model_dump_json(indent=1), encoding="utf-8")
        if earlier is not None and earlier.shared_tokenizer != shared:
            _remove(_tokenizer_files(folder, shared=not shared))
    except OSError as error:
        raise unwritable(folder, error) from error


def read_model(folder: Path, device: str) -> dict[Phase, TrainedModel]:
    """Build both phases' models from a folder of `write_model`.

    Raises:
        InputError: there is no such model, or a file of it is not what `write_model` writes.
    """
    path = folder / CONFIG
    try:
        stored = parse_description(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{folder}: no saved model there ({error.strerror}); give a folder of `lai save` or "
            "`save_pretrained`"
        ) from error
    except InputError as error:
        raise InputError(f"{path}: {error}; {_REMEDY}") from error
    _check_digests(folder, stored)
    return {phase: _read_phase(folder, phase, stored, device) for phase in PHASES}


def earlier_model(folder: Path) -> ModelDescription | None:
    """The description of the model that `write_model` would replace, if there is one.

    Raises:
        InputError: what is there is another's: an encoder, or a trial.
    """
    if not (folder / CONFIG).exists():
        return None
    try:
        return parse_description((folder / CONFIG).read_bytes())
    except (OSError, InputError) as error:
        raise InputError(
            f"{folder}: has a {CONFIG} that is not of a saved model; give another folder, or empty this one"
        ) from error


def _tokenizer_files(folder: Path, *, shared: bool) -> list[Path]:
    places = {_tokenizer_folder(folder, phase, shared=shared) for phase in PHASES}
    return sorted(place / name for place in places for name in TOKENIZER_FILES)


def _remove(files: Iterable[Path]) -> None:
    """Remove files, and their folder where it is empty then."""
    for path in files:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def _digested(*, shared: bool) -> list[str]:
    """The files that a wrong bit may spoil without a trace, by their names in the folder."""
    return [WEIGHTS, *map(str, _tokenizer_files(Path(), shared=shared))]


def _check_digests(folder: Path, stored: ModelDescription) -> None:
    """Refuse files that are not those which were written; earlier versions noted no digests."""
    for name in _digested(shared=stored.shared_tokenizer):
        path = folder / name
        try:
            is_intact = stored.sha256.get(name) in (None, sha256_of(path))
        except OSError as error:
            raise unreadable(path, error, _REMEDY) from error
        if not is_intact:
            raise InputError(f"{path}: is damaged, {CONFIG} beside it says; {_REMEDY}")


def _describe(model: TrainedModel) -> PhaseDescription:
    settings = asdict(model.config)
    del settings["phase"]
    bert = model.task.source.bert
    shape = {name: getattr(bert.config, name) for name in EncoderShape.model_fields}
    return PhaseDescription(
        settings=settings,
        labels=LabelPhrases(**labels_to_dict(model.labels)),
        encoder=EncoderShape(**shape | {"num_hidden_layers": len(bert.encoder.layer)}),
        origin=dict(model.origin),
    )


def _read_phase(folder: Path, phase: Phase, stored: ModelDescription, device: str) -> TrainedModel:
    described: PhaseDescription = getattr(stored.phases, phase)
    weights = _read_weights(folder / WEIGHTS, phase)
    tokenizer = _read_tokenizer(
        _tokenizer_folder(folder, phase, shared=stored.shared_tokenizer), described.encoder.vocab_size
    )
    try:
        config = config_from_dict({**described.settings, "phase": phase})
        check_sizes(config, described.encoder, weights)
        model = _build(config, described, tokenizer, device)
    except InputError as error:
        raise InputError(f"{folder / CONFIG}: phases.{phase}: {error}; {_REMEDY}") from error
    own = {name: tensor.shape for name, tensor in model.task.model.state_dict().items()}
    given = {name: tensor.shape for name, tensor in weights.items()}
    if own != given:
        names = sorted(name for name in own.keys() | given.keys() if own.get(name) != given.get(name))
        raise InputError(
            f"{folder / WEIGHTS}: {phase}.{names[0]} is not as {CONFIG} says ({len(names)} such); {_REMEDY}"
        )
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise InputError(f"{folder / WEIGHTS}: holds weights of {phase} that are no numbers; {_REMEDY}")
    model.task.model.load_state_dict(weights)
    return model


def _build(
    config: TrialConfig, described: PhaseDescription, tokenizer: WordTokenizer, device: str
) -> TrainedModel:
    """The model as described, with weights that are still to be loaded."""
    with torch.random.fork_rng(devices=[]):
        bert = BertModel(BertConfig(**described.encoder.model_dump()), add_pooling_layer=False)
    labels = labels_from_dict(described.labels.model_dump())
    return build_model(config, labels, EncoderSource(tokenizer, bert), device, origin=described.origin)


def _read_weights(path: Path, phase: Phase) -> dict[str, Tensor]:
    prefix = f"{phase}."
    try:
        with safe_open(path, framework="pt") as file:
            return {
                name.removeprefix(prefix): file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118 - a file of safetensors is no mapping
                if name.startswith(prefix)
            }
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); {_REMEDY}") from error


def _tokenizer_folder(folder: Path, phase: Phase, *, shared: bool) -> Path:
    return folder if shared else folder / phase.lower()


def _read_tokenizer(folder: Path, vocab_size: int) -> WordTokenizer:
    """Without `AutoTokenizer`, which follows what a folder's files say about classes, code and paths."""
    path = folder / TOKENIZER_CONFIG
    try:
        values = json.loads(path.read_bytes())
        special = {name: str(values[name]) for name in SPECIAL_TOKENS}
        path = folder / TOKENIZER
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path), **special)
        known = tokenizer.get_vocab()
    except Exception as error:  # the tokenizers library raises plain Exception
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"{path}: is no tokenizer that can be read ({reason}); {_REMEDY}") from error
    if not set(special.values()) <= known.keys() or max(known.values()) >= vocab_size:
        raise InputError(f"{path}: its vocabulary does not fit the model's {vocab_size} words; {_REMEDY}")
    return WordTokenizer(tokenizer, vocab_size)

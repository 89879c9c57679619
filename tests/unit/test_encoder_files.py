"""What identifies an encoder, and folders that are none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoModel

from lai_net.config import EncoderConfig
from lai_net.encoder_files import encoder_id, has_weights
from lai_net.errors import InputError
from lai_net.model.pretrained import encoder_source
from tune.engine import is_machines_fault


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


def _set(key: str, value: object) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))

    return change


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


def _without_cls(file: Path) -> None:
    file.write_text(file.read_text().replace("[CLS]", "[cls]"))


def _with_another_word(file: Path) -> None:
    content = json.loads(file.read_text())
    content["model"]["vocab"]["another"] = 30522
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("config.json", Path.unlink, "has no config.json"),
        ("config.json", _cut, "its configuration cannot be read"),
        ("config.json", _set("model_type", "foo"), "its configuration cannot be read .*`foo`"),
        ("config.json", _set("model_type", "gpt2"), "is a gpt2 model; give a BERT"),
        ("config.json", _set("hidden_size", 96), r"has the shape .*48.*, but by its config\.json .*96"),
        ("config.json", _set("num_attention_heads", 5), "its model cannot be read"),
        ("config.json", _set("vocab_size", 1000), r"has the shape \(30522, 48\), but by its config\.json"),
        ("model.safetensors", Path.unlink, "its model cannot be read"),
        ("model.safetensors", _cut, "its model cannot be read"),
        ("tokenizer.json", _cut, "its tokenizer cannot be read"),
        ("tokenizer.json", _without_cls, "its tokenizer "),
        ("tokenizer.json", _with_another_word, "its tokenizer has more words than the encoder's 30522"),
    ],
)
def test_a_damaged_encoder_is_one_line_and_not_tried_again(
    name: str, damage: Callable[[Path], None], reason: str, tiny_encoder: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    damage(folder / name)
    with pytest.raises(InputError, match=reason) as caught:
        encoder_source(EncoderConfig(name=str(folder)))
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not is_machines_fault(caught.value)


@pytest.mark.parametrize("vocabulary", [None, ""])
def test_an_encoder_whose_tokenizer_knows_no_words_is_refused(
    vocabulary: str | None, tiny_encoder: str, tmp_path: Path
) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(Path(tiny_encoder) / name, tmp_path)
    if vocabulary is not None:
        (tmp_path / "vocab.txt").write_text(vocabulary)
    with pytest.raises(InputError, match="no vocab.txt" if vocabulary is None else "knows no words"):
        encoder_source(EncoderConfig(name=str(tmp_path)))


def test_a_disk_that_cannot_be_read_stays_the_machines_fault(
    tiny_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error", "model.safetensors")

    monkeypatch.setattr(AutoModel, "from_pretrained", fail)
    folder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    with pytest.raises(OSError, match="Input/output error") as caught:
        encoder_source(EncoderConfig(name=str(folder)))
    assert is_machines_fault(caught.value)

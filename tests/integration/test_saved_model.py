"""Saved models that are damaged or hostile."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lai_net import LaiNet
from lai_net.errors import InputError
from lai_net.extraction import Extraction
from tests.integration.untrained import TEXTS, change

ENCODER = ("phases", "NER", "encoder")
SETTINGS = ("phases", "NER", "settings")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("model_type",), "bert"),
        (("format",), 2),
        (("auto_map",), {"AutoModel": "evil.Model"}),
        (("phases", "RE"), None),
        (("phases", "../../RE"), {}),
        (("phases", "NER", "labels", "entities"), {"Person": "a person"}),
        (("phases", "NER", "labels", "entities"), {}),
        (("phases", "NER", "labels", "entities", "Person"), 5),
        (("phases", "NER", "labels", "entities", "Person"), ""),
        (("phases", "RE", "labels", "relations", "Near"), " "),
        (("sha256", "model.safetensors"), "0"),
        ((*ENCODER, "vocab_size"), 10**9),
        ((*ENCODER, "vocab_size"), 10),
        ((*ENCODER, "hidden_size"), 10**30),
        ((*ENCODER, "num_hidden_layers"), 10**9),
        ((*ENCODER, "num_attention_heads"), 5),
        ((*ENCODER, "layer_norm_eps"), float("nan")),
        ((*ENCODER, "hidden_act"), "__import__('os')"),
        ((*ENCODER, "model_path"), "/etc/passwd"),
        ((*SETTINGS, "graph", "layers"), 10**9),
        ((*SETTINGS, "graph", "layers"), 1),
        ((*SETTINGS, "input", "max_span_words"), 10**9),
        ((*SETTINGS, "input", "max_text_tokens"), 10**9),
        ((*SETTINGS, "graph"), [1]),
        ((*SETTINGS, "unknown"), {"a": 1}),
    ],
    ids=str,
)
def test_a_hostile_config_is_one_clear_error(
    keys: tuple[str, ...], value: Any, saved: Path, no_encoder: None
) -> None:
    change(saved / "config.json", *keys, value=value)
    with pytest.raises(InputError, match="model") as error:
        LaiNet.from_pretrained(saved)
    assert "\n" not in str(error.value)
    assert str(saved) in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b""),
        ("config.json", b"[" * 100_000),
        ("config.json", b"\xff\xfe"),
        ("model.safetensors", b"\x80\x04cos\nsystem\n"),
        ("model.safetensors", (2**60).to_bytes(8, "little")),
        ("tokenizer.json", b"{}"),
        ("tokenizer_config.json", b"[]"),
        ("tokenizer_config.json", b'{"unk_token": "../x"}'),
    ],
)
def test_a_damaged_file_is_named(name: str, content: bytes, saved: Path, no_encoder: None) -> None:
    (saved / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{saved / name}: .*; save the model again") as error:
        LaiNet.from_pretrained(saved)
    assert "\n" not in str(error.value)


def without_digests(saved: Path) -> Path:
    """As an earlier version wrote it."""
    content = json.loads((saved / "config.json").read_text())
    del content["sha256"]
    (saved / "config.json").write_text(json.dumps(content))
    return saved


def test_a_folder_without_digests_is_read(saved: Path, expected: list[Extraction]) -> None:
    assert LaiNet.from_pretrained(without_digests(saved)).extract(TEXTS) == expected


@pytest.mark.parametrize("has_digests", [True, False])
@pytest.mark.parametrize("byte", [0xFF, 0x01])
def test_overwritten_weights_are_refused(has_digests: bool, byte: int, saved: Path) -> None:
    if not has_digests:
        without_digests(saved)
    path = saved / "model.safetensors"
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[:8], "little")
    start, end = json.loads(content[8 : 8 + size])["NER.classifier.weight"]["data_offsets"]
    content[8 + size + start : 8 + size + end] = bytes([byte]) * (end - start)
    path.write_bytes(content)
    if byte == 0x01 and not has_digests:
        LaiNet.from_pretrained(saved)  # nothing says that these numbers are others
        return
    reason = "is damaged, config.json beside it says" if has_digests else "holds weights of NER that are no"
    with pytest.raises(InputError, match=f"{path}: {reason}.*; save the model again"):
        LaiNet.from_pretrained(saved)


@pytest.mark.parametrize(
    ("name", "content"), [("tokenizer.json", b"{}"), ("model.safetensors", (2**60).to_bytes(8, "little"))]
)
def test_a_file_that_is_none_is_refused_without_digests(name: str, content: bytes, saved: Path) -> None:
    (without_digests(saved) / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{saved / name}: .*; save the model again"):
        LaiNet.from_pretrained(saved)


def test_a_word_that_changed_in_the_tokenizer_is_refused(saved: Path) -> None:
    path = saved / "tokenizer.json"
    path.write_text(path.read_text().replace('"engine"', '"engyne"'))
    with pytest.raises(InputError, match=r"is damaged, config\.json beside it says"):
        LaiNet.from_pretrained(saved)


def test_a_model_is_readable_as_the_umask_says(model: LaiNet, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        model.save_pretrained(tmp_path / "model")
    finally:
        os.umask(before)
    assert {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "model").iterdir()} == {"0o644"}


def test_a_full_disk_is_one_line_and_leaves_the_earlier_model(
    model: LaiNet, mount_disk: Callable[..., Path], expected: list[Extraction]
) -> None:
    disk = mount_disk("disk", 20_000)
    model.save_pretrained(disk)
    with pytest.raises(InputError, match=f"{disk}: No space left on device; make space there"):
        model.save_pretrained(disk)
    assert LaiNet.from_pretrained(disk).extract(TEXTS) == expected


def test_a_folder_without_a_file_is_said(saved: Path) -> None:
    for name in ("tokenizer.json", "model.safetensors", "config.json"):
        (saved / name).unlink()
        with pytest.raises(InputError, match="save"):
            LaiNet.from_pretrained(saved)


def test_nothing_beside_its_own_files_is_read(
    saved: Path, expected: list[Extraction], no_encoder: None
) -> None:
    """Names and paths that `transformers` would follow, and pickles that it would open."""
    for name in ("pytorch_model.bin", "modeling.py", "adapter_config.json", "special_tokens_map.json"):
        (saved / name).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    for key, value in {
        "tokenizer_class": "EvilTokenizer",
        "auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]},
        "vocab_file": "/etc/passwd",
        "tokenizer_file": "/etc/passwd",
    }.items():
        change(saved / "tokenizer_config.json", key, value=value)
    change(saved / "config.json", *SETTINGS, "encoder", "name", value="../../../etc")
    change(saved / "config.json", "sha256", value={})
    assert LaiNet.from_pretrained(saved).extract(TEXTS) == expected

"""Saved models that are damaged or hostile."""

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
    assert LaiNet.from_pretrained(saved).extract(TEXTS) == expected

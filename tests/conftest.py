"""Fixtures that several parts share."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from lai_net.schema import Corpus
from tests.embedded import small_corpus

REPOSITORY = Path(__file__).parent.parent
DATA = REPOSITORY.parent / "shared" / "data"
_RAY = "ray"


class ByFile(LoadScopeScheduling):
    """A file goes to one process, which builds its fixtures once; all that start a Ray go to the same."""

    def _split_scope(self, nodeid: str) -> str:
        return _scope(nodeid)


def _scope(nodeid: str) -> str:
    path = nodeid.partition("::")[0]
    return _RAY if _starts_ray(path) else path


@cache
def _starts_ray(path: str) -> bool:
    """By a file's text: a file that starts a Ray has `mark.ray` in it."""
    return "mark.ray" in (REPOSITORY / path).read_text(encoding="utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """What `pytest -n` hands to which process."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that start a Ray come first, since they take longest."""
    items.sort(key=lambda item: _scope(item.nodeid) != _RAY)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of `save_tiny_encoder`."""
    folder = tmp_path_factory.mktemp("tiny-encoder")
    save_tiny_encoder(folder)
    return str(folder)


def save_tiny_encoder(folder: Path) -> None:
    """A random 2-layer BERT of width 48 and the offline encoder's vocabulary."""
    import torch
    from transformers import BertConfig, BertModel

    from lai_net.encoder_files import encoder_folder

    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(encoder_folder("minilm") / name, folder / name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=96,
            initializer_range=0.2,
        )
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """The first 8 documents of each split of the embedded corpus."""
    return small_corpus(8)


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a disk of so many KiB as a folder of `tmp_path`; `remount`, `ro` make it read-only."""
    mounted: list[Path] = []

    def mount(name: str, kib: int, *options: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        words = ["mount", "-t", "tmpfs", "-o", ",".join((f"size={kib}k", *options)), "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("no disk can be mounted, which needs root")
        if "remount" not in options:
            mounted.append(folder)
        return folder

    yield mount
    for folder in reversed(mounted):
        subprocess.run(["umount", str(folder)], check=True)

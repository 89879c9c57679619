"""What is set and asked of a device; a CUDA device is only named here."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from lai_net.device import has_bf16, keep_sums_in_order


@pytest.fixture
def cublas(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sets back what is set for the whole process."""
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]


@pytest.mark.usefixtures("cublas")
@pytest.mark.parametrize(("device", "is_set"), [("cpu", False), ("cuda", True), ("cuda:1", True)])
def test_sums_are_kept_in_order_on_cuda_alone(device: str, is_set: bool) -> None:
    keep_sums_in_order(device)
    assert torch.are_deterministic_algorithms_enabled() is is_set
    assert not torch.is_deterministic_algorithms_warn_only_enabled(), (
        "attention's backward would not keep to it"
    )
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == (":4096:8" if is_set else None)


@pytest.mark.usefixtures("cublas")
def test_what_the_user_has_set_for_cublas_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    keep_sums_in_order("cuda")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_of_two_cards_the_one_that_is_named_is_asked_for_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is older than the second."""
    current = [0]

    @contextlib.contextmanager
    def on(device: Any) -> Iterator[None]:
        current.append(device.index or 0)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: current[-1] == 1)
    assert (has_bf16("cuda"), has_bf16("cuda:1")) == (False, True)

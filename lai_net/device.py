"""The device that a model is on, and what it can do."""

import os
import warnings

import torch
import torch.utils.deterministic

from lai_net.errors import InputError, first_line

_BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
"""Of x86 and of ARM."""


def checked_device(device: str) -> str:
    """The device, if torch has it here and it computes: `meta` knows shapes alone.

    Raises:
        InputError: it has not.
    """
    if reason := _refusal(device):
        raise InputError(f"device {device!r} is not to be had ({reason}); give cpu, cuda or cuda:1")
    return device


def one_thread() -> None:
    """As in `lai run`: sums keep their order, so both give the same bits on a CPU."""
    torch.set_num_threads(1)


def keep_sums_in_order(device: str) -> None:
    """Let equal trainings on a CUDA device give equal bits, as they do on a CPU, which is left as it is.

    For the whole process, and before its first product on the device, where cuBLAS's setting is read. What
    torch cannot compute so raises a RuntimeError there.
    """
    if torch.device(device).type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch raises at most others
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def missing_cuda() -> str:
    """Why torch sees no CUDA device in this process, in its words; empty where it sees one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a driver that is too old, which is the reason, too
        return "" if torch.cuda.is_available() else _refusal("cuda")


def _refusal(device: str) -> str:
    try:
        torch.device(device)
    except RuntimeError:  # which names all there are, twenty of them
        return "torch knows none of that name"
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:  # torch has both
        return first_line(error).partition(". ")[0]  # for mps all operators there are follow
    return ""


def has_bf16(device: str) -> bool:
    """Whether it multiplies in bf16 by instructions of its own; without them bf16 is slower than float32."""
    if torch.device(device).type == "cuda":
        with torch.cuda.device(torch.device(device)):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = torch.cpu.get_capabilities()
    return any(flags.get(name) for name in _BF16_FLAGS)

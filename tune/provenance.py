"""Where, by what and when an attempt was made: recorded beside results, never part of an identity."""

import functools
import importlib.metadata
import os
import platform
import socket
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lai_net
from tune.code_identity import code_of


def provenance(device: str) -> dict[str, Any]:
    """Of this process, now. `device` is `cpu` or `cuda`; a GPU is recorded by its name."""
    from lai_net.device import has_bf16

    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "pid_started": process_start(os.getpid()),
        "device": _device_name(device),
        "has_bf16": has_bf16(device),
        **_code(),
        "versions": _versions(),
        "started": datetime.now(UTC).isoformat(),
    }


def wait_for_orphans(attempts: Iterable[Mapping[str, Any]], *, patience_s: float = 10.0) -> int:
    """Wait until the workers of an earlier, killed driver are gone from this host: they hold memory.

    Args:
        attempts: provenance of attempts without a final record.
        patience_s: how long at most.

    Returns:
        How many are still there.
    """
    orphans = [
        (row["pid"], row["pid_started"])
        for row in attempts
        if row.get("host") == socket.gethostname() and row.get("pid_started") is not None
    ]
    until = time.monotonic() + patience_s
    while any(process_start(pid) == start for pid, start in orphans) and time.monotonic() < until:
        time.sleep(0.1)
    return sum(process_start(pid) == start for pid, start in orphans)


def process_start(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None where it is gone or this is no Linux."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, *rest = stat.rpartition(") ")[2].split()
    return None if state == "Z" else rest[18]


def _device_name(device: str) -> str:
    if device == "cpu":
        return "cpu"
    import torch

    return torch.cuda.get_device_name()


@functools.cache
def _code() -> dict[str, Any]:
    """As it was when first asked: a warm worker goes on with what it has imported."""
    return code_of(Path(__file__), "lai_net", "tune")


@functools.cache
def _versions() -> dict[str, str]:
    """Ours as the code says it: a node that was sent our packages has not installed them."""
    installed = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "ray")}
    return {"python": platform.python_version(), "lai-tune": lai_net.__version__} | installed

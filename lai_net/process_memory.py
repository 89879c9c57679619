"""What this process holds of the machine's memory, and giving back what it does not use."""

import ctypes
from pathlib import Path


def kernel_bytes(name: str, file: str = "/proc/self/status") -> int:
    """What the kernel says, such as VmRSS (resident now) or VmHWM (its high-water mark); Linux only."""
    lines = Path(file).read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(name)]
    return int(line.split()[1]) * 1024


def hand_back() -> None:
    """Give freed memory back to the system: glibc would keep it. With another C library nothing happens."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

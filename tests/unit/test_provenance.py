"""Where an attempt ran, and whether the process of an earlier one still lives."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tune.provenance import provenance, wait_for_orphans

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_provenance_names_process_code_and_versions():
    row = provenance("cpu")
    assert (row["host"], row["pid"], row["device"]) == (socket.gethostname(), os.getpid(), "cpu")
    assert row["commit"] is None or len(row["commit"]) == 40
    assert row["versions"].keys() == {"python", "lai-tune", "torch", "transformers", "ray"}


def test_orphan_is_waited_for_until_it_is_gone():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        start = provenance("cpu") | {"pid": process.pid, "pid_started": _start_of(process.pid)}
        assert wait_for_orphans([start], patience_s=0.2) == 1
        process.send_signal(signal.SIGKILL)
        assert wait_for_orphans([start], patience_s=5) == 0


def test_reused_pid_other_hosts_and_unknown_processes_are_no_orphans():
    row = provenance("cpu")
    began = time.monotonic()
    assert wait_for_orphans([row | {"pid_started": "1"}, row | {"host": "elsewhere"}, {}]) == 0
    assert time.monotonic() - began < 1


def _start_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123
        return stat.read().rpartition(") ")[2].split()[19]

"""Where an attempt ran, and whether the process of an earlier one still lives."""

import functools
import importlib.metadata
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

import lai_net
from lai_net.device import has_bf16
from tune.code_identity import code_of
from tune.provenance import _code, _versions, provenance, wait_for_orphans

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_provenance_names_process_code_and_versions():
    row = provenance("cpu")
    assert (row["host"], row["pid"], row["device"]) == (socket.gethostname(), os.getpid(), "cpu")
    assert row["commit"] is None or len(row["commit"]) == 40
    assert row["has_bf16"] == has_bf16("cpu")
    assert row["versions"].keys() == {"python", "lai-tune", "torch", "transformers", "ray"}


def test_code_that_was_sent_to_a_node_is_installed_nowhere_and_has_its_version(monkeypatch):
    installed = importlib.metadata.version

    def version(name: str) -> str:
        if name == "lai-tune":
            raise importlib.metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    _versions.cache_clear()
    assert provenance("cpu")["versions"]["lai-tune"] == lai_net.__version__


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with a file of `tune`, by which `provenance` tells the code."""
    file = tmp_path / "tune" / "provenance.py"
    file.parent.mkdir()
    file.write_text("1")
    _git(tmp_path, "init")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "first")
    monkeypatch.setattr("tune.provenance.__file__", str(file))
    monkeypatch.setattr("tune.provenance._code", functools.cache(_code.__wrapped__))
    return tmp_path


@pytest.mark.parametrize(("folder", "dirty"), [("data", False), ("lai_net", True), ("tune", True)])
def test_an_attempt_is_dirty_by_its_code_alone(checkout, folder, dirty):
    (checkout / folder).mkdir(exist_ok=True)
    (checkout / folder / "mine.toml").write_text("2")
    assert provenance("cpu")["dirty"] is dirty


def test_an_attempt_is_of_the_commit_that_its_process_began_with(checkout):
    first = provenance("cpu")
    (checkout / "tune" / "provenance.py").write_text("2")
    assert provenance("cpu")["dirty"] is False
    _git(checkout, "commit", "-am", "second")
    assert provenance("cpu")["commit"] == first["commit"]


def test_commit_and_changes_are_those_of_now(tmp_path):
    file = tmp_path / "code.py"
    file.write_text("1")
    _git(tmp_path, "init")
    assert code_of(file) == {"commit": None, "dirty": None}
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "first")
    first = code_of(file)
    assert (len(first["commit"]), first["dirty"]) == (40, False)
    file.write_text("2")
    assert code_of(file) == first | {"dirty": True}
    assert code_of(file, "docs") == first
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "new.md").write_text("3")
    assert code_of(file, "docs") == first | {"dirty": True}
    _git(tmp_path, "commit", "-am", "second")
    assert code_of(file)["commit"] != first["commit"]


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


def _git(folder, *words):
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def _start_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123
        return stat.read().rpartition(") ")[2].split()[19]

"""A stdout that is full, or whose reader has gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.commanding import demo_ledger, demo_rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return demo_ledger(tmp_path, demo_rows())


@pytest.mark.parametrize(
    "command", [["results", "demo"], ["results", "demo", "--format", "json"], ["status", "demo"]]
)
def test_a_full_stdout_is_told_in_one_line(command: list[str], path: Path) -> None:
    words = [sys.executable, "-m", "analysis", *command, "--ledger", str(path)]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (2, "stdout: No space left on device\n")


@pytest.mark.parametrize("command", [["results", "demo"], ["plan", "demo"], ["status", "demo"]])
def test_a_reader_of_a_pipe_that_has_gone_is_an_interruption(command: list[str], path: Path) -> None:
    words = [sys.executable, "-m", "analysis", *command, "--ledger", str(path)]
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (result.returncode, result.stderr) == (3, "")

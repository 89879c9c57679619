"""Hosts in network namespaces, cut off for a moment, for a while, and for good, while they train."""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.drills.invariants import differences, finished, num_epochs, violations
from tests.drills.playing import start_driver
from tests.integration.test_run_cluster import STORE_BYTES, kill_session, wait_for, write_corpus
from tests.integration.test_run_on_s3 import STUDY
from tune.ledger.ledger import Ledger

PORT = 6379
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
"""A host that is silent for some ten seconds is given up."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


pytestmark = [pytest.mark.slow, pytest.mark.ray]


@dataclass
class Hosts:
    """Namespaces on a bridge in one of its own; a raylet with one CPU in each, the head in the first."""

    folder: Path
    environment: dict[str, str]
    count: int
    names: list[str] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def lay_cables(self) -> None:
        self._add("hub")
        ip("-n", self.hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.hub, "address", "add", "10.77.0.254/24", "dev", "bridge")
        ip("-n", self.hub, "link", "set", "bridge", "up")
        for number in range(self.count):
            name = self._add(str(number))
            ip("link", "add", "name", "cable", "netns", name, "type", "veth",
               "peer", "name", f"port{number}", "netns", self.hub)  # fmt: skip
            ip("-n", self.hub, "link", "set", f"port{number}", "master", "bridge", "up")
            ip("-n", name, "address", "add", f"{self.address(number)}/24", "dev", "cable")
            for device in ("lo", "cable"):
                ip("-n", name, "link", "set", device, "up")
            ip("-n", name, "route", "add", "default", "via", "10.77.0.254")

    def _add(self, name: str) -> str:
        name = f"lai-{os.getpid()}-{name}"
        ip("netns", "add", name)
        self.names.append(name)
        return name

    @property
    def hub(self) -> str:
        return self.names[0]

    def address(self, number: int) -> str:
        return f"10.77.0.{number + 1}"

    def plug(self, number: int, state: str) -> None:
        """Cut a host off (`down`), or heal that (`up`)."""
        ip("-n", self.hub, "link", "set", f"port{number}", state)

    def on(self, number: int, *words: object) -> list[str]:
        """A command on a host."""
        return ["ip", "netns", "exec", self.names[1 + number], *map(str, words)]

    def start(self, number: int) -> None:
        options = ["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        if number:
            options = [f"--address={self.address(0)}:{PORT}"]
        log = self.folder / f"host-{number}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                self.on(
                    number, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1",
                    "--disable-usage-stats", f"--object-store-memory={STORE_BYTES}",
                    f"--node-ip-address={self.address(number)}", *options,
                ),
                env=self.environment, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        wait_for(lambda: b"Ray runtime started" in log.read_bytes(), 60)

    def close(self) -> None:
        for process in self.processes:
            kill_session(process)
        for name in self.names:
            ip("netns", "delete", name)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with tempfile.TemporaryDirectory(prefix="n", dir="/tmp", ignore_cleanup_errors=True) as folder:
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "OMP_NUM_THREADS": "1"}
        made = Hosts(Path(folder), {**os.environ, **own, **HEALTH, "TMPDIR": folder}, 3)
        try:
            try:
                made.lay_cables()
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"no network namespaces, which need root and iproute2: {error}")
            for number in range(made.count):
                made.start(number)
            yield made
        finally:
            made.close()


def failed_tries(path: Path) -> list[str]:
    with Ledger.open(path, read_only=True) as ledger:
        tries = [attempt for own in ledger.all_attempts().values() for attempt in own]
    return [str(attempt.failure) for attempt in tries if attempt.status == "failed"]


def test_hosts_that_are_cut_off_cost_no_result(hosts: Hosts, tmp_path: Path, tiny_encoder: str) -> None:
    write_corpus(tmp_path / "corpus")
    study = tmp_path / "study.toml"
    text = STUDY.format(encoder=tiny_encoder, epochs=20).replace("seeds = [1]", "seeds = [1, 2, 3, 4]")
    study.write_text(text.replace('"corpus"', f'"{tmp_path / "corpus"}"'))
    ledger, alone = tmp_path / "cut" / "ledger.sqlite", tmp_path / "alone" / "ledger.sqlite"
    words = (sys.executable, "-m", "analysis", "run", study, "--ledger", ledger)
    command = hosts.on(0, *words, "--address", f"{hosts.address(0)}:{PORT}")
    with subprocess.Popen(command, env=hosts.environment, stderr=subprocess.PIPE, text=True) as driver:
        try:
            wait_for(lambda: driver.poll() is not None or num_epochs(ledger) >= 5, 120)
            hosts.plug(2, "down")
            time.sleep(2)
            hosts.plug(2, "up")
            epochs = num_epochs(ledger)
            wait_for(lambda: driver.poll() is not None or num_epochs(ledger) >= epochs + 4, 90)
            assert failed_tries(ledger) == [], "so short a cut is bridged by TCP"
            before = finished(ledger)
            hosts.plug(1, "down")
            hosts.plug(2, "down")  # for good
            wait_for(lambda: driver.poll() is not None or len(failed_tries(ledger)) >= 2, 90)
            hosts.plug(1, "up")
            wait_for(lambda: hosts.processes[1].poll() is not None, 90)  # told that it was given up
            _, said = driver.communicate(timeout=240)
        finally:
            driver.kill()
    assert driver.returncode == 0, said
    assert violations(ledger, before) == []
    assert set(failed_tries(ledger)) == {"machine"}
    undisturbed = start_driver(study, alone, "real")
    assert undisturbed.communicate(timeout=240)[1] is not None
    assert undisturbed.returncode == 0
    assert differences(study, ledger, alone) == []

"""`lai run --address` on a cluster of several raylets, each with its own view of the file system."""

import contextlib
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lai_net.corpora.embedded import generate_splits
from lai_net.schema import Document, Entity
from tests.drills.invariants import num_epochs
from tune.ledger.ledger import Ledger

REPOSITORY = Path(__file__).parents[2]
STORE_BYTES = 80 * 10**6

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Raylets:
    """A head without CPUs and workers with one each, started and ended by process id."""

    folder: Path
    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *options: str, hide: Sequence[Path] = ()) -> subprocess.Popen[bytes]:
        """One node; folders of `hide` it sees empty, in a mount namespace of its own."""
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats",
            f"--object-store-memory={STORE_BYTES}", "--node-ip-address=127.0.0.1", *options,
        ]  # fmt: skip
        if hide:
            mounts = "; ".join(f"mount -t tmpfs none {shlex.quote(str(folder))}" for folder in hide)
            command = ["unshare", "--mount", "sh", "-ec", f'{mounts}; exec "$@"', "sh", *command]
        log = (self.folder / f"node-{len(self.processes)}.log").open("wb")
        process = subprocess.Popen(
            command, env=self.environment, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        self.processes.append(process)
        return process

    def worker_ports(self) -> tuple[str, str]:
        """Every node needs its own, since all are on one host."""
        first = 21000 + 100 * len(self.processes)
        return f"--min-worker-port={first}", f"--max-worker-port={first + 99}"

    def start_head(self) -> None:
        options = ("--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self.folder}")
        self.start("--head", f"--port={self.port}", *options, *self.worker_ports())
        wait_for(lambda: answers(self.port), 60)

    def start_worker(self, *hide: Path, options: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """A node; Ray looks for free ports without holding them, so the next one waits a little."""
        own = ("--num-cpus=1", *self.worker_ports(), *options)
        process = self.start(f"--address={self.address}", *own, hide=hide)
        log = self.folder / f"node-{len(self.processes) - 1}.log"
        wait_for(lambda: "Ray runtime started" in log.read_text(), 60)
        return process

    def stop(self) -> None:
        for process in self.processes:
            kill_session(process)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(what, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a node as a power cut would: the raylet and all its workers at once."""
    members = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and process.pid in ancestors(int(entry.name))
    ]
    for pid in members:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        found.append(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
        except (OSError, ValueError):
            break
    return found


SECRETS = ("RAY_AUTH_TOKEN", "HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY")


@contextlib.contextmanager
def head_alone() -> Iterator[Raylets]:
    """A head with a token and a temporary folder of its own; nodes may be added."""
    with tempfile.TemporaryDirectory(prefix="c", dir="/tmp", ignore_cleanup_errors=True) as folder:
        own = {"RAY_AUTH_MODE": "token", "OMP_NUM_THREADS": "1", "TMPDIR": folder}
        hidden = {name: secrets.token_hex(32) for name in SECRETS}
        nodes = Raylets(Path(folder), {**os.environ, **own, **hidden})
        try:
            nodes.start_head()
            yield nodes
        finally:
            nodes.stop()


@pytest.fixture
def raylets() -> Iterator[Raylets]:
    with head_alone() as nodes:
        yield nodes


STUDY = """
name = "many"
seeds = {seeds}
[[datasets]]
name = "demo"
corpus = "corpus"
[datasets.ner]
preset = "demo-ner"
set = {{ "encoder.name" = "{encoder}", "training.epochs" = {epochs} }}
"""


def write_corpus(folder: Path) -> None:
    """A few documents of the generated corpus as DyGIE files."""
    folder.mkdir()
    for split, documents in generate_splits().items():
        lines = [json.dumps(dygie(document)) for document in documents[:6]]
        (folder / f"{split}.json").write_text("\n".join(lines))


def dygie(document: Document) -> dict[str, object]:
    rows: dict[str, list] = {"sentences": [], "ner": [], "relations": []}
    offset = 0
    for sentence in document.sentences:

        def span(entity: Entity, offset: int = offset) -> list[int]:
            return [offset + entity.span.start, offset + entity.span.end - 1]

        rows["sentences"].append(sentence.words)
        rows["ner"].append([[*span(entity), entity.type] for entity in sentence.entities])
        rows["relations"].append([[*span(r.subject), *span(r.object), r.type] for r in sentence.relations])
        offset += len(sentence.words)
    return {"doc_key": document.key, **rows}


@pytest.fixture
def place(tmp_path: Path, tiny_encoder: str) -> Path:
    """A folder with our code, which differs from what is installed, a corpus and a study of three trials."""
    for package in ("lai_net", "tune", "analysis"):
        shutil.copytree(REPOSITORY / package, tmp_path / "code" / package)
    with (tmp_path / "code" / "tune" / "engine.py").open("a") as file:
        file.write("# changed\n")
    write_corpus(tmp_path / "corpus")
    (tmp_path / "study.toml").write_text(STUDY.format(seeds=3, encoder=tiny_encoder, epochs=3))
    return tmp_path


def lai(nodes: Raylets, place: Path, *words: object) -> subprocess.Popen[str]:
    """The driver, of the code below `place`."""
    return subprocess.Popen(
        [sys.executable, "-m", "analysis", *map(str, words)],
        env=nodes.environment, cwd=place / "code", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def outcome(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out + err


def content(path: Path) -> dict[str, object]:
    """What must not depend on where and how often a trial ran."""
    with Ledger.open(path, read_only=True) as ledger:
        return {
            row.trial_id: (
                ledger.status(row.trial_id),
                [{k: v for k, v in epoch.items() if "_s" not in k} for epoch in ledger.epochs(row.trial_id)],
            )
            for row in ledger.trials()
        } | {"evaluations": [(row.evaluation_id, row.scores) for row in ledger.evaluations()]}


def test_code_and_corpus_reach_nodes_that_have_neither(raylets: Raylets, place: Path) -> None:
    """One cluster, since its start is most of the time: what is refused, and then what runs."""
    (place / "own").mkdir()
    ledger, alone = place / "cluster" / "ledger.sqlite", place / "alone" / "ledger.sqlite"
    words = ("run", place / "study.toml", "--ledger", ledger, "--address", raylets.address)
    code, said = outcome(lai(raylets, place, *words, "--storage", place / "shared"))
    assert code == 2
    assert said.endswith("the cluster has no node with a CPU; start one\n")
    for options in ((), (), ("--num-gpus=1",)):  # a logical one
        raylets.start_worker(place / "code", place / "corpus", place / "own", options=options)

    def check(folder: str, *more: str) -> tuple[int, str]:
        at = ("--address", raylets.address, "--storage", place / folder, "--nodes", 3)
        return outcome(lai(raylets, place, "cluster", "check", *at, *more))

    code, said = check("shared")
    assert code == 2
    assert said.count(" and the driver ") == 3
    assert said.count("\n") == 1
    code, said = check("own", "--ship-code")
    assert code == 2
    assert said.count(f"does not see {place / 'own'} as the driver does") == 3
    code, said = check("shared", "--ship-code", "--gpus")
    assert code == 2
    assert said.startswith("1 of 3 nodes cannot be used: ")
    assert "has no GPU that torch sees" in said
    assert check("shared", "--ship-code") == (0, "3 nodes are ready\n")
    code, said = outcome(lai(raylets, place, *words, "--storage", place / "shared", "--ship-code"))
    assert code == 0, said
    grown = place / "grown.toml"
    grown.write_text((place / "study.toml").read_text().replace("seeds = 3", "seeds = 6"))
    code, said = outcome(lai(raylets, place, "plan", grown, *words[2:]))
    assert code == 0, said
    assert "h on 3 nodes: 3 CPUs" in said
    code, said = outcome(lai(raylets, place, "run", place / "study.toml", "--ledger", alone))
    assert code == 0, said
    assert content(alone) == content(ledger)
    with Ledger.open(ledger, read_only=True) as opened:
        kept = [place / "shared" / attempt.artefacts["best"] for attempt in opened.newest_attempts().values()]
    assert len(kept) == 3
    assert all(folder.is_dir() for folder in kept)
    assert any(raylets.folder.rglob("raylet*.out")), "Ray's own logs are looked at, too"
    assert tell_a_secret(raylets) == []


def tell_a_secret(raylets: Raylets) -> list[Path]:
    """Files in the nodes' temporary folder, where Ray logs, that hold a secret of the environment."""
    hidden = [raylets.environment[name].encode() for name in SECRETS]
    files = [path for path in raylets.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if any(word in path.read_bytes() for word in hidden)]


def test_nodes_that_die_cost_no_trial(raylets: Raylets, place: Path) -> None:
    epochs = 8
    text = (place / "study.toml").read_text().replace("seeds = 3", "seeds = 5")
    (place / "study.toml").write_text(text.replace('"training.epochs" = 3', f'"training.epochs" = {epochs}'))
    nodes = [raylets.start_worker() for _ in range(3)]
    ledger, alone = place / "cluster" / "ledger.sqlite", place / "alone" / "ledger.sqlite"
    words = ("run", place / "study.toml", "--ledger", ledger, "--address", raylets.address)
    driver = lai(raylets, place, *words)
    for node, after in zip(nodes, (3, 9), strict=False):
        wait_for(lambda after=after: driver.poll() is not None or num_epochs(ledger) >= after, 120)
        assert driver.poll() is None, driver.communicate()
        kill_session(node)
    code, said = outcome(driver)
    assert code == 0, said
    with Ledger.open(ledger, read_only=True) as opened:
        tries = [opened.attempts(row.trial_id) for row in opened.trials()]
    assert len(tries) == 5
    assert all([attempt.status for attempt in own].count("completed") == 1 for own in tries)
    assert all(own[-1].status == "completed" for own in tries), "nothing was trained after it was finished"
    assert any(len(own) > 1 for own in tries), "a kill hit a trial"
    code, said = outcome(lai(raylets, place, "run", place / "study.toml", "--ledger", alone))
    assert code == 0, said
    assert content(alone) == content(ledger)

"""The health gate: before anything is trained, every node shows that it runs our code and sees our files."""

import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lai_net.encoder_files import encoder_id
from lai_net.errors import InputError
from tune import ray_environment  # noqa: F401 - ray reads it at its import
from tune.artefacts.port import Storage
from tune.artefacts.storage import reason, storage_at
from tune.code_identity import code_identity

# isort: split
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_PATIENCE_S = 120.0
"""With a node that is asked."""


@dataclass(frozen=True)
class Requirements:
    """What a node must have.

    Attributes:
        code: as `code_identity` tells it.
        encoders: content id by name.
        storage: of the artefacts, which all nodes must reach.
        cwd: of the driver; relative names of encoders are relative to it.
        cuda: whether torch must see the GPUs of a node that has some.
    """

    code: str
    encoders: Mapping[str, str]
    storage: Storage
    cwd: str
    cuda: bool = False


def wait_for_nodes(count: int, *, patience_s: float) -> None:
    """Return once at least `count` nodes may get trials.

    Raises:
        InputError: they are not there in time.
    """
    until = time.monotonic() + patience_s
    while (found := len(_nodes())) < count:
        if time.monotonic() > until:
            raise InputError(
                f"{found} of {count} nodes came within {patience_s / 60:g} minutes; look at what starts "
                "them, or ask for fewer"
            )
        time.sleep(1.0)


def check_nodes(required: Requirements) -> int:
    """Look at every node that may get a trial; returns how many there are.

    A node that dies meanwhile gets none, as one that dies later: it is no reason to stop.

    Raises:
        InputError: one line with all nodes that will not do, and why; or no node is there.
    """
    with _told(required.storage) as word:
        asked = {node["NodeID"]: _look_at(node, required, word) for node in _nodes()}
        answered, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=_PATIENCE_S)
        found = {
            node: _answer(ref) if ref in answered else f"gave no answer for {_PATIENCE_S:g} s"
            for node, ref in asked.items()
        }
    alive = {
        node["NodeID"]: f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})"
        for node in _nodes()
        if node["NodeID"] in found
    }
    if not alive:
        raise InputError("the cluster has no node with a CPU; start one")
    if problems := [f"{name} {found[node]}" for node, name in alive.items() if found[node]]:
        raise InputError(f"{len(problems)} of {len(alive)} nodes cannot be used: {'; '.join(problems)}")
    return len(alive)


def _nodes() -> list[dict[str, Any]]:
    found = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in found if node["Alive"] and node["Resources"].get("CPU", 0) > 0]


@contextmanager
def _told(storage: Storage) -> Iterator[str]:
    """Leave a random word in a file of that name, for as long as nodes look for it."""
    word = secrets.token_hex(8)
    try:
        storage.write(f".gate-{word}", word)
    except OSError as error:
        raise InputError(
            f"{storage.place('')}: cannot be written ({reason(error)}); name another place"
        ) from error
    try:
        yield word
    finally:
        with suppress(OSError):
            storage.remove(f".gate-{word}")


def _look_at(node: dict[str, Any], required: Requirements, word: str) -> "ray.ObjectRef[str]":
    code, encoders, cwd = required.code, dict(required.encoders), required.cwd
    storage, cuda = required.storage.place(""), required.cuda and node["Resources"].get("GPU", 0) > 0

    def look() -> str:  # travels by value, so it also says that a node lacks our code
        try:
            from tune.cluster.gate import problem_here
        except ImportError as error:
            return f"has no lai-tune like ours ({error}); install it there, or say --ship-code"
        if problem := problem_here(code, encoders, storage, cwd, word):
            return problem
        from tune.trainable import cuda_problem  # which the node has, since its code is ours

        return cuda_problem() if cuda else ""

    place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    # One call a process: CUDA keeps to the devices that it saw first, and a trial is given others.
    once = ray.remote(max_calls=1)(look)
    return once.options(num_cpus=0, scheduling_strategy=place, max_retries=0).remote()


def _answer(ref: "ray.ObjectRef[str]") -> str:
    try:
        return str(ray.get(ref))
    except ray.exceptions.RayError as error:
        return f"failed ({str(error).strip().splitlines()[-1]})"


def problem_here(code: str, encoders: Mapping[str, str], storage: str, cwd: str, word: str) -> str:
    """What this process' node lacks, or nothing."""
    if code_identity() != code:
        return f"runs lai-tune {code_identity()} and the driver {code}; install the same, or say --ship-code"
    if Path(cwd).is_dir():
        os.chdir(cwd)
    try:
        for name, planned in encoders.items():
            if encoder_id(name) != planned:
                return f"has other files of encoder {name} than the driver; give it the same"
    except InputError as error:
        return str(error)
    opened, mine = storage_at(storage), f".gate-{word}-{socket.gethostname()}-{os.getpid()}"
    try:
        told = opened.read(f".gate-{word}")
        opened.write(mine, word)
        opened.remove(mine)
    except OSError as error:
        return (
            f"does not see {storage} as the driver does ({reason(error)}); name what all nodes share with "
            "--storage, and give each what it needs to write there"
        )
    return "" if told == word else f"sees another {storage} than the driver"

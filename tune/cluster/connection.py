"""Joining a Ray cluster, or starting one of this machine. Ray runs what it is sent: a token guards it."""

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tune.ray_environment import WORKER_ENVIRONMENT

# isort: split
import ray
from ray._private import worker as ray_worker
from ray._raylet import GcsClient  # type: ignore[attr-defined]

import lai_net
import tune
from lai_net.errors import InputError, first_line

_OBJECT_STORE_BYTES = 100 * 2**20
_MAX_TEMPORARY_PATH = 20  # characters; Ray's sockets lie below it, and their paths may have 107
_ANSWER_S = 10.0
_STOPPING = {signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1}

_STRANGER = """
import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(address=sys.argv[1]).get_all_node_info(timeout=float(sys.argv[2]))
except AuthenticationError:
    print("refused")
else:
    print("let in")
"""


@contextlib.contextmanager
def cluster(
    address: str | None = None, *, gpus: int | None = None, insecure: bool = False, ship_code: bool = False
) -> Iterator[None]:
    """Join the Ray cluster at `address` (HOST:PORT), or start one of this machine and stop it at the end.

    Args:
        address: of a running head; None starts a local Ray.
        gpus: logical GPUs of a local Ray; None takes those that are there.
        insecure: join also a cluster that asks nobody for a token.
        ship_code: send our packages to the nodes; they are used in place of installed ones.

    Raises:
        InputError: nothing listens at `address`, anybody may join it, or we may not; or Ray does not start.
    """
    if not insecure and (mode := os.environ["RAY_AUTH_MODE"]) != "token":
        raise InputError(
            f"RAY_AUTH_MODE={mode} in the environment: whoever reaches this Ray could run programs "
            "in it; unset it"
        )
    runtime_env: dict[str, Any] = {"env_vars": WORKER_ENVIRONMENT}
    if ship_code:
        runtime_env["py_modules"] = [str(Path(str(package.__file__)).parent) for package in (lai_net, tune)]
    with contextlib.ExitStack() as cleaned:
        if address is not None:
            _check_address(address, insecure=insecure)
            where: dict[str, Any] = {"address": address}
        else:
            where = cleaned.enter_context(_own_ray(gpus))
        cleaned.callback(_shut_down)
        _start(where, runtime_env)
        yield


@contextlib.contextmanager
def _own_ray(gpus: int | None) -> Iterator[dict[str, Any]]:
    """How to start a Ray of this machine, with a folder that goes at the end."""
    _give_own_token()
    folder = _short_folder()
    try:
        yield {
            "address": "local",
            "num_gpus": gpus,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_temp_dir": f"{folder}/r",  # which Ray opens to all users of the host
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(where: dict[str, Any], runtime_env: dict[str, Any]) -> None:
    try:  # failed trials are in our records; Tune's log would only tear the progress bar
        with _signals_left_alone():
            ray.init(**where, runtime_env=runtime_env, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        raise InputError(
            f"Ray did not start ({first_line(error)}); on a busy machine a second call may do"
        ) from error


@contextlib.contextmanager
def _signals_left_alone() -> Iterator[None]:
    """Ray would take SIGTERM, and what it starts would die of what stops us where all are sent it.

    So do a closed terminal, `kill -TERM -GROUP` and systemd. Ray itself keeps SIGINT from its processes.
    """
    at_term = signal.getsignal(signal.SIGTERM)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)  # its children inherit that
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # elsewhere Ray did not take it
            signal.signal(signal.SIGTERM, at_term)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _shut_down() -> None:
    """Leave Ray, and end it where it is our own, with all that it started."""
    import psutil  # type: ignore[import-untyped]  # Ray's own, found once Ray is imported

    node: Any = ray_worker._global_node
    own = [item.process for started in node.all_processes.values() for item in started] if node else []
    started_by_it = []
    for process in own:
        with contextlib.suppress(psutil.Error):
            started_by_it += psutil.Process(process.pid).children(recursive=True)
        process.terminate = process.kill  # at a SIGTERM, which it does not hear, it would be given a second
    ray.shutdown()
    for process in started_by_it:  # the agents of a raylet that was killed seek its GCS for a minute
        with contextlib.suppress(psutil.Error):
            process.kill()


def _check_address(address: str, *, insecure: bool) -> None:
    """Refuse what cannot or should not be joined; Ray itself would wait for minutes, or join."""
    _check_listens(address)
    if insecure:
        _give_own_token()  # Ray wants one to send, whether or not it is looked at
    elif _lets_strangers_in(address):
        raise InputError(
            f"--address {address}: that cluster asks for no token, so whoever reaches it may run programs on "
            "its nodes and ours; start it with RAY_AUTH_MODE=token, or say --insecure-cluster"
        )
    try:
        GcsClient(address=address).get_all_node_info(timeout=_ANSWER_S)
    except ray.exceptions.AuthenticationError as error:
        raise InputError(
            f"--address {address}: the cluster does not take our token; put the one that it was started with "
            "into RAY_AUTH_TOKEN, or name its file in RAY_AUTH_TOKEN_PATH"
        ) from error
    except Exception as error:
        raise _no_ray(address, first_line(error)) from error


def _check_listens(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"--address must be HOST:PORT of a Ray head, but got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--address {address}: nothing answers there ({error}); start one with `ray start --head`, "
            "or leave --address out"
        ) from error


def _lets_strangers_in(address: str) -> bool:
    """Whether a process with a wrong token gets an answer; Ray reads the token once in a process."""
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    command = [sys.executable, "-c", _STRANGER, address, str(_ANSWER_S)]
    try:
        asked = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=12 * _ANSWER_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _no_ray(address, "no answer") from error
    answer = asked.stdout.strip()
    if answer not in ("refused", "let in"):
        raise _no_ray(address, (asked.stderr.strip().splitlines() or ["no answer"])[-1])
    return answer == "let in"


def _no_ray(address: str, why: str) -> InputError:
    return InputError(f"--address {address}: no head of this Ray, {ray.__version__}, answers there ({why})")


def _give_own_token() -> None:
    """A secret of this process for its own Ray, so that Ray writes none into the user's home."""
    named = os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}
    if not named and not Path("~/.ray/auth_token").expanduser().exists():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _short_folder() -> str:
    base = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="lai-", dir=base if len(base) <= _MAX_TEMPORARY_PATH else "/tmp")

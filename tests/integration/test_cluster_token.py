"""Who may join: a head that asks for no token is refused, and so are we by one whose token we lack."""

import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lai_net.errors import InputError

pytestmark = pytest.mark.ray


def gcs(port: int, folder: str, **settings: str) -> subprocess.Popen[bytes]:
    """A head's control store alone, which is what a driver asks first."""
    from tune import ray_engine

    server = Path(ray_engine.ray.__file__).parent / "core/src/ray/gcs/gcs_server"
    command = [
        str(server), f"--gcs_server_port={port}", f"--log_dir={folder}", "--config_list=e30=",
        "--node-ip-address=127.0.0.1", f"--session-name={Path(folder).name}",
    ]  # fmt: skip
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env={**os.environ, **settings}, stdout=quiet, stderr=quiet)


@pytest.fixture(params=["disabled", "token"])
def head(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="g", dir="/tmp", ignore_cleanup_errors=True) as folder:
        own = {"RAY_AUTH_MODE": request.param, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        process = gcs(port, folder, **own)
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield request.param, f"127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def test_open_head_and_wrong_token_are_refused(
    head: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tune.cluster import connection

    mode, address = head
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    said = "asks for no token" if mode == "disabled" else "does not take our token"
    with pytest.raises(InputError, match=said), connection.cluster(address):
        pytest.fail("joined")
    if mode == "disabled":
        connection._check_address(address, insecure=True)


def test_a_ray_without_tokens_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    from tune.cluster import connection

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(connection.ray, "init", lambda **_: pytest.fail("Ray was started"))
    with pytest.raises(InputError, match=r"RAY_AUTH_MODE=disabled .* unset it"), connection.cluster():
        pytest.fail("started")


def test_our_own_ray_has_no_dashboard_and_a_failed_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from tune.cluster import connection

    asked: dict[str, object] = {}

    def init(**settings: object) -> None:
        asked.update(settings)
        raise RuntimeError("the raylet timed out\nTraceback …")

    monkeypatch.setattr(connection.ray, "init", init)
    said = r"^Ray did not start \(the raylet timed out\); on a busy machine a second call may do$"
    with pytest.raises(InputError, match=said), connection.cluster():
        pytest.fail("started")
    assert asked["include_dashboard"] is False
    assert asked["address"] == "local"


def test_our_own_ray_lies_in_a_closed_folder_and_its_sockets_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray opens its own to all users of the host."""
    from tune.cluster import connection

    monkeypatch.setattr(connection.tempfile, "gettempdir", lambda: f"/tmp/{'x' * 15}")
    monkeypatch.setattr(connection.tempfile, "mkdtemp", lambda prefix, dir: f"{dir}/{prefix}{'x' * 8}")  # noqa: A006
    with connection._own_ray(gpus=None) as settings:
        longest = f"{settings['_temp_dir']}/session_2026-11-29_15-04-51_710769_4194304/sockets/plasma_store"
    assert len(longest) <= 107
    monkeypatch.undo()
    with connection._own_ray(gpus=None) as settings:
        folder = Path(settings["_temp_dir"]).parent
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.name.startswith("lai-")
    assert not folder.exists()

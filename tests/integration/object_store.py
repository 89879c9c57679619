"""An S3 server on the loopback: moto's, which keeps objects in this process' memory."""

import itertools
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

_COUNT = itertools.count()
SECRET = "hidden-S3-word"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "an-id",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_REGION": "us-east-1",
}


@dataclass
class S3:
    """A bucket of the server, which can be stopped and started; what it holds stays."""

    server: Any
    port: int
    bucket: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/study"

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server._port = self.port
        self.server.start()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Any]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: Any, monkeypatch: pytest.MonkeyPatch) -> S3:
    """An empty bucket that this process' environment leads to."""
    host, port = s3_server.get_host_and_port()
    made = S3(s3_server, port, f"bucket-{next(_COUNT)}")
    endpoint = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{made.bucket}", method="PUT"))
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": endpoint}).items():
        monkeypatch.setenv(name, value)
    return made

"""`lai report --serve`: the report page of a study that runs, on this machine alone.

It listens on the loopback interface, answers only to its own name (a strict Host check, so that no web page
can reach it by rebinding a name), and only below a random token, which the printed address has. Nothing is
written. A thread composes the report anew when one of its files has changed, and takes at most a fifth
of a core for it, since the study needs them more.
"""

import secrets
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from analysis.report import Report
from lai_net.errors import InputError

_LOOPBACK = "127.0.0.1"
_LEAST_PAUSE_S = 2.0
_PAUSE_PER_COST = 4.0
_TYPES = {
    ".html": "text/html; charset=utf-8", ".json": "application/json", ".csv": "text/csv; charset=utf-8",
    ".md": "text/plain; charset=utf-8", ".tex": "text/plain; charset=utf-8", ".svg": "image/svg+xml",
    ".png": "image/png", ".pdf": "application/pdf",
}  # fmt: skip
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'none'",
}


@dataclass
class LiveReport:
    """The newest report of a study; `problem` says why it could not be made anew, and is empty otherwise."""

    compose: Callable[[], Report]
    watched: tuple[Path, ...]

    def __post_init__(self) -> None:
        self._seen = self._signature()
        self.report = self.compose()
        self.problem = ""

    def refresh(self) -> bool:
        """Compose the report anew if a watched file has changed since it was made; whether one had."""
        signature = self._signature()
        if signature == self._seen:
            return False
        try:
            self.report, self.problem, self._seen = self.compose(), "", signature
        except (InputError, OSError, sqlite3.Error) as error:  # half-written, or gone for now
            self.problem = str(error)  # the last page stands
        return True

    def follow(self, stop: threading.Event) -> None:
        """Refresh now and then until told to stop."""
        pause = _LEAST_PAUSE_S
        while not stop.wait(pause):
            began = time.thread_time()
            self.refresh()
            pause = max(_LEAST_PAUSE_S, _PAUSE_PER_COST * (time.thread_time() - began))

    def _signature(self) -> tuple[tuple[int, int] | None, ...]:
        found: list[tuple[int, int] | None] = []
        for path in self.watched:
            try:
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size))
            except OSError:
                found.append(None)
        return tuple(found)


class ReportServer(ThreadingHTTPServer):
    """Serves a `LiveReport`. Use it in a `with` statement; `address` is what to open."""

    daemon_threads = True

    def __init__(self, live: LiveReport, port: int = 0) -> None:
        """Listen on a port of the loopback interface; 0 takes a free one.

        Raises:
            InputError: the port is taken.
        """
        self.live = live
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((_LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"--port {port}: cannot be listened on ({error}); name another") from error

    @property
    def address(self) -> str:
        """The page's address, with the token."""
        return f"http://{_LOOPBACK}:{self.server_port}/{self.token}/"

    def handle_error(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Say nothing of a browser that has gone away while it was answered."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def run(self) -> None:
        """Serve until interrupted."""
        stop = threading.Event()
        follower = threading.Thread(target=self.live.follow, args=(stop,), daemon=True)
        follower.start()
        try:
            self.serve_forever()
        finally:
            stop.set()
            follower.join()


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    server_version = "lai"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with a file of the report, or with its version."""
        names = {f"{name}:{self.server.server_port}" for name in (_LOOPBACK, "localhost")}
        if self.headers.get("Host") not in names:
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, b"not the name of this server\n")
            return
        token, slash, name = self.path.removeprefix("/").partition("/")
        live = self.server.live
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            self._answer(HTTPStatus.NOT_FOUND, b"no such page\n")
        elif not slash:  # the page asks for what lies below its own address
            self._answer(HTTPStatus.FOUND, b"", location=f"/{token}/")
        elif name == "version" and live.problem:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{live.problem}\n".encode())
        elif name == "version":
            self._answer(HTTPStatus.OK, live.report.version.encode())
        elif (content := live.report.files.get(name or "index.html")) is not None:
            self._answer(HTTPStatus.OK, content, _TYPES[Path(name or "index.html").suffix])
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"no such page\n")

    def _answer(
        self,
        status: HTTPStatus,
        content: bytes,
        kind: str = "text/plain; charset=utf-8",
        location: str = "",
    ) -> None:
        self.send_response(status)
        headers = _HEADERS | {"Content-Type": kind, "Content-Length": str(len(content))}
        if location:
            headers |= {"Location": location}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it
        """Say nothing: the paths have the token."""

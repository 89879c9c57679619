"""A server on this machine that resumes, refuses, stalls, and cuts connections. No test itself."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `files`, or sends on to where one has `moved`.

    `cut` ends an answer after so many bytes of the file, and with `stalls` it hangs there; without `resumes`
    it knows no Range; without `says_length` an answer ends with the connection.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: int | None = None
        self.stalls = False
        self.is_ending = threading.Event()
        self.resumes = True
        self.says_length = True
        self.moved: dict[str, str] = {}
        self.requests: list[tuple[str, str | None]] = []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/data/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        name, asked = self.path.removeprefix("/data/"), self.headers["Range"]
        self.server.requests.append((name, asked))
        if name in self.server.moved:
            self.send_response(302)
            self.send_header("Location", self.server.moved[name])
            self.end_headers()
            return
        content = self.server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.resumes else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if self.server.says_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.server.cut])
        if self.server.stalls:
            self.server.is_ending.wait()

    def log_message(self, *args):
        pass


def serving():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.is_ending.set()
        server.shutdown()
        thread.join()

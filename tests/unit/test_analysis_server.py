"""`lai report --serve`: who is answered, what is answered, and that it follows the study."""

import http.client
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import analysis.cli
from analysis.report import Report
from analysis.server import LiveReport, ReportServer
from lai_net.errors import InputError


class Reports:
    """Composes reports that count themselves; raises `error` where there is one."""

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None

    def __call__(self) -> Report:
        if self.error is not None:
            raise self.error
        self.count += 1
        files = {"index.html": f"<p>{self.count}".encode(), "table2.csv": b"a,b\n"}
        return Report("all done", files, f"v{self.count}")


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    path.write_text("a", encoding="utf-8")
    return path


@pytest.fixture
def server(reports: Reports, watched: Path) -> Iterator[ReportServer]:
    with ReportServer(LiveReport(reports, (watched,))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(
    server: ReportServer, path: str, host: str | None = None, method: str = "GET"
) -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    try:
        connection.request(method, path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def test_the_page_and_its_files_stand_below_the_token(server: ReportServer) -> None:
    assert server.address == f"http://127.0.0.1:{server.server_port}/{server.token}/"
    assert len(server.token) >= 32
    status, content, headers = get(server, f"/{server.token}/")
    assert (status, content, headers["Content-Type"]) == (200, b"<p>1", "text/html; charset=utf-8")
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert get(server, f"/{server.token}/table2.csv")[:2] == (200, b"a,b\n")
    assert get(server, f"/{server.token}/version")[:2] == (200, b"v1")


def test_without_its_last_slash_the_address_leads_to_the_page(server: ReportServer) -> None:
    """Served there the page would ask for `/version`, above the token."""
    status, content, headers = get(server, f"/{server.token}")
    assert (status, content, headers["Location"]) == (302, b"", f"/{server.token}/")
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/wrong", "/wrong/", "/wrong/index.html", "/../index.html", "/%C3%A9/", ""]
)
def test_without_the_token_there_is_nothing(server: ReportServer, path: str) -> None:
    status, content, _ = get(server, path)
    assert (status, content) == (404, b"no such page\n")


@pytest.mark.parametrize("name", ["../ledger.sqlite", "/etc/passwd", "nothing.csv", "%2e%2e/ledger.sqlite"])
def test_nothing_but_the_report_is_served(server: ReportServer, name: str) -> None:
    assert get(server, f"/{server.token}/{name}")[0] == 404


def test_another_host_name_is_not_answered(server: ReportServer) -> None:
    port = server.server_port
    for host in (
        f"evil.example:{port}",
        "127.0.0.1",
        f"127.0.0.1:{port + 1}",
        f"127.0.0.1.evil.example:{port}",
    ):
        status, content, _ = get(server, f"/{server.token}/", host=host)
        assert (status, content) == (421, b"not the name of this server\n")
    assert get(server, f"/{server.token}/", host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize(("error", "is_told"), [(ConnectionResetError, False), (ValueError, True)])
def test_a_browser_that_goes_away_is_no_error_to_tell(
    server: ReportServer, capsys: pytest.CaptureFixture[str], error: type[Exception], is_told: bool
) -> None:
    with socket.socket() as request:
        try:
            raise error("gone")
        except error:
            server.handle_error(request, ("127.0.0.1", 1))
    assert ("Traceback" in capsys.readouterr().err) is is_told


def test_only_get_is_understood(server: ReportServer) -> None:
    assert get(server, f"/{server.token}/", method="POST")[0] == 501


def test_it_listens_on_the_loopback_interface_alone(server: ReportServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_it_follows_what_changes(reports: Reports, watched: Path) -> None:
    live = LiveReport(reports, (watched, watched.with_name("later")))
    assert not live.refresh()
    watched.write_text("ab", encoding="utf-8")
    assert live.refresh()
    assert (live.report.version, reports.count) == ("v2", 2)
    watched.with_name("later").write_text("c", encoding="utf-8")
    assert live.refresh()
    assert live.report.version == "v3"


@pytest.mark.parametrize("kind", [InputError, OSError, sqlite3.OperationalError])
def test_the_last_page_stands_while_a_new_one_cannot_be_made(
    server: ReportServer, reports: Reports, watched: Path, kind: type[Exception]
) -> None:
    """It is tried again though nothing else changes: what was locked is free by then."""
    reports.error = kind("study.toml: cannot be read")
    watched.write_text("abc", encoding="utf-8")
    server.live.refresh()
    assert get(server, f"/{server.token}/version")[:2] == (503, b"study.toml: cannot be read\n")
    assert get(server, f"/{server.token}/")[:2] == (200, b"<p>1")
    reports.error = None
    assert server.live.refresh()
    assert not server.live.refresh()
    assert get(server, f"/{server.token}/version")[:2] == (200, b"v2")


def test_a_port_that_is_taken_is_the_users_error(server: ReportServer) -> None:
    with pytest.raises(
        InputError, match=rf"--port {server.server_port}: cannot be listened on .*; name another"
    ):
        ReportServer(server.live, server.server_port)


def test_all_that_a_report_is_made_of_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []

    def follow(compose: Callable[..., Report], watched: tuple[Path, ...]) -> None:
        seen.extend(watched)
        raise InputError("enough")

    monkeypatch.setattr("analysis.server.LiveReport", follow)
    words = ["report", "demo", "--serve", "--ledger", "l.sqlite", "--speed", "speed.csv"]
    CliRunner().invoke(analysis.cli.app, words)
    assert [path.name for path in seen] == ["demo.toml", "l.sqlite", "l.sqlite-wal", "speed.csv"]


@pytest.mark.parametrize("words", [[], ["--serve", "--out", "x"]])
def test_one_of_out_and_serve_is_asked_for(words: list[str]) -> None:
    result = CliRunner().invoke(analysis.cli.app, ["report", "demo", *words])
    assert isinstance(result.exception, InputError)
    assert str(result.exception) == "give either --out DIR or --serve"

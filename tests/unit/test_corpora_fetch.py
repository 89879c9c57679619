"""Fetching a corpus, from a server on this machine that resumes, refuses, stalls, and cuts connections."""

import errno
import hashlib
import io
import os
import socket
import tarfile
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import analysis.__main__ as command
import lai_net.corpora.fetch as fetching
import lai_net.corpora.sources as sources
from lai_net.cli import app
from lai_net.corpora.sources import SOURCES, Source
from lai_net.errors import InputError
from tests.unit.downloading import serving

DATA = Path(__file__).parents[3] / "shared" / "data"
FILES = {f"{split}.json": os.urandom(30_000) for split in ("train", "dev", "test")}
SUMS = {name: (hashlib.sha256(content).hexdigest(),) for name, content in FILES.items()}
ARCHIVE = "corpus.tar.gz"
INSIDE = "processed_data/json"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield from serving()


@pytest.fixture
def other_server(server):
    yield from serving()


@pytest.fixture
def single(server):
    """Files one by one."""
    server.files = dict(FILES)
    return Source(server.address, SUMS)


def packed(members, **extra):
    """A tar.gz with (name, bytes) members; `extra` are attributes of the last one."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o777
            attributes = extra if (name, content) == members[-1] else {}
            for key, value in attributes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


@pytest.fixture
def archived(server):
    """Files in an archive, among others."""
    members = [("./processed_data/elmo/big", b"?" * 100_000)]
    members += [(f"./{INSIDE}/{name}", content) for name, content in FILES.items()]
    server.files = {ARCHIVE: packed(members)}
    return Source(server.address, SUMS, ARCHIVE, INSIDE)


def fetch(source, folder):
    return fetching.fetch(source, folder, Console(file=io.StringIO()))


def refusal(source, folder):
    with pytest.raises(InputError) as error:
        fetch(source, folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["single", "archived"])
def test_files_come_whole_plain_and_alone(kind, request, tmp_path):
    folder = tmp_path / "new" / "corpus"
    assert fetch(request.getfixturevalue(kind), folder) == tuple(FILES)
    assert names(folder) == sorted(FILES)
    for name, content in FILES.items():
        assert (folder / name).read_bytes() == content
        assert not (folder / name).stat().st_mode & 0o111


@pytest.mark.parametrize("kind", ["single", "archived"])
def test_complete_corpus_is_not_fetched_again(kind, request, server, tmp_path):
    source = request.getfixturevalue(kind)
    fetch(source, tmp_path)
    server.requests.clear()
    assert fetch(source, tmp_path) == ()
    assert server.requests == []


def test_only_what_is_missing_comes(single, server, tmp_path):
    (tmp_path / "dev.json").write_bytes(FILES["dev.json"])
    assert fetch(single, tmp_path) == ("train.json", "test.json")
    assert [name for name, _ in server.requests] == ["train.json", "test.json"]


@pytest.mark.parametrize(
    ("says_length", "message"),
    [(True, "connection was cut (after 20000 of"), (False, "20000 bytes came")],
    ids=["length", "no length"],
)
@pytest.mark.parametrize("kind", ["single", "archived"])
def test_cut_connection_is_resumed_where_it_ended(kind, says_length, message, request, server, tmp_path):
    source = request.getfixturevalue(kind)
    server.says_length, server.cut = says_length, 20_000
    assert message in refusal(source, tmp_path)
    first = source.archive or "train.json"
    assert names(tmp_path) == [f".{first}.part"]
    server.cut = None
    assert fetch(source, tmp_path) == tuple(FILES)
    assert (first, "bytes=20000-") in server.requests
    assert names(tmp_path) == sorted(FILES)


@pytest.mark.parametrize("says_length", [True, False], ids=["length", "no length"])
@pytest.mark.parametrize("kind", ["single", "archived"])
def test_what_came_before_a_connection_stalled_is_kept(
    kind, says_length, request, server, tmp_path, monkeypatch
):
    source = request.getfixturevalue(kind)
    monkeypatch.setattr(fetching, "TIMEOUT_S", 1.0)
    server.says_length, server.stalls = says_length, True
    for server.cut in (10_000, 20_000):
        assert "the connection was cut (timed out)" in refusal(source, tmp_path)
    server.stalls, server.cut = False, None
    assert fetch(source, tmp_path) == tuple(FILES)
    first = source.archive or "train.json"
    asked = [start for name, start in server.requests if name == first]
    assert asked == [None, "bytes=10000-", "bytes=20000-"]


def test_server_that_cannot_resume_is_read_from_the_start(single, server, tmp_path):
    (tmp_path / ".train.json.part").write_bytes(b"of an earlier call")
    server.resumes = False
    fetch(single, tmp_path)
    assert (tmp_path / "train.json").read_bytes() == FILES["train.json"]


@pytest.mark.parametrize("kind", ["single", "archived"])
def test_page_in_place_of_the_rest_leaves_what_came(kind, request, server, tmp_path):
    source = request.getfixturevalue(kind)
    first, whole = source.archive or "train.json", dict(server.files)
    server.cut = 20_000
    refusal(source, tmp_path)
    server.files, server.cut, server.resumes = dict.fromkeys(whole, b"<html>Welcome</html>"), None, False
    assert "removed" in refusal(source, tmp_path)
    assert names(tmp_path) == [f".{first}.part"]
    server.files, server.resumes = whole, True
    server.requests.clear()
    assert fetch(source, tmp_path) == tuple(FILES)
    assert server.requests[0] == (first, "bytes=20000-")
    assert names(tmp_path) == sorted(FILES)


@pytest.mark.parametrize("says_length", [True, False], ids=["length", "no length"])
@pytest.mark.parametrize("kind", ["single", "archived"])
def test_of_two_cut_downloads_the_longer_is_kept(kind, says_length, request, server, tmp_path):
    source = request.getfixturevalue(kind)
    server.resumes, server.says_length = False, says_length
    for server.cut in (20_000, 10_000, 25_000, 15_000):
        refusal(source, tmp_path)
    server.cut = None
    server.requests.clear()
    assert fetch(source, tmp_path) == tuple(FILES)
    assert server.requests[0] == (source.archive or "train.json", "bytes=25000-")
    assert names(tmp_path) == sorted(FILES)


@pytest.mark.parametrize("kind", ["single", "archived"])
def test_server_that_says_no_length_is_read_to_its_end(kind, request, server, tmp_path):
    source = request.getfixturevalue(kind)
    server.says_length = False
    first = source.archive or "train.json"
    (tmp_path / f".{first}.part").write_bytes(server.files[first][:999])
    assert fetch(source, tmp_path) == tuple(FILES)
    assert (first, "bytes=999-") in server.requests


@pytest.mark.parametrize("kind", ["single", "archived"])
def test_another_file_without_a_length_is_removed_by_the_second_call(kind, request, server, tmp_path):
    source = request.getfixturevalue(kind)
    whole, server.says_length = dict(server.files), False
    server.files = dict.fromkeys(server.files, b"<html>Welcome</html>")
    assert "20 bytes came" in refusal(source, tmp_path)
    assert "removed" in refusal(source, tmp_path)
    assert names(tmp_path) == []
    server.files = whole
    assert fetch(source, tmp_path) == tuple(FILES)


@pytest.mark.parametrize("kind", ["single", "archived"])
def test_file_that_has_moved_to_another_host_is_resumed_there(kind, request, server, other_server, tmp_path):
    source = request.getfixturevalue(kind)
    other_server.files, server.files = server.files, {}
    server.moved = {name: other_server.address + name for name in other_server.files}
    other_server.cut = 20_000
    assert "connection was cut (after 20000 of" in refusal(source, tmp_path)
    other_server.cut = None
    assert fetch(source, tmp_path) == tuple(FILES)
    assert (source.archive or "train.json", "bytes=20000-") in other_server.requests


def test_page_of_another_host_in_place_of_a_file_is_removed(single, server, other_server, tmp_path):
    """Such as the one by which a network asks who one is."""
    other_server.files = {"login": b"<html>Welcome</html>"}
    server.moved = {"train.json": other_server.address + "login"}
    assert "train.json from" in refusal(single, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("target", ["{address}train.json", "file:///etc/passwd"], ids=["itself", "a file"])
def test_move_that_leads_nowhere_is_one_line(target, single, server, tmp_path):
    server.moved = {"train.json": target.format(address=server.address)}
    assert f"{single.address}train.json: the server answers 302" in refusal(single, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("part", [b"?" * 999, b"?" * 30_001], ids=["shorter", "longer than the file"])
def test_part_that_is_of_another_file_is_removed_and_the_next_call_starts_anew(part, single, tmp_path):
    (tmp_path / ".train.json.part").write_bytes(part)
    assert "train.json from" in refusal(single, tmp_path)
    assert names(tmp_path) == []
    assert fetch(single, tmp_path) == tuple(FILES)


def test_download_that_was_complete_is_only_checked(single, server, tmp_path):
    (tmp_path / ".train.json.part").write_bytes(FILES["train.json"])
    fetch(single, tmp_path)
    assert (tmp_path / "train.json").read_bytes() == FILES["train.json"]


@pytest.mark.parametrize("kind", ["single", "archived"])
def test_wrong_bytes_are_removed_and_said(kind, request, tmp_path):
    source = request.getfixturevalue(kind)
    wrong = Source(source.address, SUMS | {"dev.json": ("0" * 64,)}, source.archive, source.archive_folder)
    message = refusal(wrong, tmp_path)
    assert f"dev.json from {source.address}" in message
    assert SUMS["dev.json"][0] in message
    assert "0" * 64 in message
    assert names(tmp_path) == ["train.json"]


def test_each_of_several_known_checksums_is_accepted(single, tmp_path):
    both = {name: ("0" * 64, *known) for name, known in SUMS.items()}
    assert fetch(Source(single.address, both), tmp_path) == tuple(FILES)


def test_another_file_of_that_name_is_not_overwritten(single, tmp_path):
    (tmp_path / "dev.json").write_text("mine")
    assert "dev.json: is another file" in refusal(single, tmp_path)
    assert (tmp_path / "dev.json").read_text() == "mine"


@pytest.mark.parametrize("name", ["../evil.json", "/tmp/evil.json", f"{INSIDE}/../../../evil.json"])
def test_member_that_leaves_the_folder_is_refused(name, archived, server, tmp_path):
    server.files[ARCHIVE] = packed([(name, b"evil")])
    folder = tmp_path / "inner"
    assert f"{name!r} would leave the folder" in refusal(archived, folder)
    assert names(folder) == []
    assert names(tmp_path) == ["inner"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_wanted_member_that_is_no_plain_file_is_refused(kind, archived, server, tmp_path):
    server.files[ARCHIVE] = packed([(f"{INSIDE}/train.json", b"")], type=kind, linkname="/etc/passwd")
    assert "is no plain file" in refusal(archived, tmp_path)
    assert names(tmp_path) == []


def test_archive_without_a_file_is_refused(archived, server, tmp_path):
    server.files[ARCHIVE] = packed([(f"{INSIDE}/train.json", FILES["train.json"])])
    assert f"holds no {INSIDE}/dev.json and no {INSIDE}/test.json" in refusal(archived, tmp_path)


@pytest.mark.parametrize("content", [b"<html>moved</html>", "half"], ids=["page", "half"])
def test_broken_archive_is_removed(content, archived, server, tmp_path):
    whole = server.files[ARCHIVE]
    server.files[ARCHIVE] = whole[: len(whole) // 2] if content == "half" else content
    assert "is no whole tar.gz" in refusal(archived, tmp_path)
    assert ARCHIVE not in "".join(names(tmp_path))


def test_missing_file_on_the_server_is_said(single, server, tmp_path):
    del server.files["dev.json"]
    assert f"{single.address}dev.json: the server answers 404" in refusal(single, tmp_path)
    assert names(tmp_path) == ["train.json"]


def test_no_network_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
        assert f"{address}train.json: cannot be reached" in refusal(Source(address, SUMS), tmp_path)
    assert names(tmp_path) == []


def test_full_disk_is_said_before_the_download(single, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 29_999})()
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda folder: usage)
    assert "takes 0.0 MB, 0.0 MB are free; make space" in refusal(single, tmp_path)
    assert names(tmp_path) == []


def test_disk_that_fills_up_meanwhile_is_said_and_keeps_the_archive(archived, tmp_path, monkeypatch):
    def fill(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fetching.shutil, "copyfileobj", fill)
    assert "No space left on device" in refusal(archived, tmp_path)
    assert f".{ARCHIVE}.part" in names(tmp_path)


def test_progress_is_shown_on_a_terminal_alone(single, tmp_path):
    for is_terminal in (True, False):
        shown = io.StringIO()
        folder = tmp_path / str(is_terminal)
        fetching.fetch(single, folder, Console(file=shown, force_terminal=is_terminal, width=100))
        assert ("train.json" in shown.getvalue()) == is_terminal


@pytest.mark.parametrize("name", SOURCES)
def test_known_sources_are_whole(name):
    source = SOURCES[name]
    assert source.address.startswith("http://")
    assert source.address.endswith("/")
    known = [digest for digests in source.checksums.values() for digest in digests]
    assert len(source.checksums) == {"scierc": 3, "ade": 20, "conll04": 3}[name]
    assert len(set(known)) == len(known)
    assert all(len(digest) == 64 and set(digest) <= set("0123456789abcdef") for digest in known)


@pytest.mark.parametrize("name", SOURCES)
def test_checksums_are_those_of_the_copies_at_hand(name):
    """Of files that are the official ones, or are known to differ from them in the last line break alone."""
    listing = DATA / name / "SHA256SUMS"
    if not listing.exists():
        pytest.skip("no copies of the public corpora beside this checkout")
    rows = map(str.split, listing.read_text().splitlines())
    digests = {path.rsplit("/", 1)[-1]: digest for digest, path in rows}
    for file, accepted in SOURCES[name].checksums.items():
        assert digests[file] in accepted


def run(*args):
    return CliRunner().invoke(app, ["corpus", "fetch", *map(str, args)])


def test_command_fetches_and_says_so(single, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "SOURCES", {"conll04": single})
    result = run("conll04", "--to", tmp_path / "a")
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path / 'a'}: 3 files, 3 of them new, every SHA-256 as expected\n"
    assert result.stderr == ""


def test_command_without_a_network_is_one_line_and_exits_with_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(sources, "SOURCES", {"ade": Source("http://no-such-host.invalid/ade/", SUMS)})
    with pytest.raises(SystemExit) as end:
        command.main(["corpus", "fetch", "ade", "--to", str(tmp_path)])
    assert end.value.code == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert "train.json: cannot be reached (" in shown.err
    assert shown.err.endswith("check the network and run it again\n")


def test_command_refuses_a_corpus_that_it_does_not_know(tmp_path):
    assert run("ace05", "--to", tmp_path).exit_code == 2

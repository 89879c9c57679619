"""Files and folders that appear whole, with a mode as any other file's, and what a full disk is told as."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from lai_net.errors import InputError
from lai_net.files import (
    json_digest,
    new_file,
    new_files,
    new_folder,
    read_toml,
    sha256_of,
    size_gib,
    unwritable,
)
from lai_net.tensor_files import write_tensors


@pytest.fixture(params=[0o022, 0o027, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_modes_follow_the_umask(umask: int, tmp_path: Path) -> None:
    with new_file(tmp_path / "file") as file:
        file.write_text("a")
    with new_folder(tmp_path / "folder") as folder:
        write_tensors({"a": torch.zeros(2)}, folder / "tensors")
    with new_files(tmp_path / "files", last="z") as folder:
        write_tensors({"a": torch.zeros(2)}, folder / "tensors")
    for name in ("file", "folder/tensors", "files/tensors"):
        assert mode(tmp_path / name) == 0o666 & ~umask, name
    for name in ("folder", "files"):
        assert mode(tmp_path / name) == 0o777 & ~umask, name


def test_several_may_write_one_file_at_once(tmp_path: Path) -> None:
    place = tmp_path / "place"
    with new_file(place, by_several=True) as first, new_file(place, by_several=True) as second:
        first.write_text("first")
        second.write_text("second")
    assert place.read_text() == "first", "the outer one ends last"
    assert names(tmp_path) == ["place"]


def test_what_a_killed_process_left_is_gone_after_the_next(tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / ".partial").mkdir(parents=True)
    (place / ".partial" / "old").write_text("old")
    with new_files(place, last="new") as folder:
        (folder / "new").write_text("new")
    assert names(place) == ["new"]


@pytest.mark.parametrize("write", [new_file, new_folder, lambda path: new_files(path, last="new")])
@pytest.mark.parametrize("earlier", [True, False])
def test_what_breaks_off_leaves_what_was_there(write: Callable, earlier: bool, tmp_path: Path) -> None:
    place = tmp_path / "place"
    if earlier and write is new_file:
        place.write_text("old")
    elif earlier or write not in (new_file, new_folder):
        place.mkdir()
        (place / "old").write_text("old")
    before = names(tmp_path)

    def write_and_break_off() -> None:
        with write(place) as new:
            (new / "new" if new.is_dir() else new).write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_break_off()
    assert names(tmp_path) == before


def test_a_folder_is_replaced_and_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    for name in ("place", ".place.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").touch()
    with new_folder(tmp_path / "place", durable=True) as new:
        (new / "new").touch()
    assert names(tmp_path) == ["place", "place/new"]


def test_files_replace_those_of_their_names_the_last_one_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "other"):
        (tmp_path / name).write_text("old")
    order, replace = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: order.append(to.name) or replace(self, to))
    with new_files(tmp_path, last="a") as new:
        (new / "folder").mkdir()
        for name in ("a", "b", "folder/c"):
            (new / name).write_text("new")
    assert order[-1] == "a"
    assert sorted(order) == ["a", "b", "c"]
    assert {name: (tmp_path / name).read_text() for name in ("a", "other", "folder/c")} == {
        "a": "new",
        "other": "old",
        "folder/c": "new",
    }


def test_a_full_disk_names_the_place(mount_disk: Callable[..., Path]) -> None:
    disk = mount_disk("disk", 64)
    with pytest.raises(OSError, match="No space left") as caught, new_file(disk / "text") as new:
        new.write_bytes(bytes(200_000))
    assert caught.value.filename == str(disk / "text")
    said = f"{disk}: No space left on device; make space there, or name another folder"
    assert str(unwritable(disk, caught.value)) == said
    with pytest.raises(OSError, match="No space left"), new_folder(disk / "folder") as folder:
        write_tensors({"a": torch.zeros(50_000)}, folder / "tensors")
    assert names(disk) == []


def test_a_digest_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


def test_the_digest_of_a_value_stays_and_knows_no_order_of_keys() -> None:
    stored = "9830686b5fe6d9b8f0f0363efba19623df8333d7f4a7a57d86bd4c3fbebcaa4e"
    assert json_digest({"b": 1, "a": ["é", None]}) == json_digest({"a": ["é", None], "b": 1}) == stored


def test_the_size_of_a_folder_passes_over_what_a_worker_deletes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone", "stays"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model").write_bytes(bytes(1024))
    look = os.scandir

    def scandir(folder: str) -> object:
        if Path(folder).name == "gone":
            raise FileNotFoundError(folder)
        return look(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert size_gib(tmp_path) == 1 / 2**20


def test_a_file_that_cannot_be_opened_is_no_bad_toml(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(File name too long\)"):
        read_toml(tmp_path / ("a" * 300))

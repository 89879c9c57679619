"""Of several ledgers in one folder one has the artefacts there."""

import shutil
from pathlib import Path

import pytest

import tune.commands.run
from analysis.__main__ import main
from lai_net.errors import InputError
from tune.artefacts.claim import claim_artefacts
from tune.artefacts.port import CLAIM
from tune.artefacts.storage import check_storage, store_in

REFUSED = r"two\.sqlite: the artefacts beside it are of the ledger one\.sqlite, .* a ledger in another folder"


@pytest.fixture
def ledgers(tmp_path: Path) -> tuple[Path, Path]:
    files = tmp_path / "one.sqlite", tmp_path / "two.sqlite"
    for file in files:
        file.touch()
    return files


def claimed(folder: Path) -> str:
    return (folder / "artifacts" / CLAIM).read_text()


@pytest.mark.parametrize("is_linked", [False, True], ids=["folder", "storage"])
def test_a_second_ledger_of_a_folder_is_refused(ledgers: tuple[Path, Path], is_linked: bool) -> None:
    one, two = ledgers
    if is_linked:
        store_in(str(one.parent / "shared"), one.parent)
    for _ in range(2):
        claim_artefacts(one)
        check_storage(one.parent)
    with pytest.raises(InputError, match=REFUSED):
        claim_artefacts(two)
    assert claimed(one.parent) == "one.sqlite\n"


def test_a_ledger_that_is_gone_or_renamed_claims_no_longer(ledgers: tuple[Path, Path]) -> None:
    one, two = ledgers
    claim_artefacts(one)
    renamed = one.rename(one.with_name("renamed.sqlite"))
    claim_artefacts(renamed)
    assert claimed(one.parent) == "renamed.sqlite\n"
    renamed.unlink()
    claim_artefacts(two)
    assert claimed(one.parent) == "two.sqlite\n"


@pytest.mark.parametrize("left", ["", "\n", "../one.sqlite\n", "."])
def test_what_a_kill_leaves_is_no_claim(ledgers: tuple[Path, Path], left: str) -> None:
    note = ledgers[0].parent / "artifacts" / CLAIM
    note.parent.mkdir()
    note.write_text(left)
    claim_artefacts(ledgers[1])
    assert note.read_text() == "two.sqlite\n"


def test_a_copied_folder_and_a_linked_ledger_keep_their_artefacts(ledgers: tuple[Path, Path]) -> None:
    one, _ = ledgers
    claim_artefacts(one)
    link = one.parent / "link.sqlite"
    link.symlink_to(one)
    claim_artefacts(link)
    copy = shutil.copytree(one.parent, one.parent / "copy")
    claim_artefacts(copy / "one.sqlite")
    assert claimed(one.parent) == claimed(copy) == "one.sqlite\n"


def test_artefacts_that_cannot_be_written_are_one_line(ledgers: tuple[Path, Path]) -> None:
    (ledgers[0].parent / "artifacts" / CLAIM).mkdir(parents=True)
    with pytest.raises(InputError, match=r"claim\.txt: cannot be read or written \(Is a directory\)"):
        claim_artefacts(ledgers[0])


def test_a_run_beside_another_ledger_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(tune.commands.run, "execute_study", lambda *_: calls.append(1) or 0)
    codes = []
    for name in ("one", "two", "one"):
        with pytest.raises(SystemExit) as end:
            main(["run", "demo", "--ledger", str(tmp_path / f"{name}.sqlite")])
        codes.append(end.value.code or 0)
    assert codes == [0, 2, 0]
    assert len(calls) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "name a ledger in another folder" in said


def folder_with_a_model(folder: Path) -> Path:
    """Of a ledger that was never given a storage; returns the model."""
    folder.mkdir()
    (folder / "ledger.sqlite").touch()
    claim_artefacts(folder / "ledger.sqlite")
    model = folder / "artifacts" / "t" / "attempt-1" / "best"
    model.mkdir(parents=True)
    return model


def test_a_storage_with_artefacts_of_nobody_named_is_refused(tmp_path: Path) -> None:
    folder_with_a_model(tmp_path / "a")
    (tmp_path / "b").mkdir()
    refused = rf"--storage .*/a: there are artefacts that may be .* write [^ ]*:{tmp_path}/b into ledger\.txt"
    with pytest.raises(InputError, match=refused):
        store_in(str(tmp_path / "a"), tmp_path / "b")
    assert not (tmp_path / "a" / "ledger.txt").exists()
    assert not list((tmp_path / "b").iterdir())


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_storage_beside_a_ledger_with_its_own_is_refused(tmp_path: Path, kind: str) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    if kind == "link":
        store_in(str(tmp_path / "shared"), tmp_path / "a")
    else:
        (tmp_path / "a" / "artifacts").write_text("s3://bucket/study")
    with pytest.raises(InputError, match="name another place"):
        store_in(str(tmp_path / "a"), tmp_path / "b")
    assert not (tmp_path / "a" / "ledger.txt").exists()


def test_artefacts_that_were_moved_and_linked_by_hand_are_the_ledgers(tmp_path: Path) -> None:
    folder_with_a_model(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "shared").mkdir()
    own = tmp_path / "a" / "artifacts"
    own.rename(tmp_path / "shared" / "artifacts")
    own.symlink_to(tmp_path / "shared" / "artifacts")
    for _ in range(2):
        store_in(str(tmp_path / "shared"), tmp_path / "a")
        check_storage(tmp_path / "a")
        claim_artefacts(tmp_path / "a" / "ledger.sqlite")
    with pytest.raises(InputError, match="is another ledger's"):
        store_in(str(tmp_path / "shared"), tmp_path / "b")
    (tmp_path / "b" / "artifacts").symlink_to(tmp_path / "shared" / "artifacts")
    with pytest.raises(InputError, match=r"is another ledger's \(.*/a\)"):
        check_storage(tmp_path / "b")


def test_a_link_by_hand_to_artefacts_beside_their_ledger_is_refused(tmp_path: Path) -> None:
    folder_with_a_model(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "artifacts").symlink_to(tmp_path / "a" / "artifacts")
    with pytest.raises(
        InputError, match=r"links to the artefacts of the ledger .*/a/ledger\.sqlite, and two"
    ):
        check_storage(tmp_path / "b")
    check_storage(tmp_path / "a")


def test_links_by_hand_to_folders_side_by_side_are_two_ledgers(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"of-{name}").mkdir()
        (tmp_path / name).mkdir()
        (tmp_path / name / "artifacts").symlink_to(tmp_path / f"of-{name}")
        check_storage(tmp_path / name)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "artifacts").symlink_to(tmp_path / "of-a")
    with pytest.raises(InputError, match=r"is another ledger's \(.*/a\)"):
        check_storage(tmp_path / "c")


def test_a_ledger_that_has_a_store_does_not_leave_it_for_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("s3://bucket/study")
    with pytest.raises(InputError, match="the artefacts lie in"):
        store_in(str(tmp_path), tmp_path)


def test_a_ledger_in_the_storage_of_another_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    store_in(str(tmp_path / "shared"), tmp_path / "a")
    with pytest.raises(InputError, match=r"is another ledger's \(.*/a\).* name a ledger in another folder"):
        check_storage(tmp_path / "shared")


def test_a_storage_that_is_the_ledgers_own_folder_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        store_in(str(tmp_path), tmp_path)
        check_storage(tmp_path)
        assert not (tmp_path / "ledger.txt").exists()
        (tmp_path / "ledger.sqlite").touch()
        claim_artefacts(tmp_path / "ledger.sqlite")

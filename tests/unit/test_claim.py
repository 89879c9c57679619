"""Of several ledgers in one folder one has the artefacts there."""

import shutil
from pathlib import Path

import pytest

import tune.commands.run
from analysis.__main__ import main
from lai_net.errors import InputError
from tune.artefacts.claim import CLAIM, claim_artefacts
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

"""`lai results` and `import`: what they write, what they print, and what they leave alone."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lai_net.errors import InputError
from tests.unit.commanding import demo_ledger, demo_rows, lai
from tune.ledger.ledger import Ledger
from tune.results.table import LONG_COLUMNS
from tune.spec.study import study_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return demo_ledger(tmp_path, demo_rows())


def test_import_of_a_missing_file_makes_no_ledger(tmp_path: Path) -> None:
    place = tmp_path / "new" / "ledger.sqlite"
    for words in (["nosuch.csv"], [__file__, "--curves", "nosuch.csv"]):
        result = lai("import", *words, "--ledger", place)
        assert (result.exit_code, "does not exist" in result.output) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_results_goes_to_stdout_or_a_file(path: Path, tmp_path: Path) -> None:
    text = lai("results", "demo", "--ledger", path).stdout
    assert text.splitlines()[0] == ",".join(LONG_COLUMNS)
    assert len(text.splitlines()) == 3
    assert len(json.loads(lai("results", "demo", "--ledger", path, "--format", "json").stdout)) == 2
    assert lai("results", "demo", "--ledger", path, "--out", tmp_path / "out.csv").stdout == ""
    assert (tmp_path / "out.csv").read_text() == text


def test_parquet_needs_a_file(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give --out FILE"):
        lai("results", "demo", "--ledger", path, "--format", "parquet")
    with pytest.raises(InputError, match="cannot be written"):
        lai("results", "demo", "--ledger", path, "--format", "parquet", "--out", tmp_path / "no" / "x")
    lai("results", "demo", "--ledger", path, "--format", "parquet", "--out", tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").read_bytes().startswith(b"PAR1")


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal", ".lock"])
def test_results_overwrites_nothing_of_a_writer(path: Path, tmp_path: Path, end: str) -> None:
    (tmp_path / "link").symlink_to(f"{path}{end}")
    with Ledger.open(path):
        before = {file.name: file.read_bytes() for file in tmp_path.glob("ledger*")}
        for out in (f"{path}{end}", tmp_path / "link"):
            with pytest.raises(InputError, match="is a file of the ledger; name another file"):
                lai("results", "demo", "--ledger", path, "--out", out)
        assert {file.name: file.read_bytes() for file in tmp_path.glob("ledger*")} == before


@pytest.mark.parametrize("format_", ["csv", "json", "parquet"])
def test_results_overwrites_neither_the_ledger_nor_the_study(
    format_: str, path: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study.toml"
    study.write_bytes(study_file("demo").read_bytes())
    (tmp_path / "soft").symlink_to(path)
    (tmp_path / "hard").hardlink_to(study)
    before = path.read_bytes(), study.read_bytes()
    for name, what in (
        ("ledger.sqlite", "ledger"),
        ("soft", "ledger"),
        ("study.toml", "study's file"),
        ("hard", "study's file"),
    ):
        out = tmp_path / name
        with pytest.raises(InputError) as caught:
            lai("results", study, "--ledger", path, "--format", format_, "--out", out)
        assert str(caught.value) == f"--out {out}: is the {what}; name another file"
    assert (path.read_bytes(), study.read_bytes()) == before


@pytest.mark.parametrize("format_", ["csv", "json", "parquet"])
def test_results_that_cannot_be_written_to_the_end_leave_what_was_there(
    format_: str, path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.write_text("earlier")
    out_of_room = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9, 9)); "
    code = f"{out_of_room}from analysis.__main__ import main; main()"
    words = ["results", "demo", "--ledger", path, "--format", format_, "--out", out]
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert re.fullmatch(rf"{out}: cannot be written \(.*File too large\); name another file\n", result.stderr)
    assert out.read_text() == "earlier"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ledger.sqlite", "ledger.sqlite.lock", "out"]


def test_results_go_through_a_link_and_into_a_device(path: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "out.csv")
    for out in (tmp_path / "link", "/dev/null"):
        lai("results", "demo", "--ledger", path, "--out", out)
    text = lai("results", "demo", "--ledger", path).stdout
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "out.csv").read_text() == text
    assert Path("/dev/null").is_char_device()


def test_import_then_results(tmp_path: Path) -> None:
    header = ",".join(LONG_COLUMNS[2:15])
    (tmp_path / "runs.csv").write_text(f"{header}\ndemo,NER,NER,test,7,1,4,true,inv,true,0.5,0.5,0.5\n")
    result = lai("import", tmp_path / "runs.csv", "--ledger", tmp_path / "new" / "ledger")
    assert "1 new row from" in result.stderr
    said = "1 imported row has no trial_id: tables show it, but `lai run` trains its cell"
    assert said in result.stderr
    plan = json.loads(lai("plan", "demo", "--ledger", tmp_path / "new" / "ledger", "--json").stdout)
    assert said in plan["warnings"]
    elsewhere = lai("plan", "scierc-first", "--ledger", tmp_path / "new" / "ledger", "--json").stdout
    assert "trial_id" not in elsewhere
    text = lai("results", "demo", "--ledger", tmp_path / "new" / "ledger").stdout
    assert ",imported" in text.splitlines()[1]


def test_import_says_how_many_rows_stay_as_they_were(tmp_path: Path) -> None:
    for wall_s, said in (("10", "1 new row"), ("20", "0 new rows")):
        header = ",".join(["wall_s", *LONG_COLUMNS[2:15]])
        row = f"{wall_s},demo,NER,NER,test,7,1,4,true,inv,true,0.5,0.5,0.5"
        (tmp_path / "runs.csv").write_text(f"{header}\n{row}\n")
        result = lai("import", tmp_path / "runs.csv", "--ledger", tmp_path / "ledger")
        assert result.stderr.startswith(f"{said} from")
        stay = "; rows that were there with another wall_s, device or commit, and stay as they were: 1;"
        assert (stay in result.stderr) == (wall_s == "20")

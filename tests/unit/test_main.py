"""The `lai` command: exit codes, one line for an error of the user, and a quick help."""

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

import analysis.__main__ as command
from lai_net import __version__
from lai_net.errors import InputError
from tune.commands.options import INTERRUPTED
from tune.ledger.ledger import Ledger


def sqlite_defect() -> sqlite3.Error:
    """What SQLite says of a query that is wrong."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("SELECT * FROM nothing")
        except sqlite3.Error as error:
            return error
    raise AssertionError


def exit_code(*args: str) -> int:
    with pytest.raises(SystemExit) as end:
        command.main(args)
    return int(end.value.code or 0)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"lai {__version__}\n"


def test_every_package_contributes_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--help") == 0
    shown = capsys.readouterr().out
    names = "corpus train predict save score plan run status why results import report verify variance"
    for name in names.split():
        assert f" {name} " in shown


@pytest.mark.parametrize("study", ["no.toml", "demo"])  # a shipped name in a folder is no shipped study
def test_an_error_of_the_user_is_one_line_on_stderr(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, study: str
) -> None:
    assert exit_code("report", f"{tmp_path}/{study}", "--out", f"{tmp_path}/out") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert f"{study}: no such study" in shown.err


def test_a_message_of_several_lines_still_prints_as_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "app", raising(InputError("first\nsecond")))
    assert exit_code() == 2
    assert capsys.readouterr().err == "first second\n"


def test_an_interrupt_exits_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.report.compose_report", raising(KeyboardInterrupt()))
    assert exit_code("report", "demo", "--out", "out") == 3
    assert exit_code("report", "demo", "--serve") == 0, "that is how it ends"
    monkeypatch.setattr(command, "app", raising(KeyboardInterrupt()))
    assert exit_code() == 3


def test_a_commands_own_exit_code_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.report.compose_report", raising(typer.Exit(1)))
    assert exit_code("report", "demo", "--out", "out") == 1


@pytest.mark.parametrize("args", [("--nonsense",), ("nonsense",), ("report",)], ids=str)
def test_wrong_usage_is_one_line_and_exits_with_2(
    args: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(*args) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("args", [(), ("corpus",)], ids=str)
def test_no_command_shows_the_help(args: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(*args) == 2
    shown = capsys.readouterr()
    assert "Commands" in shown.out
    assert shown.err == ""


def test_an_error_of_the_system_names_its_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = PermissionError(13, "Permission denied", "some/file")
    monkeypatch.setattr("analysis.report.compose_report", raising(error))
    assert exit_code("report", "demo", "--out", "out") == 2
    assert capsys.readouterr().err == "some/file: Permission denied\n"


@pytest.mark.parametrize("args", [("status", "demo"), ("report", "demo", "--out", "out")], ids=str)
def test_a_ledger_that_is_damaged_inside_is_named(
    args: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path).close()
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"Z" * (len(content) - 4096))
    assert exit_code(*args, "--ledger", str(path)) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"{path}: ")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("error", [ZeroDivisionError(), OSError("without a file"), sqlite_defect()], ids=repr)
def test_a_defect_keeps_its_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.report.compose_report", raising(error))
    with pytest.raises(type(error)):
        command.main(["report", "demo", "--out", "out"])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("report demo --out out", "interrupted\n"),
        ("predict --model m", "interrupted\n"),
        ("corpus check data", "interrupted\n"),
        ("run demo", "interrupted; the same call resumes\n"),
        ("train ner", "interrupted; the same call resumes\n"),
        ("corpus fetch scierc", "interrupted; the same call resumes\n"),
    ],
)
def test_an_interrupt_is_told_and_that_a_call_resumes_where_it_does(
    line: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "app", raising(KeyboardInterrupt()))
    assert exit_code(*line.split()) == INTERRUPTED
    assert capsys.readouterr().err == told


def test_an_interrupt_while_python_imports_is_told_too(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom analysis.entry import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (INTERRUPTED, "interrupted\n")


def test_help_loads_nothing_heavy() -> None:
    heavy = ["torch", "ray", "transformers", "optuna", "pandas", "scipy", "matplotlib"]
    code = f"import sys, analysis.__main__; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*args: object, **options: object) -> None:
        raise error

    return fail

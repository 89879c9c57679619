"""The `lai` command: exit codes, one line for an error of the user, and a quick help."""

import subprocess
import sys
from collections.abc import Callable

import pytest

import analysis.__main__ as command
from lai_net import __version__
from lai_net.errors import InputError


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
    for name in ("corpus", "train", "predict", "score", "plan", "run", "status", "why", "results", "import",
                 "report", "verify"):  # fmt: skip
        assert f" {name} " in shown


def test_an_error_of_the_user_is_one_line_on_stderr(
    capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    assert exit_code("report", f"{tmp_path}/no.toml", "--out", f"{tmp_path}/out") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "no.toml" in shown.err


def test_a_message_of_several_lines_still_prints_as_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "app", raising(InputError("first\nsecond")))
    assert exit_code() == 2
    assert capsys.readouterr().err == "first second\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(130)], ids=repr)
def test_an_interrupt_exits_with_3(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "app", raising(error))
    assert exit_code() == 3


@pytest.mark.parametrize("args", [("--nonsense",), ("nonsense",), ("report",)], ids=str)
def test_wrong_usage_exits_with_2(args: tuple[str, ...]) -> None:
    assert exit_code(*args) == 2


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "app", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        command.main([])


def test_help_loads_nothing_heavy() -> None:
    heavy = ["torch", "ray", "transformers", "optuna", "pandas", "scipy", "matplotlib"]
    code = f"import sys, analysis.__main__; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*args: object, **options: object) -> None:
        raise error

    return fail

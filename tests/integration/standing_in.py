"""A `lai run` in this process or a fork of it; its trainings are the drill's, without pauses. No test."""

import contextlib
import importlib.util
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.drills.playing import DRIVER
from tests.drills.study import study_text
from tune.commands.running import execute_study
from tune.engine import SerialEngine
from tune.fault_points import VARIABLE
from tune.ledger.ledger import Ledger
from tune.preparation import prepare

_spec = importlib.util.spec_from_file_location("drill", DRIVER)
drill = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(drill)
drill.EPOCH_S = 0

STUDY = study_text([1])


def written(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text)
    return path


def run(study: Path, ledger: Path, executor=drill.execute) -> int:
    with Ledger.open(ledger) as opened:
        engine = SerialEngine(executor, poll_s=0.001)
        make_engine = partial(contextlib.nullcontext, engine)
        return execute_study(prepare(str(study), []), opened, ledger.parent, make_engine, None, unwatched)


def unwatched(sink, _):
    return contextlib.nullcontext(sink)


def in_fork(act: Callable[[], int], fault: str) -> int:
    """Act in a process of its own with a fault; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        os.environ[VARIABLE] = fault
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        code = 99
        with contextlib.suppress(Exception):
            code = act()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)

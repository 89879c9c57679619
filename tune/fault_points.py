"""Named places where a drill may break a run; nothing happens at them otherwise.

The environment variable LAI_FAULT arms one, as POINT:ACTION or POINT:COUNT:ACTION, where COUNT tells at which
visit of a process it acts: `attempt.finish.before_commit:2:kill`. Actions: `kill` ends the process by
SIGKILL, `raise-enospc` says that the disk is full, `hang` sleeps for ever, `stop` waits for a SIGCONT, so
that something else can be killed meanwhile.
"""

import errno
import os
import signal
import time

from lai_net.errors import InputError

TRANSITIONS = (
    "ledger.create",
    "ledger.migrate",
    "trials.register",
    "attempt.start",
    "epoch.record",
    "attempt.finish",
    "evaluation.record",
    "model.forget",
    "search.decide",
    "results.import",
    "probe.record",
)
"""What the driver commits, each in one transaction of the ledger."""

POINTS = (
    *(f"{name}.{side}_commit" for name in TRANSITIONS for side in ("before", "after")),
    "files.delete",  # before what a finished trial no longer needs is deleted
    "files.publish",  # in a store: before what was sent there counts
    "worker.started",  # before a worker says so; likewise below
    "worker.epoch",  # its checkpoint is written, and published
    "worker.completed",  # its model is evaluated
)
VARIABLE = "LAI_FAULT"
ACTIONS = ("kill", "raise-enospc", "hang", "stop")

_visits = 0


def reach(point: str) -> None:
    """Pass a point.

    Raises:
        OSError: armed with `raise-enospc`.
        InputError: what arms is no point and action.
    """
    if VARIABLE not in os.environ:
        return
    global _visits
    armed, count, action = _parse(os.environ[VARIABLE])
    _visits += point == armed
    if point == armed and _visits == count:
        _act(action)


def _parse(text: str) -> tuple[str, int, str]:
    point, *middle, action = text.split(":") if ":" in text else ("", text)
    count = middle[0] if middle else "1"
    if point not in POINTS or action not in ACTIONS or len(middle) > 1 or not count.isdecimal():
        raise InputError(
            f"{VARIABLE} must be POINT:ACTION or POINT:COUNT:ACTION, but is {text!r}; "
            f"points: {', '.join(POINTS)}; actions: {', '.join(ACTIONS)}"
        )
    return point, int(count), action


def _act(action: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "raise-enospc":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    while action == "hang":
        time.sleep(3600)
    os.kill(os.getpid(), signal.SIGSTOP)

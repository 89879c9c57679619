"""A run that stops at a signal, also once its terminal is gone."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""SIGHUP, since a terminal that closes sends it, and SIGUSR1, since batch systems are asked to warn by it."""


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT, SIGTERM, SIGHUP or SIGUSR1 into a flag; a second one ends the process.

    Also where SIGINT was ignored before, as shells have it for what they start in the background; but an
    ignored SIGHUP, of `nohup`, stays so.
    """
    seen: list[int] = []

    def note(number: int, _: Any) -> None:
        seen.append(number)
        for again in before:
            signal.signal(again, signal.default_int_handler if again == signal.SIGINT else signal.SIG_DFL)
        _let_go_of_terminal()
        os.write(2, b"\nstopping at the last checkpoints; a second Ctrl-C stops at once\n")

    is_nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    heard = [number for number in _STOPPING if number != signal.SIGHUP or not is_nohup]
    before = {number: signal.getsignal(number) for number in heard}
    for number in heard:
        signal.signal(number, note)
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _let_go_of_terminal() -> None:
    """Write into the void in place of a terminal that was closed, where every further word would raise."""
    for stream in (1, 2):
        try:
            os.write(stream, b"")
        except OSError:
            void = os.open(os.devnull, os.O_WRONLY)
            os.dup2(void, stream)
            os.close(void)

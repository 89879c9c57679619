"""What a failed attempt died of, in a line."""

import pytest

from tune.engine import FailureKind
from tune.failures import headline

LOST = """Failure # 1 (occurred at 2026-11-30_00-39-59)
The actor died unexpectedly before finishing this task.
\tclass_name: ImplicitFunc
"""
TRACEBACK = """Traceback (most recent call last):
  File "x.py", line 1, in <module>
ValueError: no such level
"""


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (LOST, "machine", "machine failure: The actor died unexpectedly before finishing this task."),
        (f"Failure # 2 (occurred at now)\n{TRACEBACK}", None, "ValueError: no such level"),
        (TRACEBACK, "config", "config failure: ValueError: no such level"),
        ("no word for 2 minutes", "stall", "stalled: no word for 2 minutes"),
        (None, "memory", "out of device memory: no error was recorded"),
    ],
)
def test_headline_says_the_cause(error: str | None, kind: FailureKind | None, said: str) -> None:
    assert headline(error, kind) == said

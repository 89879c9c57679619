"""What attempts failed of, in words: the ledger keeps a kind and a traceback."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tune.engine import FailureKind
from tune.ledger.rows import AttemptRow

_WORDS: dict[FailureKind, str] = {
    "config": "config failure",
    "machine": "machine failure",
    "memory": "out of device memory",
    "stall": "stalled",
}
_TUNE_HEADING = re.compile(r"^Failure # \d+ \(occurred at .*\)$", re.MULTILINE)
"""Ray Tune's first line on a worker that was lost."""


def headline(error: str | None, kind: FailureKind | None) -> str:
    """A failure in one line: its kind, then a traceback's last line, or any other text's first.

    `kind` is None where an old ledger has not recorded it.
    """
    lines = _TUNE_HEADING.sub("", error or "").strip().splitlines() or ["no error was recorded"]
    said = lines[-1] if any(line.startswith("Traceback") for line in lines) else lines[0]
    return said if kind is None else f"{_WORDS[kind]}: {said}"


def failure_lines(trials: Iterable[Sequence[AttemptRow]], names: Mapping[str, str]) -> list[str]:
    """The trials whose last attempt failed, and how many attempts did, also of those that came through.

    `trials` are their attempts, oldest first; `names` say in words what each is, by id.
    """
    lines, tries = [], Counter[str]()
    for attempts in trials:
        failed = [attempt for attempt in attempts if attempt.status == "failed"]
        tries.update("of unknown kind" if item.failure is None else _WORDS[item.failure] for item in failed)
        if failed and failed[-1] is attempts[-1]:
            last = failed[-1]
            lines.append(
                f"failed: {names[last.trial_id]} ({last.trial_id}, attempt {last.attempt}): "
                f"{headline(last.error, last.failure)}"
            )
    counts = ", ".join(f"{count} {words}" for words, count in sorted(tries.items()))
    return [*lines, f"failed tries: {counts}"] if counts else []

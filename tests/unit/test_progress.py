"""What a run shows."""

import io

import pytest
from rich.console import Console

from lai_net.config import TrialConfig
from lai_net.settings import with_settings
from tests.unit.rows import trial_row
from tune.commands.progress import ProgressSink
from tune.engine import Message, Task, failure
from tune.planning.jobs import Training
from tune.planning.plan import IdentifiedTrial


class Silent:
    def record(self, task: Task, message: Message) -> None:
        pass


def shown(*messages: Message, terminal: bool, precision: str = "fp32") -> tuple[str, ProgressSink]:
    row = trial_row(trial_id="abc", seed=3)
    config = with_settings(TrialConfig(phase="NER"), {"training.precision": precision})
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=300, highlight=False)
    jobs = {"abc": Training(IdentifiedTrial(row, config))}
    sink = ProgressSink(Silent(), jobs, console)
    with sink.live():
        for message in messages:
            sink.record(Task("abc", 1, ""), message)
    return stream.getvalue(), sink


STARTED = Message("started", {})
EPOCH = Message("epoch", {"epoch": 1, "dev": {"f1": 0.25}})
DONE = Message("completed", {"wall_s": 1.25})


def test_plain_lines_without_a_terminal():
    text, _ = shown(STARTED, EPOCH, DONE, terminal=False)
    assert text == (
        "completed: demo NER seed 3 (abc) in 1.2 s "
        "(1/1 jobs done, 0 running, 0 failed tries; demo NER best F1 0.250)\n"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_failures_are_always_printed_with_their_last_line(terminal):
    text, _ = shown(
        STARTED, failure("Traceback …\nValueError: [wrong]\n", retryable=False), terminal=terminal
    )
    assert "failed try: demo NER seed 3 (abc): config failure: ValueError: [wrong]" in text


def test_a_measurement_that_failed_is_told_and_counts_as_no_try():
    stream = io.StringIO()
    sink = ProgressSink(Silent(), {}, Console(file=stream, width=300, highlight=False))
    for message in (STARTED, failure("Traceback …\nOSError: disk\n", retryable=True)):
        sink.record(Task("probe of s on A100", 1, ""), message)
    told = "could not measure what trials take (probe of s on A100): machine failure: OSError: disk\n"
    assert stream.getvalue() == told
    assert "0 failed tries" in sink.state


@pytest.mark.parametrize("terminal", [True, False])
def test_a_host_without_bf16_is_told_once_where_bf16_is_asked_for(terminal):
    slow = Message("started", {"host": "old", "has_bf16": False})
    fast = Message("started", {"host": "new", "has_bf16": True})
    text, _ = shown(fast, slow, slow, terminal=terminal, precision="bf16")
    assert text.count("warning: old has no instructions for bf16") == 1
    assert "new" not in text
    assert "warning" not in shown(slow, terminal=terminal)[0]


def test_bar_on_a_terminal():
    text, sink = shown(STARTED, EPOCH, terminal=True)
    assert "1/10" in text
    assert sink.state == "0/1 jobs done, 1 running, 0 failed tries; demo NER best F1 0.250"

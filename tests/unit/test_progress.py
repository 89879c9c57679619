"""What a run shows."""

import io

import pytest
from rich.console import Console

from lai_net.config import TrialConfig
from tune.commands.progress import ProgressSink
from tune.engine import Message, Task, failure
from tune.execution import Training
from tune.ledger.ledger import TrialRow
from tune.planning.plan import Job


class Silent:
    def record(self, task: Task, message: Message) -> None:
        pass


def shown(*messages: Message, terminal: bool) -> tuple[str, ProgressSink]:
    row = TrialRow(
        trial_id="abc",
        config_id="c",
        spec_id="s",
        dataset="demo",
        phase="NER",
        fold=None,
        seed=3,
        config={},
        corpus_id="x",
        encoder_id="e",
    )
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=300, highlight=False)
    jobs = {"abc": Training(Job(row, TrialConfig(phase="NER")))}
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
    assert "failed: demo NER seed 3 (abc): config failure: ValueError: [wrong]" in text


def test_bar_on_a_terminal():
    text, sink = shown(STARTED, EPOCH, terminal=True)
    assert "1/10" in text
    assert sink.state == "0/1 jobs done, 1 running, 0 failed tries; demo NER best F1 0.250"

"""The commands of `tune`, called; and a ledger of the demo study for them to look at."""

from pathlib import Path

from typer.testing import CliRunner, Result

from lai_net.schema import Corpus, Document, Labels, Sentence
from tune.commands.cli import app
from tune.ledger.ledger import Ledger
from tune.ledger.rows import TrialRow
from tune.planning.plan import Contents, make_plan
from tune.spec.study import load_study


def lai(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def demo_rows() -> list[TrialRow]:
    plan = make_plan(load_study("demo"))
    corpus = Corpus(
        name="demo",
        splits=dict.fromkeys(("train", "dev", "test"), (Document("d", (Sentence(("a",)),)),)),
        labels=Labels(entities={"A": "a"}, relations={"R": "r"}),
    )
    jobs = plan.identify(Contents({("demo", None): corpus}, dict.fromkeys(plan.encoder_names, "encoder")))
    return [job.row for job in jobs.trials]


def demo_ledger(folder: Path, rows: list[TrialRow]) -> Path:
    """A ledger with a completed and a failed trial of the demo study."""
    path = folder / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        ledger.register_trials(rows[:3])
        ledger.start_attempt(rows[0].trial_id, 1, {"device": "cpu"})
        ledger.finish_attempt(rows[0].trial_id, 1, "completed", cpu_s=2.0, wall_s=3.0)
        ledger.start_attempt(rows[1].trial_id, 1, {})
        error = "Traceback (most recent call last):\n  File x\nRuntimeError: out of ink\n"
        ledger.finish_attempt(rows[1].trial_id, 1, "failed", error=error)
    return path

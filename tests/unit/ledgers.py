"""A ledger with one finished trial. No test."""

from pathlib import Path

from tests.unit.rows import trial_row
from tune.ledger.ledger import Ledger

ASSETS = Path(__file__).parents[1] / "assets"


TRIAL = trial_row(trial_id="t1", config_id="c1", spec_id="s1", dataset="toy", config={"phase": "NER"})


def finished_ledger(folder: Path) -> Path:
    """A ledger with one finished trial."""
    path = folder / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        ledger.register_trials([TRIAL])
        ledger.start_attempt("t1", 1, {"host": "a"})
        for epoch in range(1, 60):
            ledger.record_epoch("t1", 1, epoch, {"epoch": epoch, "dev": {"f1": 0.5}, "text": "x" * 200})
        ledger.finish_attempt("t1", 1, "completed")
    return path

"""What tests of a search share. No test itself."""

import sqlite3
from pathlib import Path

from typer.testing import CliRunner, Result

from lai_net.errors import InputError
from tune.commands.cli import app
from tune.ledger.ledger import Ledger
from tune.ledger.rows import SearchEvent
from tune.search.plan import plan_search
from tune.spec.study import load_study

HEAD = """
name = "drill"
seeds = [1, 2]
[[datasets]]
name = "demo"
corpus = "embedded"
[datasets.ner]
preset = "demo-ner"
set = { "training.epochs" = 5 }
"""
SEARCH = """
[search]
phase = "NER"
seeds_per_config = 2
[search.space]
"training.head_lr" = { log = [1e-4, 1e-2] }
"graph.layers" = { int = [0, 2] }
"graph.heads" = { choice = [1, 2, 4] }
[search.scheduler]
reduction_factor = 2
noise_margin = 0.5
[search.budget]
trials = 24
[search.confirm]
best = 2
seeds = 3
"""
GRID = """
[search]
phase = "NER"
sampler = "grid"
seeds_per_config = 2
[search.space]
"graph.layers" = { int = [0, 2] }
[search.scheduler]
noise_margin = 0.0
[search.confirm]
best = 1
seeds = 2
"""
RE = (
    HEAD
    + """
[datasets.re]
preset = "demo-re"
set = { "training.epochs" = 5 }
"""
    + GRID.replace('phase = "NER"', 'phase = "RE"')
)


def events(study: Path, ledger: Path) -> list[SearchEvent]:
    try:
        with Ledger.open(ledger, read_only=True) as opened:
            return opened.search_events(plan_search(load_study(study)).search_id)
    except (InputError, sqlite3.Error):  # not there yet, or just being created
        return []


def folder(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name / "ledger.sqlite"


def lai(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def attempts(ledger: Path) -> dict[str, list[str]]:
    with Ledger.open(ledger, read_only=True) as opened:
        return {
            row.trial_id: [item.status for item in opened.attempts(row.trial_id)] for row in opened.trials()
        }

"""Rows of a ledger of which a test says what matters to it."""

from dataclasses import replace
from typing import Any

from tune.ledger.rows import TrialRow

_TRIAL = TrialRow(
    trial_id="t", config_id="c", spec_id="s", dataset="demo", phase="NER", fold=None, seed=1, config={},
    corpus_id="corpus", encoder_id="encoder",
)  # fmt: skip


def trial_row(**changes: Any) -> TrialRow:
    """A trial of NER, but for these columns."""
    return replace(_TRIAL, **changes)

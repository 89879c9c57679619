"""A study on a ledger, and its base trials as they may have ended. No test."""

from pathlib import Path
from typing import Any

import pandas as pd

from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow, TrialRow
from tune.planning.plan import PlannedTrial, make_plan
from tune.spec.identity import evaluation_id
from tune.spec.study import load_study

STUDY = """
name = "s"
seeds = [1, 2]
[[datasets]]
name = "SciERC"
folds = {folds}
[datasets.ner]
preset = "demo-ner"
[datasets.re]
preset = "demo-re"
[factors]
gcn_layers = [0, 1, 2]
gcn_heads = [4, 6]
entity_filter = ["with", "without"]
method = ["LAI-Net", "w/o 2nd", "w/o 1st"]
mask = ["Inv.", "Vis."]
"""


def seeds_of(cells: pd.DataFrame, task: str, factor: str, level: str) -> dict[int, float]:
    cell = cells[(cells["task"] == task) & (cells["factor"] == factor) & (cells["level"] == level)]
    done = cell[cell["state"] == "completed"]
    return dict(zip(done["seed"], done["f1"], strict=True))


def states_of(cells: pd.DataFrame, task: str, factor: str, level: str) -> list[str]:
    cell = cells[(cells["task"] == task) & (cells["factor"] == factor) & (cells["level"] == level)]
    return cell["state"].tolist()


def base_trials(study: Path) -> tuple[PlannedTrial, PlannedTrial]:
    """The base NER and the base RE trial of seed 1."""
    trials = [trial for trial in make_plan(load_study(study)).trials if trial.seed == 1]
    ner, relation = (next(trial for trial in trials if trial.phase == phase) for phase in ("NER", "RE"))
    return ner, relation


def evaluation(
    trial: str, phase: str, f1: float, *, upstream: str | None = None, entities: str = "predicted"
) -> EvaluationRow:
    score = {"task": phase, "protocol": "pure", "averaging": "micro", "precision": f1, "recall": f1, "f1": f1}
    return EvaluationRow(
        evaluation_id=evaluation_id(trial, upstream, "test", entities), trial_id=trial,
        upstream_trial_id=upstream, split="test", entities=entities, scores=[score],
    )  # fmt: skip


def run(
    ledger: Path,
    trial: str,
    spec: str,
    *,
    phase: str,
    seed: int,
    f1: float | None,
    upstream: str | None = None,
    entities: str = "predicted",
    commit: str = "abc",
    dirty: bool = False,
) -> None:
    """A trial with a final record: completed with an evaluation, or failed where there is no F1."""
    config: dict[str, Any] = {
        "phase": phase, "graph": {"layers": 1, "heads": 4}, "filter": {"enabled": True},
        "input": {"attention_mask": "inv", "annotations": True},
        "training": {"selection": "dev"}, "encoder": {"name": "minilm"},
    }  # fmt: skip
    row = TrialRow(
        trial_id=trial, config_id=f"config-{spec}", spec_id=spec, dataset="SciERC", phase=phase, fold=None,
        seed=seed, config=config, corpus_id="corpus", encoder_id="encoder",
    )  # fmt: skip
    with Ledger.open(ledger) as opened:
        opened.register_trials([row])
        opened.start_attempt(trial, 1, {"commit": commit, "dirty": dirty, "device": "cpu"})
        if f1 is None:
            opened.finish_attempt(trial, 1, "failed", error="out of memory")
        else:
            scores = [evaluation(trial, phase, f1, upstream=upstream, entities=entities)]
            opened.finish_attempt(trial, 1, "completed", evaluations=scores)

"""A study that grows from its committed tables."""

import random
from pathlib import Path

import pandas as pd

from lai_net.metrics.scoring import SCORES, TASKS_OF_PHASE
from tune.forecast.summary import summarize
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow
from tune.planning.plan import IdentifiedPlan, make_plan
from tune.preparation import prepare
from tune.results.curves import curves_to_csv, read_curves
from tune.results.importing import import_csv
from tune.results.spared import imported_results, lines_on_imported
from tune.results.table import long_table, to_csv
from tune.spec.study import Study, load_study

STUDY = """
name = "grown"
seeds = 2
[[datasets]]
name = "toy"
corpus = "embedded"
[datasets.ner]
preset = "demo-ner"
[datasets.re]
preset = "demo-re"
[factors]
gcn_layers = [0, 1, 2]
"""


class Place:
    """A folder with a study, its table and curves from another machine, and a ledger that took them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first, self.ledger = folder / "first.sqlite", folder / "ledger.sqlite"
        self.long, self.curves = folder / "long.csv", folder / "curves.csv"
        jobs = prepare(self.study(), []).plan
        with Ledger.open(self.first) as ledger:
            run_all(ledger, jobs)
            rows = long_table(ledger)
            self.long.write_bytes(to_csv(rows))
            self.curves.write_bytes(curves_to_csv(read_curves(ledger), rows))
        with Ledger.open(self.ledger) as ledger:
            import_csv(self.long, ledger, self.curves)

    def take_alone(self, table: pd.DataFrame) -> None:
        """From now on a ledger that took another table, and no curves."""
        file, self.ledger = self.folder / "other.csv", self.folder / "other.sqlite"
        table.to_csv(file, index=False)
        with Ledger.open(self.ledger) as ledger:
            import_csv(file, ledger)

    def study(self, old: str = "", new: str = "") -> Study:
        assert old in STUDY
        file = self.folder / "study.toml"
        file.write_text(STUDY.replace(old, new) if old else STUDY)
        return load_study(file)

    def to_train(self, study: Study) -> tuple[list[str], list[str]]:
        """What `lai run` would train, in words, and what it says of the imported trials."""
        plan, jobs = make_plan(study), prepare(study, []).plan
        with Ledger.open(self.ledger) as ledger:
            found = imported_results(plan, ledger)
            ledger.register_trials(job.row for job in jobs.trials)
            left = jobs.remaining(ledger)
            training = {job.row.trial_id for job in left.trials}
            return list(map(str, left.trials)), list(lines_on_imported(jobs, training, found, ledger))

    def planned(self, study: Study, *, by_ids: bool = False) -> tuple[int, int]:
        """`done` and `to_run` of `lai plan`, which says whether it knows the trials by their ids."""
        with Ledger.open(self.ledger, read_only=True) as ledger:
            summary = summarize(make_plan(study), ledger)
        assert any("done by imported results" in text for text in summary.warnings) != by_ids
        return summary.done, summary.to_run


def run_all(ledger: Ledger, jobs: IdentifiedPlan) -> None:
    """As runs leave it: all epochs of every trial, and every evaluation."""
    rng = random.Random(0)
    phases = {job.row.trial_id: job.row.phase for job in jobs.trials}
    ledger.register_trials(job.row for job in jobs.trials)
    for job in jobs.trials:
        name = job.row.trial_id
        ledger.start_attempt(name, 1, {"device": "cpu", "commit": "a" * 40})
        for epoch in range(1, 1 + job.config.training.epochs):
            dev = {key: rng.random() for key in SCORES}
            recall = rng.random() if phases[name] == "NER" else None
            report = {"epoch": epoch, "loss": rng.random(), "dev": dev, "filter_recall": recall}
            ledger.record_epoch(name, 1, epoch, report | {"cpu_s": rng.random(), "wall_s": 1.0})
        ledger.finish_attempt(name, 1, "completed", artefacts={"best": f"artifacts/{name}/attempt-1/best"})
    for item in jobs.evaluations:
        ledger.record_evaluation(
            EvaluationRow(
                evaluation_id=item.evaluation_id,
                trial_id=item.trial_id,
                upstream_trial_id=item.upstream_trial_id,
                split=item.split,
                entities=item.entities,
                scores=[
                    {"task": task, "protocol": "pure", "averaging": "micro"}
                    | dict.fromkeys(SCORES, rng.random())
                    for task in TASKS_OF_PHASE[phases[item.trial_id]]
                ],
            )
        )

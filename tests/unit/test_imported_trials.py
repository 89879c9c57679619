"""Growing a study from its committed tables: what was imported is not trained again, and loses nothing."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import analysis
from analysis.__main__ import app
from analysis.frame import read_results
from analysis.report import write_report
from lai_net.errors import InputError
from tune.commands.standing import take_stock
from tune.commands.verify import verify
from tune.forecast.summary import summarize
from tune.ledger.ledger import EvaluationRow, Ledger
from tune.planning.plan import Jobs, Plan, make_plan
from tune.planning.trained_model import trained_model_folder
from tune.preparation import prepare
from tune.results.curves import CURVE_COLUMNS, curves_to_csv, read_curves
from tune.results.imported import imported_results, lines_on_imported
from tune.results.importing import import_csv
from tune.results.table import SCORES, TASKS, long_table, to_csv
from tune.spec.identity import SEMANTICS
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
        jobs = prepare(self.study(), []).jobs
        with Ledger.open(self.first) as ledger:
            run_all(ledger, jobs)
            rows = long_table(ledger)
            self.long.write_bytes(to_csv(rows))
            self.curves.write_bytes(curves_to_csv(read_curves(ledger), rows))
        with Ledger.open(self.ledger) as ledger:
            import_csv(self.long, ledger, self.curves)

    def study(self, old: str = "", new: str = "") -> Study:
        assert old in STUDY
        file = self.folder / "study.toml"
        file.write_text(STUDY.replace(old, new) if old else STUDY)
        return load_study(file)

    def to_train(self, study: Study) -> tuple[list[str], list[str]]:
        """What `lai run` would train, in words, and what it says of the imported trials."""
        plan, jobs = make_plan(study), prepare(study, []).jobs
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


def run_all(ledger: Ledger, jobs: Jobs) -> None:
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
                    | {key: rng.random() for key in SCORES}
                    for task in TASKS[phases[item.trial_id]]
                ],
            )
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("made"))


@pytest.fixture
def place(made: Place, tmp_path: Path) -> Place:
    """A fresh copy of the importing ledger."""
    fresh = object.__new__(Place)
    fresh.__dict__.update(made.__dict__, folder=tmp_path, ledger=tmp_path / "ledger.sqlite")
    with Ledger.open(fresh.ledger) as ledger:
        import_csv(made.long, ledger, made.curves)
    return fresh


def test_a_finished_study_has_nothing_to_train(place: Place) -> None:
    study = place.study()
    assert place.planned(study) == (12, 0)
    trained, said = place.to_train(study)
    assert trained == []
    assert said == ["imported trials that count as done: 12"]
    assert place.planned(study, by_ids=True) == (12, 0)


def test_more_seeds_train_the_new_ones_alone(place: Place) -> None:
    study = place.study("seeds = 2", "seeds = 3")
    assert place.planned(study) == (12, 6)
    trained, said = place.to_train(study)
    assert len(trained) == 6
    assert all("seed 2" in name for name in trained)
    assert said == ["imported trials that count as done: 12"]


def test_a_new_ner_level_needs_no_imported_model(place: Place) -> None:
    study = place.study("[0, 1, 2]", "[0, 1, 2]\ngcn_heads = [2, 4]")
    trained, _ = place.to_train(study)
    assert sum(" NER " in name and "base" not in name for name in trained) == 2


def test_a_new_re_level_trains_the_base_whose_entities_it_takes(place: Place) -> None:
    study = place.study("[0, 1, 2]", "[0, 1, 2]\ngcn_heads = [2, 4]")
    planned = place.planned(study)
    trained, said = place.to_train(study)
    assert [name for name in trained if "NER seed" in name and "base" in name] == [
        "toy NER seed 0, base", "toy NER seed 1, base",
    ]  # fmt: skip
    assert len(trained) == 2 + 2 * 2
    assert planned == place.planned(study, by_ids=True) == (10, 6)
    assert said[1] == (
        "imported trials that are trained, since evaluations need their models and an import brings none: 2"
    )


def test_a_table_cut_down_to_one_task_leaves_the_relations_to_make(place: Place) -> None:
    table = pd.read_csv(place.long)
    part = place.folder / "part.csv"
    table[table["task"] != "RE+"].to_csv(part, index=False)
    place.ledger = place.folder / "part.sqlite"
    with Ledger.open(place.ledger) as ledger:
        import_csv(part, ledger)
    study = place.study()
    planned = place.planned(study)
    trained, _ = place.to_train(study)
    assert sum(" RE " in name for name in trained) == 6
    assert planned == (12 - len(trained), len(trained))


@pytest.mark.parametrize(
    ("column", "value", "setting"),
    [
        ("protocol", "plmarker", '[report]\nprotocol = "plmarker"'),
        ("averaging", "macro", 'averaging = "macro"'),
    ],
)
def test_only_scores_that_the_tables_show_count(place: Place, column: str, value: str, setting: str) -> None:
    file = place.folder / "other.csv"
    pd.read_csv(place.long).assign(**{column: value}).to_csv(file, index=False)
    place.ledger = place.folder / "other.sqlite"
    with Ledger.open(place.ledger) as ledger:
        import_csv(file, ledger)
    why = "since the study's tables would not show their scores (dataset, protocol, averaging or code differ)"
    study = place.study()
    with Ledger.open(place.ledger, read_only=True) as ledger:
        summary = summarize(make_plan(study), ledger)
    assert (summary.done, summary.to_run) == (0, 12)
    assert f"12 imported trials do not count as done, {why}" in summary.warnings
    trained, said = place.to_train(study)
    assert len(trained) == 12
    assert said == [f"imported trials that are trained, {why}: 12"]
    showing = (
        place.study("[factors]", f"{setting}\n[factors]")
        if column == "protocol"
        else place.study('corpus = "embedded"', f'corpus = "embedded"\n{setting}')
    )
    assert place.planned(showing, by_ids=True) == (12, 0)
    assert place.to_train(showing) == ([], ["imported trials that count as done: 12"])


@pytest.mark.parametrize("raised", ["NER", "RE", "evaluation"])
def test_what_was_imported_before_the_code_changed_does_not_count(
    place: Place, raised: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = place.study()
    monkeypatch.setitem(SEMANTICS, raised, SEMANTICS[raised] + 1)
    with Ledger.open(place.ledger, read_only=True) as ledger:
        summary = summarize(make_plan(study), ledger)
    trained, _ = place.to_train(study)
    phases = {"NER": ("NER", "RE"), "RE": ("RE",), "evaluation": ("NER", "RE")}[raised]
    assert summary.to_run == len(trained)
    assert {name.split()[1] for name in trained} >= set(phases)
    (warning,) = (text for text in summary.warnings if "do not count as done" in text)
    assert warning.startswith({"NER": "12 ", "RE": "6 ", "evaluation": "12 "}[raised])


def test_an_encoder_that_lay_elsewhere_is_known_by_its_content(place: Place) -> None:
    file = place.folder / "elsewhere.csv"
    pd.read_csv(place.long).assign(encoder="/elsewhere/bert").to_csv(file, index=False)
    place.ledger = place.folder / "elsewhere.sqlite"
    with Ledger.open(place.ledger) as ledger:
        import_csv(file, ledger)
    study = place.study()
    assert place.to_train(study) == ([], ["imported trials that count as done: 12"])
    assert set(read_results(place.ledger, study.file).cells["state"]) == {"completed"}


def test_another_setting_is_known_by_its_id(place: Place) -> None:
    study = place.study('preset = "demo-re"', 'preset = "demo-re"\nset = { "training.head_lr" = 0.5 }')
    assert place.planned(study) == (12, 0), "rows do not say the learning rate"
    trained, said = place.to_train(study)
    assert len(trained) == 6 + 2, "and the NER bases, for their models"
    assert said[-1].startswith("trials that look like imported ones but have other ids (")
    assert said[-1].endswith(": 6")
    assert place.planned(study, by_ids=True) == (4, 8), "now that the ledger knows the configs"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("demo-ner", 'demo-ner"\nset = { "encoder.name" = "/other" }\n#"'),
        ("demo-ner", 'demo-ner"\nset = { "training.epochs" = 9 }\n#"'),
        ("demo-ner", 'demo-ner"\nset = { "training.selection" = "test" }\n#"'),
    ],
)
def test_a_plan_counts_no_row_that_says_otherwise(place: Place, old: str, new: str) -> None:
    plan: Plan = make_plan(place.study(old, new))
    with Ledger.open(place.ledger, read_only=True) as ledger:
        assert {key[3] for key in imported_results(plan, ledger).trials} <= {
            trial.spec_id for trial in plan.trials if trial.phase == "RE"
        }


def test_what_is_run_after_all_stands_for_what_was_imported(place: Place) -> None:
    jobs = prepare(place.study(), []).jobs
    with Ledger.open(place.ledger) as ledger:
        before = len(long_table(ledger))
        (first, *_), name = jobs.trials, jobs.trials[0].row.trial_id
        run_all(ledger, Jobs((first,), tuple(item for item in jobs.evaluations if item.trial_id == name)))
        rows = long_table(ledger)
        own = [row for row in rows if row["trial_id"] == name]
    assert len(rows) == before
    assert {row["origin"] for row in own} == {"run"}


def lai(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return result.output


def test_status_and_why_say_imported(place: Place) -> None:
    study = place.study()
    (name, *_) = (job.row.trial_id for job in prepare(study, []).jobs.trials)
    with pytest.raises(
        InputError, match="is imported: there are its results, but neither settings nor model"
    ):
        lai("why", name, "--ledger", place.ledger)
    shown = lai("status", study.file, "--ledger", place.ledger)
    assert "imported" in shown
    assert "end-to-end evaluations: 12 imported" in shown
    place.to_train(study)
    shown = lai("why", name, "--ledger", place.ledger)
    assert ": imported" in shown
    assert "not trained again by any study that plans it, unless an evaluation needs its model" in shown


def test_status_counts_the_splits_that_a_run_would_make(place: Place) -> None:
    table = pd.read_csv(place.long)
    table[(table["split"] == "dev") | table["upstream_trial_id"].isna()].to_csv(
        place.folder / "dev.csv", index=False
    )
    place.ledger = place.folder / "dev.sqlite"
    with Ledger.open(place.ledger) as ledger:
        import_csv(place.folder / "dev.csv", ledger)
    study = place.study()
    for _ in range(2):  # by what rows say, then by ids
        shown = lai("status", study.file, "--ledger", place.ledger)
        assert "end-to-end evaluations: 6 imported, 6 to make" in shown
        jobs = prepare(study, []).jobs
        with Ledger.open(place.ledger) as ledger:
            ledger.register_trials(job.row for job in jobs.trials)
            left = jobs.remaining(ledger).evaluations
        assert {item.split for item in left if item.upstream_trial_id} == {"test"}
        assert len(left) == 6


def test_a_failed_try_at_what_is_imported_leaves_it_imported(place: Place) -> None:
    study = place.study()
    jobs = prepare(study, []).jobs
    name = jobs.trials[0].row.trial_id
    with Ledger.open(place.ledger) as ledger:
        ledger.register_trials(job.row for job in jobs.trials)
        ledger.start_attempt(name, 1, {})
        ledger.finish_attempt(name, 1, "failed", error="died")
        item = next(item for item in jobs.evaluations if item.upstream_trial_id == name)
        ledger.record_evaluation(
            EvaluationRow(evaluation_id=item.evaluation_id, trial_id=item.trial_id, upstream_trial_id=name,
                          split=item.split, entities=item.entities, scores=[], error="died")
        )  # fmt: skip
        standing = take_stock(make_plan(study), ledger)
        assert jobs.remaining(ledger) == dataclasses.replace(jobs, trials=(), evaluations=())
    assert standing.trials["toy", "NER"] == {"imported": 6}
    assert standing.evaluations == {"imported": 12}
    assert standing.failed == []


def test_what_needs_a_model_says_that_there_is_none(place: Place) -> None:
    study = place.study()
    place.to_train(study)
    (name, *_) = (job.row.trial_id for job in prepare(study, []).jobs.trials)
    with pytest.raises(InputError, match="is imported and has no trained model"):
        trained_model_folder(name, place.ledger)
    with pytest.raises(InputError, match="an imported one has no record of its training"):
        verify(str(study.file), 1, place.ledger)


def test_a_trial_that_a_run_planned_is_known_with_all_its_settings(place: Place) -> None:
    study = place.study()
    before = read_results(place.ledger, study.file).cells
    assert before["config"].isna().all(), "rows say no more than their factors"
    place.to_train(study)
    after = read_results(place.ledger, study.file).cells
    assert after["config"].notna().all()
    pd.testing.assert_frame_equal(before.drop(columns="config"), after.drop(columns="config"))
    other = place.study('preset = "demo-ner"', 'preset = "demo-ner"\nset = { "training.head_lr" = 0.5 }')
    states = read_results(place.ledger, other.file).cells.groupby("phase")["state"].unique()
    assert list(states["NER"]) == ["planned"], "its factors are alike, its config is not"


def test_report_import_report_gives_the_same_tables_and_curves(made: Place, tmp_path: Path) -> None:
    study = made.study()
    write_report(str(study.file), made.first, tmp_path / "a")
    with Ledger.open(tmp_path / "again.sqlite") as ledger:
        import_csv(tmp_path / "a" / "long.csv", ledger, tmp_path / "a" / "curves.csv")
    write_report(str(study.file), tmp_path / "again.sqlite", tmp_path / "b")
    first, second = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in "ab")
    differing = {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}
    assert differing == {"long.csv", "index.html", "manifest.json"}, "which say that it is imported"
    assert second["long.csv"] == first["long.csv"].replace(b",run\n", b",imported\n")
    assert first["curves.csv"].count(b"\n") == 1 + 12 * 3
    page = second["index.html"].decode()
    assert "No learning curve" not in page
    assert page.count('<svg class="curves"') == first["index.html"].decode().count('<svg class="curves"')


def test_a_notebook_gets_every_epoch(made: Place) -> None:
    frame = analysis.curves(made.ledger)
    assert tuple(frame.columns) == CURVE_COLUMNS
    with Ledger.open(made.ledger, read_only=True) as ledger:
        curves = read_curves(ledger)
    scores = {name: list(part["f1"]) for name, part in frame.groupby("trial_id")}
    assert scores == {name: [epoch.f1 for epoch in curve] for name, curve in curves.items()}


Write = Callable[..., Path]


@pytest.fixture
def write(place: Place) -> Write:
    """A file of curves with one row of a trial that is in the long table, changed."""
    header, line = place.curves.read_text().splitlines()[:2]

    def make(**changes: str) -> Path:
        row = dict(zip(header.split(","), line.split(","), strict=True)) | changes
        file = place.folder / "bad.csv"
        file.write_text(f"{header}\n{','.join(row[name] for name in CURVE_COLUMNS)}\n")
        return file

    return make


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epoch": "0"}, "epoch must be a whole number from 1"),
        ({"f1": "61.5"}, "f1 must be a number from 0 to 1, but got '61.5'"),
        ({"f1": ""}, "f1 is empty; every row needs it"),
        ({"loss": "nan"}, "loss must be a number from 0"),
        ({"trial_id": ""}, "trial_id is empty"),
        ({"trial_id": "x"}, "trial x has no row in the long table; import both together"),
        ({"seed": "7"}, "seed is 7, but 0 in the long table"),
        ({"phase": "XX"}, "phase must be one of NER, RE"),
        ({"epoch": "30"}, "epoch is 30, but the long table has 3 epochs"),
        ({"f1": "0.5"}, "is known with other numbers"),
    ],
)
def test_a_bad_row_is_one_line_and_nothing_is_stored(
    place: Place, write: Write, changes: dict[str, str], said: str
) -> None:
    more = place.folder / "more.csv"
    header, *rows = place.long.read_text().splitlines()
    more.write_text("\n".join([header, *(f"n{row}" for row in rows)]).replace(",0,", ",77,") + "\n")
    with Ledger.open(place.ledger) as ledger:
        before = ledger.imported(), read_curves(ledger)
        with pytest.raises(InputError, match=rf"bad\.csv:2: .*{said}"):
            import_csv(more, ledger, write(**changes))
        assert (ledger.imported(), read_curves(ledger)) == before


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("trial_id,epoch,f1,colour", "bad.csv:1: unknown column 'colour'"),
        ("trial_id,epoch", "bad.csv:1: column 'f1' is missing; required: trial_id, epoch, f1"),
    ],
)
def test_a_bad_header_likewise(place: Place, header: str, said: str) -> None:
    file = place.folder / "bad.csv"
    file.write_text(f"{header}\n")
    with Ledger.open(place.ledger) as ledger, pytest.raises(InputError, match=said):
        import_csv(place.long, ledger, file)


@pytest.mark.parametrize("comes_first", ["the run", "the import"])
def test_of_two_curves_that_which_reaches_further_stands_unmixed(
    place: Place, tmp_path: Path, comes_first: str
) -> None:
    first = prepare(place.study(), []).jobs.trials[0].row
    with Ledger.open(place.ledger) as ledger:
        before = read_curves(ledger)
        import_csv(place.long, ledger, place.curves)
        assert read_curves(ledger) == before
    path = place.ledger if comes_first == "the import" else tmp_path / "run.sqlite"
    with Ledger.open(path) as ledger:
        ledger.register_trials([first])
        ledger.start_attempt(first.trial_id, 1, {})
        for epoch in (1, 2, 3):
            ledger.record_epoch(first.trial_id, 1, epoch, {"epoch": epoch, "dev": {"f1": epoch / 8}})
            if comes_first == "the run":
                import_csv(place.long, ledger, place.curves)
            curves = read_curves(ledger)
            if epoch < 3:
                assert curves == before, "a run that was interrupted takes nothing away"
    assert [epoch.f1 for epoch in curves.pop(first.trial_id)] == [0.125, 0.25, 0.375]
    assert curves == {name: curve for name, curve in before.items() if name != first.trial_id}


def test_a_ledgers_own_curves_come_back_to_it_without_a_word(made: Place) -> None:
    with Ledger.open(made.first) as ledger:
        before = read_curves(ledger)
        assert import_csv(made.long, ledger, made.curves) == 0
        assert read_curves(ledger) == before
        assert read_curves(ledger, imported=True) == {}


def test_a_table_without_curves_may_get_them_later(made: Place, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        import_csv(made.long, ledger)
        assert read_curves(ledger) == {}
        assert import_csv(made.long, ledger, made.curves) == 0
        assert len(read_curves(ledger)) == 12

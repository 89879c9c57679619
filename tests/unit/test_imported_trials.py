"""Growing a study from its committed tables: what was imported is not trained again, and loses nothing."""

import dataclasses

import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.cautions import unmatched
from analysis.frame import read_results
from lai_net.errors import InputError
from tests.unit.growing import Place, run_all
from tests.unit.rows import trial_row
from tune.commands.standing import take_stock
from tune.commands.verify import verify
from tune.forecast.summary import summarize
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow
from tune.planning.plan import IdentifiedPlan, Plan, make_plan
from tune.planning.trained_model import trained_model_folder
from tune.preparation import prepare
from tune.results.spared import imported_results
from tune.results.table import long_table
from tune.spec.identity import SEMANTICS


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
    place.take_alone(table[table["task"] != "RE+"])
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
    place.take_alone(pd.read_csv(place.long).assign(**{column: value}))
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
    place.take_alone(pd.read_csv(place.long).assign(encoder="/elsewhere/bert"))
    study = place.study()
    assert place.to_train(study) == ([], ["imported trials that count as done: 12"])
    results = read_results(place.ledger, study.file)
    assert set(results.cells["state"]) == {"completed"}
    assert unmatched(results) == [], "the cells are made of these very rows"


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
    jobs = prepare(place.study(), []).plan
    with Ledger.open(place.ledger) as ledger:
        before = len(long_table(ledger))
        (first, *_), name = jobs.trials, jobs.trials[0].row.trial_id
        run_all(
            ledger,
            IdentifiedPlan((first,), tuple(item for item in jobs.evaluations if item.trial_id == name)),
        )
        rows = long_table(ledger)
        own = [row for row in rows if row["trial_id"] == name]
    assert len(rows) == before
    assert {row["origin"] for row in own} == {"run"}


def lai(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return result.output


def test_status_and_why_say_imported(place: Place) -> None:
    study = place.study()
    (name, *_) = (job.row.trial_id for job in prepare(study, []).plan.trials)
    with pytest.raises(
        InputError, match="is imported: there are its results, but neither settings nor model"
    ):
        lai("why", name, "--ledger", place.ledger)
    shown = lai("status", study.file, "--ledger", place.ledger)
    assert "imported" in shown
    assert "end-to-end evaluations: 6 imported" in shown
    place.to_train(study)
    shown = lai("why", name, "--ledger", place.ledger)
    assert ": imported" in shown
    assert "not trained again by any study that plans it, unless an evaluation needs its model" in shown


def test_an_imported_trial_is_named_by_how_its_id_alone_begins(place: Place) -> None:
    first, *_ = (job.row.trial_id for job in prepare(place.study(), []).plan.trials)
    for look in (lambda name: lai("why", name, "--ledger", place.ledger),
                 lambda name: trained_model_folder(name, place.ledger)):  # fmt: skip
        with pytest.raises(InputError, match=f"^trial {first} is imported: there are its results"):
            look(first[:-1])
        with pytest.raises(
            InputError, match=r"^12 trials of the ledger have an id that begins with ''; name"
        ):
            look("")
    with Ledger.open(place.ledger) as ledger:
        ledger.register_trials([trial_row(trial_id=f"{first[:-1]}-")])
    with pytest.raises(
        InputError, match=f"^2 trials of the ledger have an id that begins with '{first[:-1]}'"
    ):
        lai("why", first[:-1], "--ledger", place.ledger)
    with Ledger.open(place.ledger) as ledger:
        ledger.register_trials([trial_row(trial_id=f"{first}-", seed=7)])
    with pytest.raises(InputError, match=f"^trial {first} is imported"):
        lai("why", first, "--ledger", place.ledger)


def test_status_counts_the_splits_that_a_run_would_make(place: Place) -> None:
    table = pd.read_csv(place.long)
    place.take_alone(table[(table["split"] == "dev") | table["upstream_trial_id"].isna()])
    study = place.study()
    for _ in range(2):  # by what rows say, then by ids
        shown = lai("status", study.file, "--ledger", place.ledger)
        assert "end-to-end evaluations: 6 to make" in shown
        jobs = prepare(study, []).plan
        with Ledger.open(place.ledger) as ledger:
            ledger.register_trials(job.row for job in jobs.trials)
            left = jobs.remaining(ledger).evaluations
        assert {item.split for item in left if item.upstream_trial_id} == {"test"}
        assert len(left) == 6


def test_a_failed_try_at_what_is_imported_leaves_it_imported(place: Place) -> None:
    study = place.study()
    jobs = prepare(study, []).plan
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
    assert standing.evaluations == {"imported": 6}
    assert standing.failed == []


def test_what_needs_a_model_says_that_there_is_none(place: Place) -> None:
    study = place.study()
    place.to_train(study)
    (name, *_) = (job.row.trial_id for job in prepare(study, []).plan.trials)
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

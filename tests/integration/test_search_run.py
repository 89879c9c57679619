"""A search through the whole driver: confirmation, what the ledger answers, failures, entities of RE."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.frame import read_results
from lai_net.corpora.loading import load_corpus
from lai_net.errors import InputError
from tests.drills.invariants import left_behind
from tests.integration.searching import GRID, HEAD, RE, attempts, events, lai
from tests.integration.standing_in import drill, run, written
from tune.engine import Message
from tune.ledger.ledger import Ledger
from tune.preparation import prepare
from tune.search.known import selected_score
from tune.search.plan import plan_search
from tune.spec.study import load_study
from tune.task_spec import TrainSpec, spec_from_json

pytestmark = pytest.mark.usefixtures("fast_search")


def test_confirmation_takes_fresh_seeds_at_full_budget(search_study, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    run(search_study, ledger)
    log = events(search_study, ledger)
    searched = {seed for event in log if event.kind == "suggest" for seed, _ in event.given["trials"]}
    confirmed = [event for event in log if event.kind == "confirm"]
    assert len(confirmed) == 2
    for event in confirmed:
        assert not searched & {seed for seed, _ in event.given["scores"]}
        assert event.decided["ci_low"] < event.decided["mean"] < event.decided["ci_high"]
    with Ledger.open(ledger, read_only=True) as opened:
        fresh = [row for row in opened.trials() if row.seed not in searched]
        assert all(len(opened.epochs(row.trial_id)) == 5 for row in fresh)
        assert len(fresh) == 6


def test_trials_of_a_table_answer_a_search_at_once_and_the_other_way_round(tmp_path):
    table, grid, ledger = tmp_path / "table.toml", tmp_path / "grid.toml", tmp_path / "ledger.sqlite"
    table.write_text(HEAD + "[factors]\ngcn_layers = [0, 1, 2]\n")
    grid.write_text(HEAD + GRID)
    run(table, ledger)
    before = attempts(ledger)
    run(grid, ledger)
    log = events(grid, ledger)
    suggested = [event.decided for event in log if event.kind == "suggest"]
    assert [item["state"] for item in suggested] == ["complete"] * 3
    assert [event.kind for event in log].count("epoch") == 0
    after = attempts(ledger)
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + 2, "the confirmation alone was trained"
    assert run(table, ledger, executor=lambda _: pytest.fail("a trial was started")) == 0


def test_stopped_trial_is_no_cell_until_the_table_trains_it_to_its_end(tmp_path):
    table, grid, ledger = tmp_path / "table.toml", tmp_path / "grid.toml", tmp_path / "ledger.sqlite"
    table.write_text(HEAD + "[factors]\ngcn_layers = [0, 1, 2]\n")
    grid.write_text(HEAD + GRID)
    run(grid, ledger)
    frame = read_results(ledger, table).cells
    pruned = frame[frame["state"] == "pruned"]
    assert len(pruned) > 0
    assert pruned["f1"].isna().all()
    run(table, ledger)
    assert set(read_results(ledger, table).cells["state"]) == {"completed"}


def failing(spec: str) -> Iterator[object]:
    if json.loads(spec)["config"]["graph"]["layers"] == 2:
        raise ValueError("two layers cannot be trained")
    yield from drill.execute(spec)


def test_failed_config_is_named_told_as_no_result_and_counts(tmp_path, capsys):
    grid, ledger = tmp_path / "grid.toml", tmp_path / "ledger.sqlite"
    grid.write_text(HEAD + GRID)
    assert run(grid, ledger, executor=failing) == 1
    assert "two layers cannot be trained" in capsys.readouterr().err
    (failed,) = [event for event in events(grid, ledger) if event.kind == "failed"]
    assert run(grid, ledger) == 0, "one failure is less than the budget of failures"
    assert failed.decided == {"state": "failed"}
    assert failed.given["error"] == "ValueError: two layers cannot be trained"


def test_search_of_re_on_gold_entities_needs_no_ner(tmp_path):
    study, ledger = tmp_path / "re.toml", tmp_path / "ledger.sqlite"
    text = HEAD.replace("[datasets.ner]", "[datasets.re]").replace("demo-ner", "demo-re")
    grid = GRID.replace('phase = "NER"', 'phase = "RE"')
    study.write_text(text + grid)
    with pytest.raises(InputError, match="dataset 'demo' has none; give it one, or set entities = 'gold'"):
        run(study, ledger)
    study.write_text(text + grid.replace("[search]", '[search]\nentities = "gold"'))
    assert run(study, ledger) == 0
    rows = json.loads(lai("results", study, "--ledger", ledger, "--format", "json").stdout)
    assert {row["entities"] for row in rows if row["status"] == "completed"} == {"gold"}
    assert {row["phase"] for row in rows} == {"RE"}


def test_results_of_a_search_hold_every_evaluation_that_its_trials_make(tmp_path):
    study, ledger = tmp_path / "re.toml", tmp_path / "ledger.sqlite"
    text = HEAD.replace("[datasets.ner]", "[datasets.re]").replace("demo-ner", "demo-re")
    typed = text.replace("set = {", 'set = { "head.object_typing" = "types",')
    study.write_text(typed + GRID.replace('phase = "NER"', 'phase = "RE"\nentities = "gold"'))

    def typing(spec: str) -> Iterator[Message]:
        for message in drill.execute(spec):
            if message.event == "completed":
                made = message.content["evaluations"]
                more = [item | {"entities": "gold_typed_by_model"} for item in made]
                yield Message("completed", message.content | {"evaluations": made + more})
            else:
                yield message

    assert run(study, ledger, executor=typing) == 0
    rows = json.loads(lai("results", study, "--ledger", ledger, "--format", "json").stdout)
    shown = {row["entities"] for row in rows if row["status"] == "completed"}
    assert shown == {"gold", "gold_typed_by_model"}


def test_search_of_re_trains_its_ner_trial_first_and_goes_by_its_entities(tmp_path):
    study, ledger = tmp_path / "re.toml", tmp_path / "ledger.sqlite"
    study.write_text(RE)
    order = []

    def noting(spec: str) -> Iterator[Message]:
        task = spec_from_json(spec)
        assert isinstance(task, TrainSpec)
        if task.config.phase == "RE":
            assert Path(task.upstream_dir, "model").read_text().startswith(order[0][1])
            assert task.config.training.selection_entities == order[0][1]
        order.append((task.config.phase, task.trial_id))
        yield from drill.execute(spec)

    assert run(study, ledger, executor=noting) == 0
    assert [phase for phase, _ in order] == ["NER", *["RE"] * (len(order) - 1)]
    assert events(study, ledger)[0].given["upstream"] == order[0][1]
    assert ", 0 differ" in lai("replay", study, "--ledger", ledger).stdout
    assert run(study, ledger, executor=lambda _: pytest.fail("a trial was started")) == 0
    rows = json.loads(lai("results", study, "--ledger", ledger, "--format", "json").stdout)
    assert {(row["phase"], row["entities"]) for row in rows if row["status"] == "completed"} == {
        ("NER", "predicted"), ("RE", "gold"),
    }  # fmt: skip
    assert all(row["f1"] is not None for row in rows if row["status"] == "completed")


def test_an_re_search_needs_its_ner_model_only_to_train(tmp_path):
    study, ledger = tmp_path / "re.toml", tmp_path / "ledger.sqlite"
    study.write_text(RE)
    assert run(study, ledger) == 0
    upstream = events(study, ledger)[0].given["upstream"]
    shutil.rmtree(tmp_path / "artifacts" / upstream)
    logged = events(study, ledger)
    for best in (1, 2):  # one config alone is complete
        study.write_text(RE.replace("best = 1", f"best = {best}"))
        assert run(study, ledger, executor=lambda _: pytest.fail("a trial was started")) == 0
        assert "will refuse" not in lai("plan", study, "--ledger", ledger).output
        assert {event.kind for event in events(study, ledger)[len(logged) :]} <= {"choose"}
    study.write_text(RE.replace("best = 1\nseeds = 2", "best = 1\nseeds = 3"))
    advice = (
        rf"trial {upstream}: its model is .*; restore that folder, or .* name a --ledger in another folder$"
    )
    with pytest.raises(InputError, match=advice):
        run(study, ledger)
    assert re.search(
        f"`lai run` will refuse: .*{advice}", lai("plan", study, "--ledger", ledger).stderr, re.M
    )


def test_ner_trial_of_a_table_is_the_one_that_an_re_search_takes(tmp_path):
    table, study, ledger = tmp_path / "table.toml", tmp_path / "re.toml", tmp_path / "ledger.sqlite"
    table.write_text(HEAD)
    study.write_text(RE)
    run(table, ledger)
    before = attempts(ledger)
    assert run(study, ledger) == 0
    upstream = events(study, ledger)[0].given["upstream"]
    assert attempts(ledger)[upstream] == before[upstream] == ["completed"]


def test_an_re_search_that_is_refused_for_a_model_that_is_gone_has_not_begun(tmp_path):
    table, study, ledger = tmp_path / "table.toml", tmp_path / "re.toml", tmp_path / "ledger.sqlite"
    table.write_text(HEAD)
    study.write_text(RE)
    run(table, ledger)
    shutil.rmtree(tmp_path / "artifacts")
    with pytest.raises(InputError, match="its model is no longer at"):
        run(study, ledger)
    assert events(study, ledger) == []


def test_failed_ner_trial_ends_an_re_search_and_says_so(tmp_path, capsys):
    study, ledger = tmp_path / "re.toml", tmp_path / "ledger.sqlite"
    study.write_text(RE)

    def fail(_: str) -> Iterator[Message]:
        raise ValueError("no NER today")
        yield

    assert run(study, ledger, executor=fail) == 1
    assert "no NER today" in capsys.readouterr().err
    assert [event.kind for event in events(study, ledger)] == ["begin"]
    assert run(study, ledger) == 0


def test_an_outage_of_the_storage_interrupts_a_search_and_the_same_call_goes_on(tmp_path, capsys):
    grid, ledger = tmp_path / "grid.toml", tmp_path / "ledger.sqlite"
    grid.write_text(HEAD + GRID + "[budget]\nmax_attempts = 1\n")
    outage = [3]

    def execute(spec: str) -> Iterator[object]:
        outage[0] -= 1
        if outage[0] in (0, 1):
            raise OSError("the storage does not answer")
        yield from drill.execute(spec)

    assert run(grid, ledger, executor=execute) == 3
    shown = capsys.readouterr()
    assert "machine failure: OSError: the storage does not answer" in shown.err
    assert "is tried again by the same call" in shown.out
    assert run(grid, ledger) == 0
    log = events(grid, ledger)
    assert "failed" not in {event.kind for event in log}
    assert [event.kind for event in log].count("done") >= 2
    assert ", 0 differ" in lai("replay", grid, "--ledger", ledger).stdout


def test_too_many_failures_end_the_search_without_a_confirmation(tmp_path, capsys):
    grid, ledger = tmp_path / "grid.toml", tmp_path / "ledger.sqlite"
    grid.write_text(
        HEAD + GRID.replace("[search.confirm]", "[search.budget]\nfailures = 1\n[search.confirm]")
    )
    assert run(grid, ledger, executor=failing) == 1
    assert "the bound of failures is reached" in capsys.readouterr().out
    assert events(grid, ledger)[-1].decided["chosen"] == []
    assert run(grid, ledger) == 1, "and it stays so until the bound is raised"


def test_heads_that_cannot_divide_the_encoder_are_refused_before_anything_runs(search_study):
    search_study.write_text(search_study.read_text().replace("choice = [1, 2, 4] }", "int = [1, 6] }"))
    with pytest.raises(InputError, match="must divide the width 384 of encoder minilm, but got 5"):
        prepare(str(search_study), [])


def test_a_search_loads_its_dataset_and_fold_alone(search_study, monkeypatch):
    other = '[[datasets]]\nname = "other"\n[datasets.ner]\npreset = "demo-ner"\n'
    text = search_study.read_text().replace("[search]", f'{other}[search]\ndataset = "demo"')
    search_study.write_text(text)
    assert list(prepare(str(search_study), []).corpora) == [("demo", None)]
    folds = text.replace('"embedded"', '"embedded"\nfolds = 3')
    search_study.write_text(folds.replace('dataset = "demo"', 'dataset = "demo"\nfold = 1'))
    embedded = load_corpus("embedded", name="demo")
    monkeypatch.setattr("tune.preparation.num_folds", lambda _: 3)
    monkeypatch.setattr("tune.task_spec.load_corpus", lambda *_, **__: embedded)
    assert list(prepare(str(search_study), []).corpora) == [("demo", 1)]


@pytest.mark.parametrize("level", ["needed", "none"])
def test_a_search_keeps_its_confirmations_and_its_best_or_nothing(tmp_path, level):
    study = written(tmp_path, HEAD + GRID + f'[budget]\nkeep_models = "{level}"\n')
    ledger = tmp_path / "ledger.sqlite"
    assert run(study, ledger) == 0
    assert left_behind(ledger) == []
    plan = plan_search(load_study(study))
    with Ledger.open(ledger, read_only=True) as opened:
        trials = {row.trial_id: plan.trial(plan.space.base, row.seed) for row in opened.trials()}
        dev = {row.trial_id: row for row in opened.evaluations() if row.split == "dev"}
        f1 = {key: row.dev_f1(trials[key].config) for key, row in dev.items()}
        score = {key: selected_score(trials[key].config, opened.epochs(key)) for key in f1}
        kept = {key for key, attempt in opened.newest_attempts().items() if "best" in attempt.artefacts}
    fresh = {key for key in f1 if trials[key].seed in plan.fresh_seeds}
    assert len(fresh) == 2
    best = {max(f1, key=f1.get), max(score, key=score.get)}
    assert kept == (fresh | best if level == "needed" else set())
    said = lai("status", study, "--ledger", ledger).stdout
    assert ("its model was not kept" in said) == (level == "none")
    assert set(re.findall(r"(\w+) \(0\.\d", said.partition("to save: ")[2])) <= kept


def test_of_equally_good_configs_a_search_keeps_all_however_often_it_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(drill, "number", lambda _: 0.5)
    study = written(tmp_path, HEAD + GRID + '[budget]\nkeep_models = "needed"\n')
    ledger = tmp_path / "ledger.sqlite"
    for _ in range(2):
        assert run(study, ledger) == 0
        with Ledger.open(ledger, read_only=True) as opened:
            assert all("best" in attempt.artefacts for attempt in opened.newest_attempts().values())

"""Which results join which cell, and what a cell without a score is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.cautions import cautions, commits
from analysis.findings import progress
from analysis.frame import read_results
from analysis.tables.table import compute_table
from lai_net.errors import InputError
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow, TrialRow
from tune.planning.plan import PlannedTrial, make_plan
from tune.spec.cells import expand
from tune.spec.identity import evaluation_id, spec_id
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
RE = {"phase": "RE", "gcn_layers": 2, "entity_filter": ""}


def seeds_of(cells: pd.DataFrame, task: str, factor: str, level: str) -> dict[int, float]:
    cell = cells[(cells["task"] == task) & (cells["factor"] == factor) & (cells["level"] == level)]
    done = cell[cell["state"] == "completed"]
    return dict(zip(done["seed"], done["f1"], strict=True))


def _paths(made: Any) -> tuple[Path, Path]:
    return made.ledger, made.study


def states_of(cells: pd.DataFrame, task: str, factor: str, level: str) -> list[str]:
    cell = cells[(cells["task"] == task) & (cells["factor"] == factor) & (cells["level"] == level)]
    return cell["state"].tolist()


def test_an_imported_row_joins_every_cell_with_its_factors(imported: Any, result_row: Any) -> None:
    rows = [
        result_row(0.6),
        result_row(0.5, gcn_layers=0, gcn_heads="", seed=1),
        result_row(0.4, gcn_layers=0, gcn_heads="", annotations="false", seed=1),
        result_row(0.7, entity_filter="false", seed=99),
        result_row(0.3, task="RE+", **RE),
    ]
    cells = imported(STUDY.format(folds=1), rows).cells
    for place in [("gcn_layers", "1"), ("gcn_heads", "4"), ("entity_filter", "with"), ("method", "LAI-Net"),
                  ("mask", "Inv.")]:  # fmt: skip
        assert seeds_of(cells, "NER", *place) == {1: 0.6}
    assert (
        seeds_of(cells, "NER", "gcn_layers", "0") == seeds_of(cells, "NER", "method", "w/o 2nd") == {1: 0.5}
    )
    assert seeds_of(cells, "NER", "method", "w/o 1st") == {1: 0.4}
    assert seeds_of(cells, "NER", "entity_filter", "without") == {99: 0.7}  # any seed counts
    assert seeds_of(cells, "RE+", "gcn_layers", "2") == {1: 0.3}
    assert seeds_of(cells, "RE", "gcn_layers", "2") == {}


def test_a_row_of_pl_marker_joins_the_cell_of_that_model_alone(imported: Any, result_row: Any) -> None:
    bare = {"gcn_layers": 0, "gcn_heads": "", "annotations": "false", "entity_filter": "false"}
    rows = [result_row(0.6), result_row(0.5, model="PL-Marker", **bare), result_row(0.4, seed=2, **bare)]
    study = STUDY.format(folds=1).replace("[factors]", '[factors]\nmodel = ["LAI-Net", "PL-Marker"]')
    cells = imported(study, rows).cells
    assert seeds_of(cells, "NER", "model", "LAI-Net") == {1: 0.6}
    assert seeds_of(cells, "NER", "model", "PL-Marker") == {1: 0.5}
    assert set(cells[cells["factor"] == "model"]["table"]) == {"1"}


def test_what_is_shown_may_be_gold_spans_that_the_model_types(imported: Any, result_row: Any) -> None:
    study = STUDY.format(folds=1) + '[report]\nentities = "gold_typed_by_model"'
    rows = [
        result_row(0.3 + 0.1 * number, task="RE+", entities=entities, **RE)
        for number, entities in enumerate(("predicted", "gold", "gold_typed_by_model"))
    ]
    assert seeds_of(imported(study, rows).cells, "RE+", "gcn_layers", "2") == {1: 0.5}


@pytest.mark.parametrize(
    "change",
    [{"split": "dev"}, {"protocol": "plmarker"}, {"averaging": "macro"}, {"selection": "test"},
     {"model": "PL-Marker"}, {"status": "pruned"}, {"dataset": "CoNLL04"}, {"gcn_layers": 3}],
    ids=str,
)  # fmt: skip
def test_a_row_of_another_view_is_not_shown(imported: Any, result_row: Any, change: dict[str, Any]) -> None:
    cells = imported(STUDY.format(folds=1), [result_row(0.6, **change)]).cells
    assert seeds_of(cells, "NER", "gcn_layers", "1") == {}


def test_gold_entities_are_shown_when_the_study_says_so(imported: Any, result_row: Any) -> None:
    rows = [
        result_row(0.3, task="RE", entities="predicted", **RE),
        result_row(0.5, task="RE", entities="gold", **RE),
        result_row(0.6, entities="predicted"),
    ]
    study = STUDY.format(folds=1)
    assert seeds_of(imported(study, rows).cells, "RE", "gcn_layers", "2") == {1: 0.3}
    cells = imported(study + '[report]\nentities = "gold"\n', rows).cells
    assert seeds_of(cells, "RE", "gcn_layers", "2") == {1: 0.5}
    assert seeds_of(cells, "NER", "gcn_layers", "1") == {1: 0.6}


def test_folds_are_averaged_within_a_seed_and_all_must_be_there(imported: Any, result_row: Any) -> None:
    rows = [result_row(f1, fold=fold) for fold, f1 in enumerate([0.2, 0.4, 0.9])]
    rows += [result_row(0.8, fold=0, seed=2)]
    cells = imported(STUDY.format(folds=3), rows).cells
    assert seeds_of(cells, "NER", "gcn_layers", "1") == {1: pytest.approx(0.5)}
    assert states_of(cells, "NER", "gcn_layers", "1") == ["completed", "planned"]


def test_a_seed_that_lacks_folds_is_said(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.6, fold=fold) for fold in range(3)] + [result_row(0.8, fold=0, seed=2)]
    paths = imported(STUDY.format(folds=3), rows)
    assert cautions(read_results(paths.ledger, paths.study)) == [
        "1 seed lacks folds and does not count (SciERC NER, gcn_layers 1, seed 2: 1 of 3 folds)."
    ]


def test_a_row_of_a_fold_that_there_is_not_is_counted(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.6, fold=fold) for fold in range(1, 4)]
    results = read_results(*_paths(imported(STUDY.format(folds=3), rows)))
    assert seeds_of(results.cells, "NER", "gcn_layers", "1") == {}
    assert cautions(results) == [
        "1 of 3 imported rows matches no cell: 1 by fold (the first, SciERC NER seed 1, has 3; cells have "
        "0-2).",
        "1 seed lacks folds and does not count (SciERC NER, gcn_layers 1, seed 1: 2 of 3 folds).",
    ]


def test_folds_that_the_study_does_not_name_must_all_be_there(imported: Any, result_row: Any) -> None:
    rows = [result_row(f1, fold=fold) for fold, f1 in enumerate([0.2, 0.4, 0.9])]
    rows += [result_row(0.9, fold=fold, seed=2) for fold in (0, 1)]
    results = read_results(*_paths(imported(STUDY.format(folds=1), rows)))
    assert seeds_of(results.cells, "NER", "gcn_layers", "1") == {1: pytest.approx(0.5)}
    assert cautions(results) == [
        "1 seed lacks folds and does not count (SciERC NER, gcn_layers 1, seed 2: 2 of 3 folds)."
    ]


def test_a_row_without_fold_is_a_mean_over_all_of_them(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.6), *(result_row(0.5, fold=fold, seed=2) for fold in range(3))]
    results = read_results(*_paths(imported(STUDY.format(folds=3), rows)))
    assert seeds_of(results.cells, "NER", "gcn_layers", "1") == {1: 0.6, 2: 0.5}
    assert cautions(results) == [
        "1 cell has scores of trials that differ in more than their seeds (the first, SciERC NER, gcn_layers "
        "1: seeds by fold and seeds whose row names no fold)."
    ]


def test_a_row_without_fold_is_no_single_fold(imported: Any, result_row: Any) -> None:
    results = read_results(*_paths(imported(STUDY.format(folds="3\nonly_folds = [0]"), [result_row(0.6)])))
    assert seeds_of(results.cells, "NER", "gcn_layers", "1") == {}
    assert cautions(results)[0] == (
        "1 of 1 imported row matches no cell: 1 by fold (the first, SciERC NER seed 1, has nothing; cells "
        "have 0)."
    )


def test_states_tell_apart_missing_failed_and_inapplicable(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.6), result_row("", seed=2, status="failed")]
    cells = imported(STUDY.format(folds=1), rows).cells
    assert states_of(cells, "NER", "gcn_layers", "1") == ["completed", "failed"]
    assert states_of(cells, "NER", "gcn_layers", "2") == ["planned", "planned"]
    assert states_of(cells, "RE", "entity_filter", "with") == ["inapplicable"]


def test_two_results_for_one_place_are_refused(imported: Any, result_row: Any) -> None:
    paths = imported(STUDY.format(folds=1), [result_row(0.6)])
    with Ledger.open(paths.ledger) as ledger:  # an import refuses it by now
        (row,) = ledger.imported().values()
        ledger.record_imported({"other": row | {"f1": 0.7, "encoder": "minilm"}})
    with pytest.raises(InputError, match=r"two results claim SciERC NER gcn_layers=1 seed 1"):
        paths.cells  # noqa: B018


def test_rows_of_another_encoder_are_not_shown(imported: Any, result_row: Any) -> None:
    rows = [
        result_row(0.9, encoder="bert"), result_row(0.6, encoder="minilm", seed=2), result_row(0.7, seed=3),
    ]  # fmt: skip
    cells = imported(STUDY.format(folds=1), rows).cells
    assert seeds_of(cells, "NER", "gcn_layers", "1") == {2: 0.6, 3: 0.7}


@pytest.mark.parametrize(
    "change", [{"model": "PL-Marker"}, {"split": "dev"}, {"protocol": "plmarker"}, {"seed": 9}], ids=str
)
def test_a_failed_row_of_another_view_fails_no_cell(
    imported: Any, result_row: Any, change: dict[str, Any]
) -> None:
    row = result_row("", **({"seed": 2, "status": "failed"} | change))
    cells = imported(STUDY.format(folds=1), [result_row(0.6), row]).cells
    assert states_of(cells, "NER", "gcn_layers", "1") == ["completed", "planned"]


def test_runs_join_by_spec_and_outdo_imports(imported: Any, result_row: Any) -> None:
    paths = imported(STUDY.format(folds=1), [result_row(0.1, seed=1), result_row(0.2, seed=2)])
    base = next(cell for cell in expand(load_study(paths.study)) if cell.is_base and cell.phase == "NER")
    run(paths.ledger, "ner-1", spec_id(base.config), phase="NER", seed=1, f1=0.6)
    run(paths.ledger, "ner-9", spec_id(base.config), phase="NER", seed=9, f1=0.9)  # not of this study
    assert seeds_of(paths.cells, "NER", "method", "LAI-Net") == {1: 0.6, 2: 0.2}


def test_relations_are_read_on_the_entities_of_the_base_ner_trial(tmp_path: Path) -> None:
    study, ledger = tmp_path / "study.toml", tmp_path / "ledger.sqlite"
    study.write_text(STUDY.format(folds=1), encoding="utf-8")
    trials = make_plan(load_study(study)).trials
    ner = [trial for trial in trials if trial.phase == "NER" and trial.seed == 1]
    relation = next(trial for trial in trials if trial.phase == "RE" and trial.seed == 1)
    run(ledger, "base", ner[0].spec_id, phase="NER", seed=1, f1=0.6)
    run(ledger, "other", ner[1].spec_id, phase="NER", seed=1, f1=0.5)
    run(ledger, "re", relation.spec_id, phase="RE", seed=1, f1=0.3, upstream="base")
    with Ledger.open(ledger) as opened:
        opened.record_evaluation(evaluation("re", "RE", 0.9, upstream="other"))
        opened.record_evaluation(evaluation("re", "RE", 0.8, entities="gold"))
    cells = read_results(ledger, study).cells
    assert seeds_of(cells, "RE", "method", "LAI-Net") == {1: 0.3}
    used = cells[(cells["task"] == "RE") & (cells["state"] == "completed")]["trial_ids"]
    assert set(used) == {"base re"}


def test_an_f1_that_no_counting_gives_is_a_caution(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.6), result_row(0.6, seed=2, precision=0.8, recall=0.3)]
    paths = imported(STUDY.format(folds=1), rows)
    (sentence,) = cautions(read_results(paths.ledger, paths.study))
    assert sentence == (
        "1 imported row with an F1 above the mean of precision and recall, which none can have (the first: "
        "SciERC NER seed 2)."
    )


def test_a_failed_upstream_shows_in_the_relation_cells(tmp_path: Path) -> None:
    study, ledger = tmp_path / "study.toml", tmp_path / "ledger.sqlite"
    study.write_text(STUDY.format(folds=1), encoding="utf-8")
    base = make_plan(load_study(study)).trials[0]
    assert (base.phase, base.seed) == ("NER", 1)
    run(ledger, "base", base.spec_id, phase="NER", seed=1, f1=None)
    results = read_results(ledger, study)
    assert states_of(results.cells, "NER", "mask", "Inv.") == ["failed", "planned"]
    assert states_of(results.cells, "RE+", "mask", "Vis.") == ["blocked", "planned"]
    assert progress(results.cells).endswith(" 1 trial failed, which blocks 10 relation cells.")
    (sentence,) = cautions(results)
    assert sentence == "Trial base failed (SciERC NER, gcn_layers 1, seed 1: out of memory)."


def test_a_failed_evaluation_is_named_with_its_error(tmp_path: Path) -> None:
    study, ledger = tmp_path / "study.toml", tmp_path / "ledger.sqlite"
    study.write_text(STUDY.format(folds=1), encoding="utf-8")
    base, relation = base_trials(study)
    run(ledger, "base", base.spec_id, phase="NER", seed=1, f1=0.6)
    run(ledger, "re", relation.spec_id, phase="RE", seed=1, f1=0.5, entities="gold")
    failed = evaluation("re", "RE", 0.0, upstream="base")
    with Ledger.open(ledger) as opened:
        opened.record_evaluation(replace(failed, scores=[], error="Traceback\n  a line\nOSError: gone\n"))
    results = read_results(ledger, study)
    assert states_of(results.cells, "NER", "mask", "Inv.") == ["completed", "planned"]
    assert states_of(results.cells, "RE", "mask", "Inv.") == ["failed", "planned"]
    assert "Trial re failed (SciERC RE, gcn_layers 2, seed 1: OSError: gone)." in cautions(results)


def test_a_completed_trial_without_a_current_evaluation_has_no_score(tmp_path: Path) -> None:
    study, ledger = tmp_path / "study.toml", tmp_path / "ledger.sqlite"
    study.write_text(STUDY.format(folds=1), encoding="utf-8")
    base, _ = base_trials(study)
    run(ledger, "base", base.spec_id, phase="NER", seed=1, f1=0.6, entities="gold")
    assert states_of(read_results(ledger, study).cells, "NER", "mask", "Inv.") == ["planned", "planned"]


def test_imported_rows_that_match_no_cell_are_counted_and_named(imported: Any, result_row: Any) -> None:
    rows = [
        result_row(0.6),
        result_row(0.6, encoder="bert", seed=2),
        result_row(0.6, encoder="bert", seed=3),
        result_row(0.6, dataset="SciErc-mine"),
        result_row(0.6, gcn_layers=7),
        result_row(0.6, split="dev"),
    ]
    paths = imported(STUDY.format(folds=1), rows)
    (sentence,) = cautions(read_results(paths.ledger, paths.study))
    assert sentence.startswith("5 of 6 imported rows match no cell: ")
    for part in (
        "2 by encoder (the first, SciERC NER seed 2, has bert; cells have minilm)",
        "1 by dataset (the first, SciErc-mine NER seed 1, has SciErc-mine; cells have SciERC)",
        "1 by gcn_layers (the first, SciERC NER seed 1, has 7; cells have 0 or 1 or 2)",
        "1 by split (the first, SciERC NER seed 1, has dev; cells have test)",
    ):
        assert part in sentence


def test_a_row_of_other_epochs_is_not_shown_and_counted(imported: Any, result_row: Any) -> None:
    (epochs,) = {
        cell.config.training.epochs
        for cell in expand(load_study("demo"))
        if cell.phase == "NER" and cell.config is not None
    }
    rows = [
        result_row(0.6, epochs=epochs),
        result_row(0.5, seed=2, epochs=epochs + 3),
        result_row(0.7, seed=3, epochs=""),
        result_row("", seed=4, epochs=1, status="failed"),
    ]
    paths = imported(STUDY.format(folds=1).replace("[1, 2]", "[1, 2, 4]"), rows)
    assert seeds_of(paths.cells, "NER", "gcn_layers", "1") == {1: 0.6, 3: 0.7}
    assert states_of(paths.cells, "NER", "gcn_layers", "1") == ["completed", "completed", "planned", "failed"]
    (sentence,) = [text for text in cautions(read_results(paths.ledger, paths.study)) if "match" in text]
    assert sentence == (
        "1 of 4 imported rows matches no cell: 1 by epochs (the first, SciERC NER seed 2, has "
        f"{epochs + 3}; cells have {epochs})."
    )


def test_a_cell_with_scores_of_several_configs_is_a_caution(imported: Any, result_row: Any) -> None:
    same = [result_row(0.6, config_id="a"), result_row(0.6, seed=2, config_id="a")]
    paths = imported(STUDY.format(folds=1), [*same, result_row(0.6, seed=3)])
    assert cautions(read_results(paths.ledger, paths.study)) == []
    paths = imported(STUDY.format(folds=1), [result_row(0.6, seed=4, config_id="b")])
    assert cautions(read_results(paths.ledger, paths.study)) == [
        "1 cell has scores of trials that differ in more than their seeds (the first, SciERC NER, gcn_layers "
        "1: 2 values of config_id)."
    ]


def test_a_study_of_one_fold_takes_that_alone_and_says_so(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.5 + fold / 10, seed=seed, fold=fold) for seed in (1, 2) for fold in (0, 1)]
    rows += [result_row(0.9, seed=3, fold=1)]
    paths = imported(STUDY.format(folds="3\nonly_folds = [1]"), rows)
    done = paths.cells[paths.cells["state"] == "completed"]
    assert {(row.seed, row.f1) for row in done.itertuples()} == {(1, 0.6), (2, 0.6), (3, 0.9)}
    table = compute_table(paths.cells, "2")
    assert "SciERC: fold 1 of 3 alone, so no mean over folds." in table.caption
    (sentence,) = [text for text in cautions(read_results(paths.ledger, paths.study)) if "folds" in text]
    assert sentence.startswith("Of the 3 folds of SciERC only 1 was taken: ")


def test_what_else_a_shown_trial_gave_is_not_missed(imported: Any, result_row: Any) -> None:
    rows = [
        result_row(0.6, trial_id="a"),
        result_row(0.5, trial_id="a", split="dev"),
        result_row(0.7, trial_id="a", protocol="plmarker"),
        result_row(0.5, trial_id="b", split="dev", seed=2),
    ]
    paths = imported(STUDY.format(folds=1), rows)
    (sentence,) = cautions(read_results(paths.ledger, paths.study))
    assert sentence == (
        "1 of 4 imported rows matches no cell: "
        "1 by split (the first, SciERC NER seed 2, has dev; cells have test)."
    )


def test_a_caution_about_one_row_or_several_folds_is_in_plain_english(imported: Any, result_row: Any) -> None:
    paths = imported(STUDY.format(folds="3\nonly_folds = [0, 2]"), [result_row(0.6, split="dev")])
    row, folds = sorted(cautions(read_results(paths.ledger, paths.study)))
    assert row.startswith("1 of 1 imported row matches no cell: ")
    assert folds.startswith("Of the 3 folds of SciERC only 0 and 2 were taken: ")


def test_a_search_misses_no_imported_row(imported: Any, result_row: Any) -> None:
    paths = imported(STUDY.format(folds=1), [result_row(0.6)])
    assert cautions(read_results(paths.ledger, "search-demo")) == []


def test_mixed_and_uncommitted_code_is_said(tmp_path: Path) -> None:
    study, ledger = tmp_path / "study.toml", tmp_path / "ledger.sqlite"
    study.write_text(STUDY.format(folds=1), encoding="utf-8")
    base, _ = base_trials(study)
    run(ledger, "base-1", base.spec_id, phase="NER", seed=1, f1=0.6)
    assert cautions(read_results(ledger, study)) == []
    run(ledger, "base-2", base.spec_id, phase="NER", seed=2, f1=0.6, commit="def", dirty=True)
    results = read_results(ledger, study)
    assert commits(results) == {"abc": 1, "def-dirty": 1}
    assert cautions(results) == [
        "The numbers come from 2 commits of the code.",
        "Some numbers come from code with uncommitted changes (“-dirty” after the commit).",
    ]


def test_a_ledger_without_results_gives_planned_cells_and_no_ledger_is_refused(tmp_path: Path) -> None:
    study, ledger = tmp_path / "study.toml", tmp_path / "ledger.sqlite"
    study.write_text(STUDY.format(folds=1), encoding="utf-8")
    with pytest.raises(InputError, match=r"ledger\.sqlite: there is no such ledger"):
        read_results(ledger, study)
    assert not ledger.exists()
    Ledger.open(ledger).close()
    assert set(read_results(ledger, study).cells["state"]) == {"planned", "inapplicable"}


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

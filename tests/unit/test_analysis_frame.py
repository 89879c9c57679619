"""Which results join which cell, and what a cell without a score is."""

from pathlib import Path
from typing import Any

import pytest

from analysis.cautions import cautions
from analysis.frame import read_results
from analysis.tables.rows import compute_rows
from analysis.tables.table import compute_table
from lai_net.errors import InputError
from tests.unit.joining import STUDY, base_trials, evaluation, run, seeds_of, states_of
from tune.ledger.ledger import Ledger
from tune.planning.plan import make_plan
from tune.spec.cells import expand
from tune.spec.identity import spec_id
from tune.spec.study import load_study

RE = {"phase": "RE", "gcn_layers": 2, "entity_filter": ""}


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


def test_folds_that_the_study_does_not_name_must_all_be_there(imported: Any, result_row: Any) -> None:
    rows = [result_row(f1, fold=fold) for fold, f1 in enumerate([0.2, 0.4, 0.9])]
    rows += [result_row(0.9, fold=fold, seed=2) for fold in (0, 1)]
    results = imported(STUDY.format(folds=1), rows).results
    assert seeds_of(results.cells, "NER", "gcn_layers", "1") == {1: pytest.approx(0.5)}
    assert cautions(results) == [
        "1 seed lacks folds and does not count (SciERC NER, gcn_layers 1, seed 2: 2 of 3 folds)."
    ]


def test_a_row_without_fold_is_a_mean_over_all_of_them(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.6), *(result_row(0.5, fold=fold, seed=2) for fold in range(3))]
    results = imported(STUDY.format(folds=3), rows).results
    assert seeds_of(results.cells, "NER", "gcn_layers", "1") == {1: 0.6, 2: 0.5}
    assert cautions(results) == [
        "1 cell has scores of trials that differ in more than their seeds (the first, SciERC NER, gcn_layers "
        "1: seeds by fold and seeds whose row names no fold)."
    ]


def test_a_row_without_fold_is_no_single_fold(imported: Any, result_row: Any) -> None:
    results = imported(STUDY.format(folds="3\nonly_folds = [0]"), [result_row(0.6)]).results
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


def test_an_added_seed_that_failed_is_told(imported: Any, result_row: Any) -> None:
    study = STUDY.format(folds=1) + "[decide]\nmax_seeds = 4\n"
    rows = [result_row(0.6), result_row(0.7, seed=2), result_row("", seed=3, status="failed")]
    cells = imported(study, rows).cells
    assert states_of(cells, "NER", "gcn_layers", "1") == ["completed", "completed", "failed"]
    assert states_of(cells, "NER", "gcn_layers", "2") == ["planned", "planned"]
    (row,) = [
        row for row in compute_rows(cells, "2") if (row.task, row.level, row.metric) == ("NER", "1", "f1")
    ]
    assert (row.n, row.planned, row.num_failed) == (2, 3, 1)


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


def test_a_completed_trial_without_a_current_evaluation_has_no_score(tmp_path: Path) -> None:
    study, ledger = tmp_path / "study.toml", tmp_path / "ledger.sqlite"
    study.write_text(STUDY.format(folds=1), encoding="utf-8")
    base, _ = base_trials(study)
    run(ledger, "base", base.spec_id, phase="NER", seed=1, f1=0.6, entities="gold")
    assert states_of(read_results(ledger, study).cells, "NER", "mask", "Inv.") == ["planned", "planned"]


def test_a_study_of_one_fold_takes_that_alone_and_says_so(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.5 + fold / 10, seed=seed, fold=fold) for seed in (1, 2) for fold in (0, 1)]
    rows += [result_row(0.9, seed=3, fold=1)]
    paths = imported(STUDY.format(folds="3\nonly_folds = [1]"), rows)
    done = paths.cells[paths.cells["state"] == "completed"]
    assert {(row.seed, row.f1) for row in done.itertuples()} == {(1, 0.6), (2, 0.6), (3, 0.9)}
    table = compute_table(paths.cells, "2")
    assert "SciERC: fold 1 of 3 alone." in table.caption
    (sentence,) = [text for text in cautions(paths.results) if "folds" in text]
    assert sentence.startswith("Of the 3 folds of SciERC only 1 was taken: ")


def test_several_of_the_folds_are_a_mean_and_said_to_be(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.5 + fold / 10, seed=1, fold=fold) for fold in (0, 2)]
    cells = imported(STUDY.format(folds="3\nonly_folds = [2, 0]"), rows).cells
    assert seeds_of(cells, "NER", "gcn_layers", "1") == {1: pytest.approx(0.6)}
    assert "SciERC: the mean over folds 0 and 2 of 3 alone." in compute_table(cells, "2").caption


def test_a_ledger_without_results_gives_planned_cells_and_no_ledger_is_refused(tmp_path: Path) -> None:
    study, ledger = tmp_path / "study.toml", tmp_path / "ledger.sqlite"
    study.write_text(STUDY.format(folds=1), encoding="utf-8")
    with pytest.raises(InputError, match=r"ledger\.sqlite: there is no such ledger"):
        read_results(ledger, study)
    assert not ledger.exists()
    Ledger.open(ledger).close()
    assert set(read_results(ledger, study).cells["state"]) == {"planned", "inapplicable"}

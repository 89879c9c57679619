"""What a reader of a report is warned of."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.cautions import cautions, commits
from analysis.findings import progress
from analysis.frame import read_results
from tests.unit.joining import STUDY, base_trials, evaluation, run, seeds_of, states_of
from tune.ledger.ledger import Ledger
from tune.planning.plan import make_plan
from tune.spec.cells import expand
from tune.spec.study import load_study


def test_a_seed_that_lacks_folds_is_said(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.6, fold=fold) for fold in range(3)] + [result_row(0.8, fold=0, seed=2)]
    paths = imported(STUDY.format(folds=3), rows)
    assert cautions(paths.results) == [
        "1 seed lacks folds and does not count (SciERC NER, gcn_layers 1, seed 2: 1 of 3 folds)."
    ]


def test_a_row_of_a_fold_that_there_is_not_is_counted(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.6, fold=fold) for fold in range(1, 4)]
    results = imported(STUDY.format(folds=3), rows).results
    assert seeds_of(results.cells, "NER", "gcn_layers", "1") == {}
    assert cautions(results) == [
        "1 of 3 imported rows matches no cell: 1 by fold (the first, SciERC NER seed 1, has 3; cells have "
        "0-2).",
        "1 seed lacks folds and does not count (SciERC NER, gcn_layers 1, seed 1: 2 of 3 folds).",
    ]


def test_an_f1_that_no_counting_gives_is_a_caution(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.6), result_row(0.6, seed=2, precision=0.8, recall=0.3)]
    paths = imported(STUDY.format(folds=1), rows)
    (sentence,) = cautions(paths.results)
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
    (sentence,) = cautions(paths.results)
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
    (sentence,) = [text for text in cautions(paths.results) if "match" in text]
    assert sentence == (
        "1 of 4 imported rows matches no cell: 1 by epochs (the first, SciERC NER seed 2, has "
        f"{epochs + 3}; cells have {epochs})."
    )


def test_a_cell_with_scores_of_several_configs_is_a_caution(imported: Any, result_row: Any) -> None:
    same = [result_row(0.6, config_id="a"), result_row(0.6, seed=2, config_id="a")]
    paths = imported(STUDY.format(folds=1), [*same, result_row(0.6, seed=3)])
    assert cautions(paths.results) == []
    paths = imported(STUDY.format(folds=1), [result_row(0.6, seed=4, config_id="b")])
    assert cautions(paths.results) == [
        "1 cell has scores of trials that differ in more than their seeds (the first, SciERC NER, gcn_layers "
        "1: 2 values of config_id)."
    ]


def test_what_else_a_shown_trial_gave_is_not_missed(imported: Any, result_row: Any) -> None:
    rows = [
        result_row(0.6, trial_id="a"),
        result_row(0.5, trial_id="a", split="dev"),
        result_row(0.7, trial_id="a", protocol="plmarker"),
        result_row(0.5, trial_id="b", split="dev", seed=2),
    ]
    paths = imported(STUDY.format(folds=1), rows)
    (sentence,) = cautions(paths.results)
    assert sentence == (
        "1 of 4 imported rows matches no cell: "
        "1 by split (the first, SciERC NER seed 2, has dev; cells have test)."
    )


def test_a_caution_about_one_row_or_several_folds_is_in_plain_english(imported: Any, result_row: Any) -> None:
    paths = imported(STUDY.format(folds="3\nonly_folds = [0, 2]"), [result_row(0.6, split="dev")])
    row, folds = sorted(cautions(paths.results))
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

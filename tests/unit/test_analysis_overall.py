"""Table 1: published baselines as such, LAI-Net from the base, PL-Marker planned, imported or missing."""

from typing import Any

import pytest

from analysis.evidence import collect_evidence
from analysis.frame import read_results
from analysis.paper import baselines
from analysis.tables.layout import Entry
from analysis.tables.overall import NOTE
from analysis.tables.render import to_csv
from analysis.tables.table import compute_table
from tests.unit.tabling import table_row

STUDY = """
name = "s"
seeds = [1, 2, 3]
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "demo-ner"
[datasets.re]
preset = "demo-re"
[factors]
gcn_layers = [0, 1, 2]
"""
OF_PL_MARKER = {
    "model": "PL-Marker",
    "gcn_layers": "",
    "gcn_heads": "",
    "entity_filter": "",
    "annotations": "",
}


@pytest.fixture
def base(result_row: Any) -> list[dict[str, Any]]:
    """LAI-Net 60, 62, 64."""
    return [result_row(f1, seed=seed) for seed, f1 in ((1, 0.60), (2, 0.62), (3, 0.64))]


def test_a_study_without_pl_marker_has_no_line_of_it(imported: Any, base: Any) -> None:
    table = compute_table(imported(STUDY, base).cells, "1")
    ours, theirs = table_row(table, "LAI-Net"), table_row(table, "PL-Marker")
    assert (ours.n, ours.mean, ours.std) == (3, pytest.approx(62.0), pytest.approx(2.0))
    assert (ours.ci_low, ours.paper) == (pytest.approx(62 - 4.302652729696142 * 2 / 3**0.5), 69.94)
    assert (theirs.n, theirs.mean, theirs.mark, theirs.paper) == (0, None, "missing", 69.90)
    labels = [line.labels[1] for line in table.grid.lines]
    assert labels[-1] == "LAI-Net, this study"
    assert "PL-Marker (2022), paper" in labels
    assert not any("not planned" in note for note in table.notes)
    assert NOTE in table.caption


@pytest.mark.parametrize("factors", ['mask = ["Inv.", "Full"]', 'model = ["PL-Marker"]', ""])
def test_a_base_of_pl_marker_is_shown_as_that(imported: Any, result_row: Any, factors: str) -> None:
    """And LAI-Net has no line, whatever the study varies."""
    study = STUDY.replace("demo-ner", "plmarker-ner").replace("demo-re", "plmarker-re")
    rows = [result_row(f1, seed=seed, **OF_PL_MARKER) for seed, f1 in ((1, 0.60), (2, 0.62), (3, 0.64))]
    paths = imported(study.replace("gcn_layers = [0, 1, 2]", factors), rows)
    table = compute_table(paths.cells, "1")
    ours, theirs = table_row(table, "LAI-Net"), table_row(table, "PL-Marker")
    assert (theirs.n, theirs.mean, theirs.is_base) == (3, pytest.approx(62.0), True)
    assert (ours.n, ours.mark, ours.is_base) == (0, "missing", False)
    lines = {line.labels[1]: line for line in table.grid.lines}
    assert "LAI-Net, this study" not in lines
    assert lines["PL-Marker, this study"].entries[2].value == "62.00"
    assert lines["PL-Marker, this study"].entries[5] == Entry("missing (0/3)", cell=None)
    shown = [key for item in collect_evidence(read_results(paths.ledger, paths.study)) for key in item.cells]
    assert ("SciERC", "NER", "model", "PL-Marker") in shown
    assert ("SciERC", "NER", "model", "LAI-Net") not in shown


def test_imported_pl_marker_is_shown_in_a_study_that_does_not_plan_it(
    imported: Any, result_row: Any, base: Any
) -> None:
    """Whatever its factor columns say: it has no graph, filter or annotations."""
    theirs = [result_row(f1, seed=seed, **OF_PL_MARKER) for seed, f1 in ((1, 0.59), (2, 0.60), (4, 0.7))]
    table = compute_table(imported(STUDY, base + theirs).cells, "1")
    found = table_row(table, "PL-Marker")
    assert (found.n, found.mean) == (3, pytest.approx(63.0))
    assert found.delta == pytest.approx(-1.5)  # seeds 1 and 2: -1 and -2
    assert table_row(table, "LAI-Net").mean == pytest.approx(62.0)
    line = table.grid.lines[-1]
    assert line.labels[1] == "PL-Marker, this study"
    assert not any("/" in remark for remark in line.entries[2].remarks), "nobody planned more"
    assert [entry.value for entry in line.entries[3:]] == 6 * ["not planned"]
    assert [row.level for row in table.rows if row.best and row.metric == "f1"] == ["LAI-Net"]  # on 1 and 2


def test_baselines_stand_as_published_and_are_not_ranked(imported: Any, base: Any) -> None:
    table = compute_table(imported(STUDY, base).cells, "1")
    spert = table_row(table, "Spert", "RE+")
    assert (spert.mark, spert.n, spert.mean, spert.paper) == ("published", None, None, 50.84)
    assert spert.paper is not None
    assert spert.paper > 50
    assert table_row(table, "Spert", "RE").paper is None
    lines = {line.labels[1]: line for line in table.grid.lines}
    assert list(lines) == [
        "DyGIE++ (2019)", "Spert (2019)", "UniRE (2021)", "PURE (2021)", "PL-Marker (2022), paper",
        "HIORE (2023)", "Mirror (2023)", "ChatGPT (2023)", "InstructUIE (2023)", "SET (2023)", "ATG (2024)",
        "BiDArtER (2024)", "LAI-Net, paper", "LAI-Net, this study",
    ]  # fmt: skip
    assert table.grid.groups == (("NER", 3), ("RE", 3), ("RE+", 3))
    assert lines["UniRE (2021)"].labels[2] == "SciBert"
    assert [entry.value for entry in lines["UniRE (2021)"].entries] == [
        "65.80", "71.10", "68.40", "–", "–", "–", "37.30", "36.60", "36.90",
    ]  # fmt: skip
    assert all(entry.published for entry in lines["LAI-Net, paper"].entries)


def test_csv_has_each_place_once(imported: Any, base: Any) -> None:
    table = compute_table(imported(STUDY, base).cells, "1")
    places = [(row.dataset, row.task, row.factor, row.level, row.metric) for row in table.rows]
    assert len(places) == len(set(places)) == 13 * 3 * 3  # eleven others, PL-Marker, LAI-Net
    assert "\n1,SciERC,NER,model,Spert,f1,test,,,,,,,,,,,published,70.33\n" in to_csv(table)


def test_a_corpus_that_the_paper_lacks_has_ours_alone(imported: Any, result_row: Any) -> None:
    study = STUDY.replace("SciERC", "mine")
    table = compute_table(imported(study, [result_row(0.6, dataset="mine")]).cells, "1")
    assert [line.labels[1] for line in table.grid.lines] == ["LAI-Net, this study"]
    assert NOTE not in table.caption, "nothing is in italics"


def test_values_of_another_view_do_not_stand_beside_the_papers(imported: Any, base: Any) -> None:
    table = compute_table(imported(f'{STUDY}[report]\nsplit = "dev"\n', base).cells, "1")
    assert [line.labels[1] for line in table.grid.lines] == ["LAI-Net, this study"]
    assert "No published values beside SciERC (dev split, the paper's is test)." in table.notes


def test_relations_on_gold_entities_have_no_published_ones_beside_them(
    imported: Any, base: Any, result_row: Any
) -> None:
    """Those of the paper are end to end, and so some ten points lower; its entities are as ours."""
    relations = [
        result_row(0.57, phase="RE", task=task, entities="gold", gcn_layers=2, entity_filter="", seed=seed)
        for task in ("RE", "RE+")
        for seed in (1, 2, 3)
    ]
    paths = imported(f'{STUDY}[report]\nentities = "gold"\n', base + relations)
    table = compute_table(paths.cells, "1")
    lines = {line.labels[1]: line for line in table.grid.lines}
    assert [entry.value for entry in lines["PURE (2021)"].entries] == ["–", "–", "68.20"] + 6 * ["–"]
    assert lines["LAI-Net, this study"].entries[5].value == "57.00"
    assert "Mirror (2023)" not in lines, "the paper has its relations alone"
    said = "No published values beside SciERC RE and RE+ (gold entities, the paper's are predicted)."
    assert said in table.notes
    assert said in compute_table(paths.cells, "2").notes
    alone = imported(paths.study.read_text().replace('[datasets.ner]\npreset = "demo-ner"\n', ""), relations)
    (line,) = compute_table(alone.cells, "1").grid.lines
    assert line.labels[1] == "LAI-Net, this study"


def test_an_encoder_is_that_behind_the_numbers(imported: Any, base: Any, result_row: Any) -> None:
    """Not the one that the seeds to come are planned with, where the rows of those that are done say none."""
    for rows, encoder in (([], "minilm"), (base[:2], "")):
        line = compute_table(imported(STUDY, rows or [result_row(0.5, gcn_layers=2)]).cells, "1").grid.lines[
            -1
        ]
        assert (line.labels[1:], line.entries[2].value) == (
            ("LAI-Net, this study", encoder),
            "61.00" if rows else "missing (0/3)",
        )


def test_baselines_end_with_lai_net() -> None:
    assert [model.model for model in baselines() if model.dataset == "ADE"] == [
        "Spert", "Table-Sequence", "SPAN", "LAI-Net",
    ]  # fmt: skip

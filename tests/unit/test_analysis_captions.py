"""What captions and notes of tables say of their numbers."""

from typing import Any

import pytest

from analysis.tables.render import to_latex, to_markdown
from analysis.tables.table import compute_table
from tests.unit.tabling import RE, STUDY, row_of, three_levels


@pytest.fixture
def cells(imported: Any, result_row: Any) -> Any:
    return three_levels(imported, result_row)


def test_caption_and_notes_say_what_the_numbers_are(cells: Any) -> None:
    table = compute_table(cells(encoder="minilm", selection="dev"), "2")
    assert table.caption == (
        "F1 in percent on the test split, relations end to end (on predicted entities); encoder: minilm; "
        "n = 3 to 4 seeds.",
        "Base: GCN layers 1.",
        "Too few shared seeds to mark a difference, however large: GCN layers (n = 3, p ≥ 0.5).",
    )
    notes = " ".join(table.notes)
    for part in (
        "Protocol pure, averaging micro, checkpoint selection: dev.", "sign-flip", "Holm",
        "does not exist", "missing (0/N)", "preprint v1", "scibert-scivocab-uncased", "not comparable",
    ):  # fmt: skip
        assert part in notes
    assert "failed" not in notes  # none in this table


def test_caption_does_not_say_what_imported_rows_do_not(cells: Any) -> None:
    table = compute_table(cells(), "2")
    assert "encoder: not said by imported rows;" in table.caption[0]
    assert table.notes[0].endswith("checkpoint selection: not said by imported rows.")


def test_pairs_are_too_few_however_many_seeds_a_level_has(imported: Any, result_row: Any) -> None:
    """Here 3 seeds of the base, of which p = 0.25 is the smallest; twice that, as there are two levels."""
    rows = [result_row(0.60 + seed / 100, seed=seed) for seed in range(3)]
    rows += [result_row(0.50 + seed / 100, seed=seed, gcn_layers=2) for seed in range(8)]
    table = compute_table(imported(STUDY, rows).cells, "2")
    row = row_of(table.rows, "NER", "gcn_layers", "2")
    assert (row.n, row.pairs, row.p) == (8, 3, 0.25)
    assert table.caption[1:] == (
        "Base: GCN layers 1.",
        "Too few shared seeds to mark a difference, however large: GCN layers (n = 3, p ≥ 0.5).",
    )
    assert any("within dataset, task and metric." in note for note in table.notes)


def test_few_seeds_are_said_of_each_level_and_place(imported: Any, result_row: Any) -> None:
    """Eight shared seeds of 0 layers, one of 2 and of the filter; of the mask eight in NER, three in RE."""
    rows, bare = [], {"gcn_layers": 0, "gcn_heads": "", "annotations": "false"}
    for seed in range(8):
        rows += [result_row(0.60 + seed / 100, seed=seed)]
        rows += [result_row(0.59 + seed / 100, seed=seed, gcn_layers=0, gcn_heads="")]
        rows += [result_row(0.59 + seed / 100, seed=seed, attention_mask="full")]
        rows += [result_row(0.59 + seed / 100, seed=seed, **bare)]
        rows += [result_row(0.30 + seed / 100, seed=seed, **RE)]
    rows += [result_row(0.61, seed=0, gcn_layers=2), result_row(0.61, seed=0, entity_filter="false")]
    rows += [result_row(0.31, seed=seed, attention_mask="full", **RE) for seed in (0, 1, 2)]
    cells = imported(STUDY, rows).cells
    star = "*: p < 0.05, paired sign-flip permutation test, Holm-adjusted."
    few = "Too few shared seeds to mark a difference, however large: "
    assert compute_table(cells, "2").caption[1:] == (
        "Base: GCN layers 1; Entity filter with.",
        star,
        f"{few}GCN layers 2 (n = 1); Entity filter (n = 1).",
    )
    assert compute_table(cells, "5").caption[1:] == (
        "Base: Mask Inv.",
        star,
        f"{few}Mask (n = 3, p ≥ 0.25; SciERC RE).",
    )
    assert compute_table(cells, "4").caption[1:] == ("Base: Method LAI-Net.", star)


@pytest.mark.parametrize("render", [to_markdown, to_latex])
def test_every_table_with_a_star_names_its_test_once(imported: Any, result_row: Any, render: Any) -> None:
    rows = []
    for seed in range(8):
        rows += [result_row(0.60 + seed / 100, seed=seed)]
        rows += [result_row(0.50 + seed / 100, seed=seed, gcn_layers=2)]
        rows += [result_row(0.50, seed=seed, gcn_layers=0, gcn_heads="", annotations="false")]
    cells = imported(STUDY, rows).cells
    for number, has_star in (("2", True), ("4", True), ("5", False)):
        table = compute_table(cells, number)
        assert ("*" in [row.mark for row in table.rows]) == has_star
        said = [*table.caption, *table.notes]
        assert len(said) == len(set(said))
        assert (
            render(table).count("p &lt; 0.05" if render is to_markdown else "p \\textless{} 0.05") == has_star
        )
        assert any(sentence.startswith("*: p < 0.05, paired") for sentence in table.caption) == has_star


def test_an_interval_beyond_the_scale_is_explained(imported: Any, result_row: Any) -> None:
    said = "An interval beyond 0 or 100 comes from few seeds: Student's t knows no bounds."
    table = compute_table(imported(STUDY, [result_row(0.9), result_row(0.7, seed=2)]).cells, "4")
    assert table.rows[0].ci_high > 100
    assert said in table.caption
    cells = imported(STUDY, [result_row(0.80, seed=3), result_row(0.81, seed=4)]).cells
    assert said not in compute_table(cells[cells["seed"] > 2], "4").caption


def test_a_table_without_cells_says_so(imported: Any, result_row: Any) -> None:
    study = STUDY.replace('method = ["LAI-Net", "w/o 1st"]\n', "")
    table = compute_table(imported(study, [result_row(0.6)]).cells, "representations")
    assert table.caption[0] == "F1: this study has no cell of this table."
    assert not any("  " in sentence or " ," in sentence for sentence in (*table.caption, *table.notes))


def test_tables_share_their_notes_word_for_word(cells: Any) -> None:
    two, four = (compute_table(cells(), number) for number in ("2", "4"))
    assert len(set(two.notes) & set(four.notes)) >= 4
    assert not set(two.caption) & set(four.caption)


def test_few_seeds_are_too_few_for_bca(cells: Any) -> None:
    frame = cells()
    assert "BCa" not in " ".join(compute_table(frame, "2").notes)
    notes = " ".join(compute_table(frame.assign(interval="bca"), "2").notes)
    assert "95 % BCa bootstrap interval of the mean. BCa is too narrow for fewer than 20 seeds" in notes

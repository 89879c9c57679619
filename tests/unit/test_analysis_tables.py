"""Computed rows by hand, and the paper's shapes."""

import csv
import io
from typing import Any

import pytest

from analysis.paper import published_encoders, published_values
from analysis.tables.layout import Entry, signed
from analysis.tables.reach import attainable_p
from analysis.tables.render import to_csv, to_latex, to_markdown
from analysis.tables.rows import CSV_COLUMNS, compute_rows
from analysis.tables.table import compute_table
from tests.unit.tabling import RE, STUDY, row_of, three_levels

CONTRACT = (
    "table,dataset,task,factor,level,metric,split,n,mean,std,ci_low,ci_high,delta,delta_ci_low,delta_ci_high,p,"
    "p_adjusted,mark,paper"
)


@pytest.fixture
def cells(imported: Any, result_row: Any) -> Any:
    return three_levels(imported, result_row)


def test_scores_of_a_cell_by_hand(cells: Any) -> None:
    base = row_of(compute_rows(cells(), "2"), "NER", "gcn_layers", "1")
    assert (base.n, base.mean, base.std) == (3, pytest.approx(62.0), pytest.approx(2.0))
    half = 4.302652729696142 * 2 / 3**0.5  # Student's t, 2 degrees of freedom
    assert (base.ci_low, base.ci_high) == (pytest.approx(62 - half), pytest.approx(62 + half))
    assert (base.delta, base.p, base.mark) == (None, None, "")
    assert base.paper == 69.94


def test_difference_to_the_base_is_paired_by_seed(cells: Any) -> None:
    row = row_of(compute_rows(cells(), "2"), "NER", "gcn_layers", "0")
    assert (row.n, row.mean) == (4, pytest.approx(67.25))
    assert row.delta == pytest.approx(-7 / 3)  # -2, -1, -4; seed 9 has no partner
    assert (row.p, row.p_adjusted) == (0.25, 0.5)  # two levels beside the base, the other to come


def test_best_level_dash_missing_and_failed(cells: Any) -> None:
    two, five = compute_rows(frame := cells(), "2"), compute_rows(frame, "5")
    assert [row.level for row in two if row.best and row.metric == "f1"] == ["1"]  # without seed 9
    assert row_of(two, "NER", "gcn_layers", "2").mark == "missing"
    assert row_of(two, "NER", "gcn_layers", "2").n == 0
    assert row_of(two, "RE", "entity_filter", "with").mark == "dash"
    assert row_of(two, "RE", "entity_filter", "with").n is None
    assert row_of(five, "NER", "mask", "Full").mark == "failed"
    assert not row_of(five, "NER", "mask", "Inv.").best  # nothing to compare with


def test_levels_that_print_the_same_are_both_best(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.600001), result_row(0.60, gcn_layers=2), result_row(0.59, gcn_layers=0)]
    study = STUDY.replace("[1, 2, 3]", "[1]")
    table = compute_rows(imported(study, rows).cells, "2")
    assert [row.level for row in table if row.best and row.metric == "f1"] == ["1", "2"]


def test_a_level_that_lacks_seeds_is_not_ranked(imported: Any, result_row: Any) -> None:
    rows = [result_row(f1, seed=seed) for seed, f1 in ((1, 0.60), (2, 0.62), (3, 0.64))]
    lucky = [result_row(0.90, gcn_layers=2)]
    worse = [result_row(0.50, seed=seed, gcn_layers=0, gcn_heads="") for seed in (1, 2, 3)]
    alone = compute_table(imported(STUDY, rows + lucky).cells, "2")
    assert not any(row.best for row in alone.rows)
    assert "Bold" not in " ".join(alone.notes)
    table = compute_table(imported(STUDY, rows + lucky + worse).cells, "2")
    assert [row.level for row in table.rows if row.best and row.metric == "f1"] == ["1"]
    assert "of those with as many seeds as planned, by the mean over" in " ".join(table.notes)


def test_mark_needs_a_small_adjusted_p(imported: Any, result_row: Any) -> None:
    rows = []
    for seed in range(8):
        rows += [result_row(0.60 + seed / 100, seed=seed)]
        rows += [result_row(0.61 + seed / 100, seed=seed, gcn_layers=2)]
        rows += [result_row(0.60 + seed / 100 + (-1) ** seed / 100, seed=seed, gcn_layers=0, gcn_heads="")]
    table = compute_rows(imported(STUDY, rows).cells, "2")
    better, same = (row_of(table, "NER", "gcn_layers", level) for level in ("2", "0"))
    assert (better.p, better.p_adjusted, better.mark) == (2 / 256, 4 / 256, "*")
    assert (same.p, same.mark) == (1.0, "")
    assert (better.delta, better.delta_ci_low) == (pytest.approx(1.0), None)  # equal differences


def test_a_mark_does_not_go_away_when_the_other_levels_are_filled(imported: Any, result_row: Any) -> None:
    """Six seeds: 2/2^6 for each of two levels is above 0.05, also before the second one has any."""
    study = STUDY.replace('mask = ["Inv.", "Full"]', 'mask = ["Inv.", "Vis.", "Full"]')
    rows = [result_row(0.60 + seed / 100, seed=seed) for seed in range(6)]
    rows += [result_row(0.59 + seed / 90, seed=seed, attention_mask="full") for seed in range(6)]
    filled = [result_row(0.60 + (seed % 2) / 50, seed=seed, attention_mask="vis") for seed in range(6)]
    for given in (rows, [*rows, *filled[:1]], [*rows, *filled]):
        cells = imported(study, given).cells
        row = row_of(compute_rows(cells, "5"), "NER", "mask", "Full")
        assert (row.p, row.p_adjusted, row.mark) == (2 / 64, 4 / 64, "")
        assert attainable_p(compute_rows(cells, "5"))[row] == 4 / 64


def test_levels_that_do_not_exist_are_not_counted(imported: Any, result_row: Any) -> None:
    """Without layers there is no second round to leave out."""
    study = STUDY.replace('"w/o 1st"', '"w/o 2nd", "w/o 1st"')
    study = study.replace('"minilm" }', '"minilm", "graph.layers" = 0 }')
    bare = {"gcn_layers": 0, "gcn_heads": ""}
    rows = [result_row(0.60 + seed / 100, seed=seed, **bare) for seed in range(6)]
    rows += [result_row(0.59 + seed / 90, seed=seed, annotations="false", **bare) for seed in range(6)]
    table = compute_rows(imported(study, rows).cells, "4")
    row = row_of(table, "NER", "method", "w/o 1st")
    assert row_of(table, "NER", "method", "w/o 2nd").mark == "dash"
    assert row.p_adjusted == attainable_p(table)[row] == 2 / 64


def test_one_seed_gives_a_mean_and_nothing_else(imported: Any, result_row: Any) -> None:
    table = compute_rows(
        imported(STUDY.replace("SciERC", "demo"), [result_row(0.6, dataset="demo")]).cells, "4"
    )
    row = row_of(table, "NER", "method", "LAI-Net")
    assert (row.n, row.mean, row.std, row.ci_low, row.p) == (1, 60.0, None, None, None)
    assert row.paper is None


def test_csv_has_the_contract_columns_and_a_row_per_cell_task_and_metric(cells: Any) -> None:
    text = to_csv(compute_table(cells(), "2"))
    assert text.splitlines()[0] == CONTRACT == ",".join(CSV_COLUMNS)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 3 * 5 * 3  # tasks, levels, metrics
    assert [row["metric"] for row in rows[:3]] == ["precision", "recall", "f1"]
    empty = next(row for row in rows if row["mark"] == "missing")
    assert (empty["n"], empty["mean"], empty["std"], empty["delta"]) == ("0", "", "", "")


def test_table_2_has_the_papers_shape(cells: Any) -> None:
    grid = compute_table(cells(), "2").grid
    assert grid.groups == (("GCN layers", 3), ("Entity filter", 2))
    assert grid.columns == ("0", "1", "2", "with", "without")
    assert [line.labels for line in grid.lines] == [
        ("SciERC", "NER"), ("", "paper, preprint v1"), ("", "RE"), ("", "paper, preprint v1"),
        ("", "RE+"), ("", "paper, preprint v1"),
    ]  # fmt: skip
    assert grid.lines[0].entries == (
        Entry("67.25", "15.22", remarks=("43.03 to 91.47", "n = 4")),
        Entry("62.00", "2.00", remarks=("57.03 to 66.97", "n = 3"), best=True),
        Entry("missing (0/3)"),
        Entry("62.00", "2.00", remarks=("57.03 to 66.97", "n = 3")),
        Entry("missing (0/3)"),
    )
    assert [entry.value for entry in grid.lines[1].entries] == ["69.40", "69.94", "69.47", "69.94", "69.76"]
    assert [entry.value for entry in grid.lines[2].entries][3:] == ["–", "–"]


def test_tables_4_and_5_have_the_papers_shape(cells: Any) -> None:
    frame = cells()
    four, five = compute_table(frame, "4").grid, compute_table(frame, "5").grid
    assert four.stubs == ("Dataset", "Task", "Method")
    assert four.columns == ("P", "R", "F1", "P", "R", "F1")
    assert four.groups == (("This study", 3), ("paper, preprint v1", 3))
    assert five.stubs == ("Dataset", "Mask")
    assert five.columns == ("NER", "RE", "RE+", "NER", "RE", "RE+")
    assert [entry.value for entry in five.lines[1].entries][:1] == ["failed (3/3)"]


def test_a_corpus_that_the_paper_lacks_has_no_paper_columns(cells: Any) -> None:
    table = compute_table(cells("demo"), "4")
    assert table.grid.groups == ()
    assert "preprint" not in " ".join((*table.caption, *table.notes))


def test_an_incomplete_cell_says_its_n(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.6), result_row(0.7, seed=2), result_row("", seed=3, status="failed")]
    table = compute_table(imported(STUDY, rows).cells, "4")
    assert table.grid.lines[0].entries[2] == Entry(
        "65.00", "7.07", remarks=("1.47 to 128.53", "[2/3]", "[1 failed]")
    )
    assert {"[k/N]: only k of N seeds done.", "[k failed]: of the seeds that lack k failed."} <= set(
        table.notes
    )


def test_each_mean_says_its_n_where_counts_differ(imported: Any, result_row: Any) -> None:
    """Unless `[1/3]` says it; where all are alike the caption does."""
    rows = [result_row(0.60 + seed / 100, seed=seed) for seed in (1, 2, 3)]
    cells = imported(STUDY, rows).cells
    (base, _), one = compute_table(cells, "5").grid.lines[0].entries[:2], compute_table(cells, "1")
    assert base.remarks == one.grid.lines[-1].entries[2].remarks == ("59.52 to 64.48",)
    cells = imported(STUDY, [*rows, result_row(0.5, attention_mask="full"), result_row(0.3, **RE)]).cells
    table = compute_table(cells, "5")
    (inv, *_), (full, *_) = (line.entries for line in table.grid.lines)
    assert inv.remarks == ("59.52 to 64.48", "n = 3")
    assert full.remarks == ("(−11.00)", "[1/3]")
    assert compute_table(cells, "1").grid.lines[-1].entries[2].remarks == ("59.52 to 64.48", "n = 3")
    assert "| 62.00 ± 1.00 59.52 to 64.48 n = 3 |" in to_markdown(table)
    assert "59.52 to 64.48 n = 3" in to_latex(table)


def test_difference_in_table_4_is_printed_with_its_sign(imported: Any, result_row: Any) -> None:
    none = {"gcn_layers": 0, "gcn_heads": "", "annotations": "false"}
    rows = [result_row(0.6), result_row(0.5951, **none)]
    grid = compute_table(imported(STUDY, rows).cells, "4").grid
    assert grid.lines[1].entries[2].remarks == ("(−0.49)", "[1/3]")
    assert [signed(value) for value in (0.5, -0.001, 0.0)] == ["+0.50", "0.00", "0.00"]


@pytest.mark.parametrize(
    ("task", "report", "row"),
    [
        ("NER", 'split = "dev"', {"split": "dev"}),
        ("NER", 'protocol = "plmarker"', {"protocol": "plmarker"}),
        ("RE", 'entities = "gold"', RE | {"entities": "gold"}),
    ],
)
def test_the_papers_values_stand_beside_their_own_view_alone(
    imported: Any, result_row: Any, task: str, report: str, row: dict[str, Any]
) -> None:
    paths = imported(f"{STUDY}[report]\n{report}\n", [result_row(0.6, **row)])
    found = row_of(compute_rows(paths.cells, "2"), task, "gcn_layers", "2" if task == "RE" else "1")
    assert (found.mean, found.paper) == (60.0, None)


@pytest.mark.parametrize(
    ("setting", "row", "why"),
    [
        ('averaging = "micro"', {}, "micro averages, the paper's are macro"),
        (
            'averaging = "macro"\nfolds = 10\nonly_folds = [0]', {"fold": 0},
            "fold 0 of 10 alone, the paper's are means over all folds",
        ),
    ],
)  # fmt: skip
def test_the_papers_ten_folds_and_averages_stand_beside_their_like_alone(
    imported: Any, result_row: Any, setting: str, row: dict[str, Any], why: str
) -> None:
    study = STUDY.replace('"SciERC"', f'"ADE"\n{setting}')
    cells = imported(study, [result_row(0.6, dataset="ADE", seed=seed, **row) for seed in (1, 2, 3)]).cells
    two = compute_table(cells, "2")
    assert row_of(two.rows, "NER", "gcn_layers", "1").mean == pytest.approx(60.0)
    assert all(item.paper is None for table in (two, compute_table(cells, "1")) for item in table.rows)
    assert f"No published values beside ADE ({why})." in two.notes
    whole = cells.assign(only_folds="", averaging="macro")
    assert row_of(compute_rows(whole, "2"), "NER", "gcn_layers", "1").paper is not None
    assert "No published" not in " ".join(compute_table(whole, "2").notes)


def test_blocked_relations_are_told_from_failed_ones(imported: Any, result_row: Any) -> None:
    frame = imported(STUDY, [result_row(0.3, **RE)]).cells
    relation = (frame["task"] == "RE") & (frame["state"] == "planned")
    frame.loc[relation & (frame["seed"] == 2), "state"] = "blocked"
    rows = compute_rows(frame, "2")
    assert row_of(rows, "RE", "gcn_layers", "1").mark == "blocked"
    table = compute_table(frame, "2")
    assert table.grid.lines[2].entries[1:3] == (
        Entry("blocked (1/3)"), Entry("30.00", remarks=("[1/3]", "[1 blocked]")),
    )  # fmt: skip
    assert "blocked (k/N)" in " ".join(table.notes)
    assert "[k blocked]: of the seeds that lack k wait in vain for an NER trial that failed." in table.notes


def test_scores_that_rows_do_not_say_are_not_missing(imported: Any, result_row: Any) -> None:
    silent = {"precision": "", "recall": ""}
    rows = [result_row(0.6, seed=seed, **silent) for seed in (1, 2, 3)]
    bare = {"annotations": "false", "gcn_layers": 0, "gcn_heads": ""}
    rows += [result_row(0.5, seed=1, **bare), result_row(0.5, seed=2, **bare, **silent)]
    table = compute_table(imported(STUDY, rows).cells, "4")
    base, other = (line.entries[:3] for line in table.grid.lines[:2])
    assert base == (Entry("not given"), Entry("not given"), Entry("60.00", "0.00", remarks=("n = 3",)))
    assert other[0].remarks[-3:] == ("n = 1", "[2/3]", "[1 not given]")
    assert other[2].remarks[-1] == "[2/3]"
    notes = " ".join(table.notes)
    assert "not given: seeds are done, but rows from elsewhere do not say it." in notes
    assert "[k not given]: of the seeds that are done k do not say it." in notes
    assert row_of(table.rows, "NER", "method", "LAI-Net", "precision").mark == "not given"
    assert "4,SciERC,NER,method,LAI-Net,precision,test,0,,,,,,,,,,not given," in to_csv(table)
    assert "| not given | not given | 60.00 ± 0.00" in to_markdown(table)
    assert "not given & not given & " in to_latex(table)


def test_published_values_are_those_of_the_paper() -> None:
    values = published_values()
    assert values["ACE05", "RE+", "gcn_layers", "2", "f1"] == 70.27
    assert values["ADE", "RE", "method", "LAI-Net", "f1"] == 81.26  # Table 4 differs from Tables 2 and 5
    assert values["ADE", "RE", "mask", "Inv.", "f1"] == 82.09
    assert values["SciERC", "NER", "method", "w/o 1st", "recall"] == 69.12
    assert ("ADE", "NER", "gcn_heads", "1", "f1") not in values  # a dash
    assert published_encoders("ADE") == ["bert-base-uncased"]
    assert published_encoders("demo") == []

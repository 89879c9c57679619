"""How tables are written: escaping and marks of each format."""

from dataclasses import replace
from typing import Any

import pytest

from analysis.tables.layout import LAYOUTS, Entry, arrange, entry_of
from analysis.tables.render import to_latex, to_markdown
from analysis.tables.rows import Row
from analysis.tables.table import Table, compute_table
from tests.unit.tabling import three_levels


@pytest.fixture
def cells(imported: Any, result_row: Any) -> Any:
    return three_levels(imported, result_row)


@pytest.fixture
def nasty(cells: Any) -> Table:
    return compute_table(cells(encoder="a_b & <c> 100%|x*[y]"), "2")


def test_markdown_escapes_names_and_marks_the_best(nasty: Table) -> None:
    text = to_markdown(nasty)
    assert r"a\_b &amp; &lt;c&gt; 100%\|x\*\[y\]" in text
    assert "| 67.25 ± 15.22 43.03 to 91.47 n = 4 | **62.00 ± 2.00** 57.03 to 66.97 n = 3 |" in text
    assert "*69.94*" in text
    widths = {line.replace(r"\|", "").count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {8}


def test_latex_escapes_names_and_marks_the_best(nasty: Table) -> None:
    text = to_latex(nasty)
    assert r"a\_b \& \textless{}c\textgreater{} 100\%\textbar{}x{*}{[}y]" in text
    assert r"\textbf{\num{62.00}} $\pm$ \num{2.00}" in text
    assert r"\tiny 43.03 to 91.47 n = 4\end{tabular}" in text
    assert r"\multicolumn{3}{c}{GCN layers}" in text
    assert text.count(r"\begin{") == text.count(r"\end{")


def test_a_line_break_in_a_name_breaks_no_line(cells: Any) -> None:
    table = compute_table(cells(encoder="a\\n\\nb|\\u000bc\\u2028d"), "1")
    assert table.grid.lines[-1].labels[2] == "a\n\nb|\x0bc\u2028d and minilm"
    text = to_markdown(table)
    assert r"| a b\| c d and minilm |" in text
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 2 + len(table.grid.lines)
    assert "a b\\textbar{} c d and minilm" in to_latex(table)
    assert "\n\n" not in to_latex(table)


def test_a_header_stands_once_over_all_its_columns() -> None:
    """Also where the first dataset has one phase, so that measures of it come before those of the other."""
    places = [("a", "NER"), ("b", "NER"), ("b", "RE")]
    rows = [
        Row(table="representations", dataset=dataset, task=task, factor="representation", level="annotate",
            metric=metric, split="test", n=1, mean=number)
        for number, (dataset, task) in enumerate(places)
        for metric in ("f1", "sentences_per_second")
    ]  # fmt: skip
    grid = arrange(rows, LAYOUTS["representations"])
    assert grid.groups == (("F1", 2), ("Sentences/s", 2))
    assert grid.columns == ("NER", "RE", "NER", "RE")
    assert [[entry.value for entry in line.entries] for line in grid.lines] == [
        ["0.00", "–", "0.00", "–"], ["1.00", "2.00", "1.00", "2.00"],
    ]  # fmt: skip


def test_a_score_of_one_seed_is_no_gap() -> None:
    row = Row(
        table="5", dataset="d", task="NER", factor="mask", level="Inv.", metric="f1", split="test", planned=1
    )
    shown, missing = (
        entry_of(item, shows_delta=True, shows_n=False)
        for item in (replace(row, n=1, mean=61.0), replace(row, n=0))
    )
    assert (shown, shown.is_gap) == (Entry("61.00"), False)
    assert [entry.is_gap for entry in (missing, Entry("–"))] == [True, True]


def test_an_empty_table_can_be_laid_out() -> None:
    assert arrange((), LAYOUTS["2"]).lines == ()

"""Every LaTeX table compiles, alone and with the others; where a package or TeX itself is missing, what then.

With a TeX that lacks siunitx the tables are compiled with a strict stand-in (tests/assets/siunitx-stand-in);
without any TeX their structure is checked alone.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from analysis.tables.layout import LAYOUTS, arrange
from analysis.tables.render import to_latex
from analysis.tables.rows import MISSING, Row
from analysis.tables.table import Table, compute_tables
from tests.unit import tabling

ROOT = Path(__file__).parents[2]
STAND_IN = ROOT / "tests" / "assets" / "siunitx-stand-in"
COMMITTED = sorted(ROOT.glob("reports/*/table*.tex"))
STUDY = tabling.STUDY.replace('"minilm"', '"a_b & <c> 100%|x*[y]"').replace(
    'method = ["LAI-Net"', 'method = ["LAI-Net", "w/o 2nd"'
)


def has_package(name: str) -> bool:
    return shutil.which("kpsewhich") is not None and not subprocess.call(
        ["kpsewhich", f"{name}.sty"], stdout=subprocess.DEVNULL
    )


HAS_TEX = shutil.which("pdflatex") is not None and has_package("booktabs")
HAS_SIUNITX = HAS_TEX and has_package("siunitx")


@pytest.fixture
def tables(imported: Any, result_row: Any) -> list[Table]:
    """All six: Tables 1, 2, 4, 5 of a study with hostile names, Table 3 and representations with speeds."""
    name = "a_b & <c> 100%|x*[y]"
    rows = [result_row(f1, seed=seed, encoder=name) for seed, f1 in ((1, 0.60), (3, 0.64), (2, 0.62))]
    rows += [result_row(0.5 + seed / 100, seed=seed, gcn_layers=0, gcn_heads="") for seed in (1, 2, 9)]
    rows += [result_row("", seed=seed, attention_mask="full", status="failed") for seed in (1, 2, 3)]
    made = compute_tables(imported(STUDY, rows).cells)
    made += [
        speed_table(number, factor)
        for number, factor in (("3", "model"), ("representations", "representation"))
    ]
    assert {table.number for table in made} == set(LAYOUTS)
    return made


def speed_table(number: str, factor: str) -> Table:
    """Speeds with a variant each, a change in percent, memory, an F1, and a gap."""
    shared = {"table": number, "dataset": "SciERC", "task": "NER", "factor": factor, "split": "test", "n": 3}
    levels = ("PL-Marker", "LAI-Net") if number == "3" else ("vanilla", "annotate")
    rows = [
        Row(**shared | changes)
        for level, speed, delta in zip(levels, (21.5, 30.25), (None, 8.75), strict=True)
        for changes in (
            {"level": level, "metric": "f1", "mean": 61.5, "std": 0.4, "ci_low": 61.0, "ci_high": 62.0},
            {
                "level": level,
                "metric": "sentences_per_second",
                "mean": speed,
                "delta": delta,
                "note": "two-pass",
            },
            {
                "level": level,
                "metric": "peak_mib",
                "mean": 1234.5 if delta else None,
                "mark": "" if delta else MISSING,
            },
        )
    ]
    grid = arrange(rows, LAYOUTS[number])
    return Table(
        number, LAYOUTS[number].title, tuple(rows), grid, ("Speed & memory, 100 %.",), ("A note_1.",)
    )


def compile_tables(
    bodies: list[str], folder: Path, packages: str, stand_in: bool = False, options: str = ""
) -> str:
    """The log of pdflatex on a document of these tables, which must compile."""
    source = (
        f"\\documentclass[{options}]{{article}}\\usepackage{{{packages}}}\\begin{{document}}\n"
        + "\n\\clearpage\n".join(bodies)
        + "\\end{document}"
    )
    (folder / "tables.tex").write_text(source, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    paths = {"TEXINPUTS": f"{STAND_IN}:"} if stand_in else {}
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | paths,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-1500:]
    return done.stdout


@pytest.mark.skipif(not HAS_TEX, reason="no pdflatex with booktabs; the structure of the tables is checked")
@pytest.mark.parametrize(
    ("packages", "stand_in"),
    [
        pytest.param("booktabs", False, id="booktabs alone"),
        pytest.param(
            "booktabs,siunitx", not HAS_SIUNITX, id="siunitx" if HAS_SIUNITX else "stand-in for siunitx"
        ),
    ],
)
def test_all_tables_compile(tables: list[Table], tmp_path: Path, packages: str, stand_in: bool) -> None:
    bodies = [to_latex(table) for table in tables] + [path.read_text(encoding="utf-8") for path in COMMITTED]
    assert "Output written on tables.pdf" in compile_tables(bodies, tmp_path, packages, stand_in)


WIDE = """
name = "s"
seeds = [1, 2]
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "demo-ner"
set = { "encoder.name" = "allenai/scibert\\nscivocab-uncased" }
[datasets.re]
preset = "demo-re"
[[datasets]]
name = "CoNLL04"
[datasets.ner]
preset = "demo-ner"
[factors]
FACTORS
"""


@pytest.fixture
def wide(imported: Any, result_row: Any) -> list[Table]:
    """Tables 1 and 2 with few columns and with many, of two datasets; a line break in a name."""
    scores = [result_row(f1, seed=seed) for seed, f1 in ((21, 0.601), (22, 0.732))]
    scores += [result_row(f1, seed=seed, gcn_layers=2) for seed, f1 in ((21, 0.611), (22, 0.742))]
    scores += [row | {"dataset": "CoNLL04"} for row in scores]
    tables = []
    for factors in (
        "gcn_layers = [1, 2]\ngcn_heads = [2, 4]",
        'gcn_layers = [0, 1, 2, 3, 4, 5]\ngcn_heads = [1, 2, 4, 6]\nentity_filter = ["with", "without"]',
    ):
        tables += compute_tables(imported(WIDE.replace("FACTORS", factors), scores).cells)
    return tables


@pytest.mark.skipif(not HAS_TEX, reason="no pdflatex with booktabs")
@pytest.mark.parametrize("options", ["10pt", "10pt,twocolumn", "12pt"])
def test_no_table_is_wider_than_its_page(
    tables: list[Table], wide: list[Table], tmp_path: Path, options: str
) -> None:
    bodies = [to_latex(table) for table in tables + wide]
    log = compile_tables(bodies, tmp_path, "booktabs,graphicx", options=options)
    assert not re.findall(r"Overfull \\hbox.*", log)


@pytest.mark.skipif(not HAS_TEX, reason="no pdflatex with booktabs")
def test_the_stand_in_refuses_what_is_no_number(tables: list[Table], tmp_path: Path) -> None:
    body = to_latex(tables[0]).replace(r"\num{62.00}", r"\num{no}")
    assert r"\num{no}" in body
    with pytest.raises(AssertionError, match="Missing number"):
        compile_tables([body], tmp_path, "booktabs,siunitx", stand_in=True)


@pytest.mark.skipif(not HAS_TEX or shutil.which("pdftotext") is None, reason="no pdflatex or pdftotext")
def test_a_document_prints_a_shared_note_once(tables: list[Table], tmp_path: Path) -> None:
    printed = [table for table in tables if table.number in ("2", "4")]
    shared = "two-sided sign-flip permutation test"
    assert all(shared in " ".join(table.notes) for table in printed)
    compile_tables([to_latex(table) for table in printed], tmp_path, "booktabs")
    text = subprocess.run(
        ["pdftotext", "tables.pdf", "-"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert " ".join(text.stdout.split()).count(shared) == 1


def test_structure_of_all_tables_without_any_tex(tables: list[Table]) -> None:
    for table in tables:
        text = to_latex(table)
        bare = re.sub(r"\\[{}&%#$_]", "", text)
        assert bare.count("{") == bare.count("}")
        opened, closed = (re.findall(rf"\\{word}{{([a-z*]+)}}", text) for word in ("begin", "end"))
        assert sorted(opened) == sorted(closed)
        assert all(
            re.fullmatch(r"\d+\.\d+", number)
            for number in re.findall(r"\\num\{([^}]*)\}", text)
            if number != "1"
        )
        columns = len(table.grid.stubs) + len(table.grid.columns)
        body = bare.split("\\midrule")[1].split("\\bottomrule")[0]
        lines = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert len(lines) == len(table.grid.lines)
        assert {line.count("&") for line in lines} == {columns - 1}

"""The benchmark's rows, Table 3, and the four representations, against numbers by hand."""

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.report import write_report
from analysis.speed import comparable, fastest, read_speeds
from analysis.tables.layout import Entry
from analysis.tables.render import to_csv
from analysis.tables.rows import Row
from analysis.tables.table import Table, compute_table, compute_tables
from lai_net.errors import InputError

HEADER = (
    "dataset,phase,model,representation,variant,step,encoder,precision,sentences_per_cpu_second,ratio,"
    "gflop_per_sentence,peak_mib,threads,repetitions,processor,date,commit"
)
ROWS = """\
SciERC,NER,LAI-Net,annotate,padded,inference,minilm,fp32,5,1.0,1.0,400,1,5,Some CPU,2026-11-22,abc
SciERC,NER,LAI-Net,annotate,two-pass,inference,minilm,fp32,15,3.0,1.0,200,1,5,Some CPU,2026-11-22,abc
SciERC,NER,LAI-Net,annotate,two-pass,training,minilm,fp32,99,3.0,1.0,,1,5,Some CPU,2026-11-22,abc
SciERC,NER,LAI-Net,annotate,two-pass,inference,other,fp32,77,3.0,1.0,,1,5,Some CPU,2026-11-22,abc
SciERC,NER,LAI-Net,enumerate,two-pass,inference,minilm,fp32,18,3.0,1.0,190,1,5,Some CPU,2026-11-22,abc
SciERC,NER,LAI-Net,vanilla,dense,inference,minilm,fp32,60,1.0,1.0,100,1,5,Some CPU,2026-11-22,abc
SciERC,NER,PL-Marker,enumerate,padded,inference,minilm,fp32,20,1.0,1.0,,1,5,Some CPU,2026-11-22,abc
"""
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
method = ["LAI-Net", "w/o 2nd", "w/o 1st"]
"""
NO_GRAPH = {"gcn_layers": 0, "gcn_heads": ""}


@pytest.fixture
def benchmark_file(tmp_path: Path) -> Path:
    path = tmp_path / "speed.csv"
    path.write_text(f"{HEADER}\n{ROWS}", encoding="utf-8")
    return path


@pytest.fixture
def paths(imported: Any, result_row: Any) -> Any:
    """LAI-Net 60, 62, 64 and PL-Marker a point less; annotate 58, 60, 62 and enumerate 57, 59, 61."""
    rows = []
    for seed, f1 in ((1, 0.60), (2, 0.62), (3, 0.64)):
        rows += [result_row(f1, seed=seed), result_row(f1 - 0.01, seed=seed, model="PL-Marker")]
        rows += [result_row(f1 - 0.02, seed=seed, **NO_GRAPH)]
        rows += [result_row(f1 - 0.03, seed=seed, annotations="false", **NO_GRAPH)]
    return imported(STUDY, rows)


def row_of(table: Table, level: str, task: str, metric: str) -> Row:
    (found,) = [row for row in table.rows if (row.level, row.task, row.metric) == (level, task, metric)]
    return found


def test_speeds_are_compared_at_one_encoder_and_precision(benchmark_file: Path) -> None:
    speeds = read_speeds(benchmark_file)
    chosen = comparable(speeds, "SciERC", {"other"})
    assert [speed.sentences_per_cpu_second for speed in chosen] == [77]
    chosen = comparable(speeds, "SciERC", {"bert"})  # the setting with the most kinds
    assert {speed.setting for speed in chosen} == {("minilm", "fp32")}
    assert comparable(speeds, "ADE", {"minilm"}) == ()
    found = fastest(chosen, "NER", model="LAI-Net")
    assert found is not None
    assert (found.variant, found.sentences_per_cpu_second, found.peak_mib) == ("two-pass", 15.0, 200.0)
    assert fastest(chosen, "RE", model="LAI-Net") is None


def test_table_3_has_the_papers_shape(paths: Any, benchmark_file: Path) -> None:
    table = compute_table(paths.cells, "3", read_speeds(benchmark_file))
    assert table.grid.columns == ("PL-Marker", "LAI-Net", "PL-Marker", "LAI-Net")
    assert table.grid.groups == (("This study", 2), ("paper, preprint v1", 2))
    assert [line.labels for line in table.grid.lines] == [("SciERC", "NER", "F1"), ("", "", "Sentences/s")]
    scores, speeds = (line.entries for line in table.grid.lines)
    assert [entry.value for entry in scores] == ["61.00", "62.00", "69.90", "69.94"]
    assert scores[1].remarks == ("57.03 to 66.97", "(+1.00)")
    assert speeds == (
        Entry("20.00", remarks=("padded",), best=True),
        Entry("15.00", remarks=("two-pass", "(−25.00 %)")),
        Entry("54.13", published=True),
        Entry("52.17", published=True),
    )
    caption = " ".join(table.caption)
    for part in ("against PL-Marker", "CPU time", "Some CPU", "2026-11-22", "minilm fp32", "not comparable"):
        assert part in caption


def test_table_3_in_the_contracts_columns(paths: Any, benchmark_file: Path) -> None:
    table = compute_table(paths.cells, "3", read_speeds(benchmark_file))
    rows = {(row["level"], row["metric"]): row for row in csv.DictReader(io.StringIO(to_csv(table)))}
    speed = rows["LAI-Net", "sentences_per_second"]
    assert [speed[name] for name in ("table", "task", "factor", "mean", "delta", "paper", "std")] == [
        "3", "NER", "model", "15.0", "-5.0", "52.17", "",
    ]  # fmt: skip
    assert float(rows["LAI-Net", "f1"]["delta"]) == pytest.approx(1.0)
    assert rows["PL-Marker", "f1"]["delta"] == ""


def test_representations_against_f1_speed_and_memory(paths: Any, benchmark_file: Path) -> None:
    table = compute_table(paths.cells, "representations", read_speeds(benchmark_file))
    assert (table.slug, table.heading) == (
        "table_representations",
        "Four ways to represent a span (Eq. 1 to 4)",
    )
    assert table.grid.groups == (("F1", 3), ("Sentences/s", 2), ("Peak memory (MiB)", 2))
    assert table.grid.columns == ("NER", "RE", "RE+", "NER", "RE", "NER", "RE")
    annotate, enumerated = (row_of(table, level, "NER", "f1") for level in ("annotate", "enumerate"))
    assert (annotate.mean, annotate.best) == (pytest.approx(60.0), True)
    assert (enumerated.mean, enumerated.delta) == (pytest.approx(59.0), pytest.approx(-1.0))
    assert row_of(table, "vanilla", "NER", "f1").mark == "missing"
    assert row_of(table, "vanilla", "NER", "sentences_per_second").best
    memory = [row for row in table.rows if row.metric == "peak_mib" and row.task == "NER"]
    assert [(row.level, row.mean, row.best) for row in memory] == [
        ("vanilla", 100.0, True), ("marker", None, False), ("enumerate", 190.0, False),
        ("annotate", 200.0, False),
    ]  # fmt: skip
    assert table.grid.lines[0].entries[0] == Entry("not planned")


def test_without_a_benchmark_there_is_neither(paths: Any) -> None:
    assert [table.number for table in compute_tables(paths.cells)] == ["1", "4"]


def test_the_report_has_them_and_their_figure(paths: Any, benchmark_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written = write_report(str(paths.study), paths.ledger, out, speed=benchmark_file)
    assert {"table3.csv", "table_representations.tex", "figure_speed.svg"} <= set(written.files)
    assert set(pd.read_csv(out / "table_representations.csv")["table"]) == {"representations"}


def test_a_benchmark_of_other_datasets_is_refused(
    imported: Any, result_row: Any, benchmark_file: Path, tmp_path: Path
) -> None:
    paths = imported(STUDY.replace("SciERC", "mine"), [result_row(0.6, dataset="mine")])
    with pytest.raises(InputError, match=r"speed\.csv: has no inference speed on mine; leave it out"):
        write_report(str(paths.study), paths.ledger, tmp_path / "out", speed=benchmark_file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dataset,phase", "dataset,stage", ":1: no column 'phase'"),
        ("fp32,20,", "fp32,fast,", ":8: sentences_per_cpu_second must be a number above 0, but got 'fast'"),
        ("fp32,5,", "fp32,0,", ":2: sentences_per_cpu_second must be a number above 0, but got '0'"),
        ("LAI-Net,vanilla", "LAI-Net,plain", ":7: representation must be one of vanilla"),
        ("SciERC,NER,PL-Marker,", "SciERC,NER,", ":8: not as many fields as columns"),
    ],
    ids=["column", "text", "zero", "level", "fields"],
)
def test_a_bad_benchmark_is_refused_with_its_place(
    benchmark_file: Path, old: str, new: str, message: str
) -> None:
    benchmark_file.write_text(benchmark_file.read_text().replace(old, new), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_speeds(benchmark_file)
    assert message in str(error.value)


def test_imported_rows_join_their_representation(imported: Any, result_row: Any) -> None:
    """A row that says none means the one with annotations or, without them, enumerated candidates."""
    levels = ("vanilla", "marker", "enumerate", "annotate")
    study = STUDY.replace('method = ["LAI-Net", "w/o 2nd", "w/o 1st"]', f"representation = {list(levels)}")
    bare = {"annotations": "false"}
    rows = [
        result_row(0.60),
        result_row(0.50, **bare),
        result_row(0.40, representation="vanilla", entity_filter="true", **bare),
    ]
    table = compute_table(imported(study, rows).cells, "representations")
    means = {level: row_of(table, level, "NER", "f1").mean for level in levels}
    assert means == pytest.approx({"vanilla": 40.0, "marker": None, "enumerate": 50.0, "annotate": 60.0})
    assert row_of(table, "vanilla", "NER", "f1").delta == pytest.approx(-20.0)
    assert "mean difference to the base" in " ".join(table.caption)

"""Table 3 and the four representations, against numbers by hand."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
from analysis.findings import findings
from analysis.frame import read_results
from analysis.report import compose_report
from analysis.speed import read_speeds, speed_of
from analysis.tables.efficiency import left_out
from analysis.tables.layout import Entry
from analysis.tables.render import to_csv
from analysis.tables.table import compute_table, compute_tables
from lai_net.active_settings import active_settings
from lai_net.config import TrialConfig
from lai_net.errors import InputError
from tests.reporting import write_report
from tests.unit.tabling import table_row
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow, TrialRow
from tune.planning.plan import make_plan
from tune.results.importing import import_csv
from tune.results.table import long_table
from tune.results.table import to_csv as long_to_csv
from tune.spec.baseline import LAI_NET, PL_MARKER, model_of
from tune.spec.identity import evaluation_id
from tune.spec.study import load_study

STUDY = """
name = "s"
seeds = [1, 2, 3]
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "demo-ner"
[factors]
model = ["LAI-Net", "PL-Marker"]
method = ["LAI-Net", "w/o 2nd", "w/o 1st"]
"""
ALONE = STUDY.replace('model = ["LAI-Net", "PL-Marker"]\n', "")


def f1_of(config: TrialConfig) -> float:
    """LAI-Net 62, PL-Marker 61, without a graph annotate 60 and enumerate 59: in the middle seed."""
    if model_of(config) == PL_MARKER:
        return 0.61
    return 0.62 if config.graph.layers else 0.60 if config.input.is_annotated else 0.59


@pytest.fixture
def trained(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """A study whose every planned trial has run; F1 is a fiftieth apart from seed to seed."""

    def make(text: str) -> tuple[Path, Path]:
        study, ledger = tmp_path / "study.toml", tmp_path / "ledger.sqlite"
        study.write_text(text, encoding="utf-8")
        with Ledger.open(ledger) as opened:
            for number, trial in enumerate(make_plan(load_study(study)).trials):
                f1 = f1_of(trial.config) + 0.02 * (trial.seed - 2)
                score = {"task": "NER", "protocol": "pure", "averaging": "micro"}
                score |= dict.fromkeys(("precision", "recall", "f1"), f1)
                name = f"trial-{number}"
                row = TrialRow(
                    trial_id=name, config_id=f"config-{trial.spec_id}", spec_id=trial.spec_id,
                    dataset="SciERC", phase="NER", fold=None, seed=trial.seed,
                    config=active_settings(trial.config), corpus_id="c", encoder_id="e",
                )  # fmt: skip
                evaluation = EvaluationRow(
                    evaluation_id=evaluation_id(name, None, "test", "predicted"), trial_id=name,
                    upstream_trial_id=None, split="test", entities="predicted", scores=[score],
                )  # fmt: skip
                opened.register_trials([row])
                opened.start_attempt(name, 1, {"commit": "abc", "dirty": False, "device": "cpu"})
                opened.finish_attempt(name, 1, "completed", evaluations=[evaluation])
        return ledger, study

    return make


def test_table_3_has_the_papers_shape(trained: Any, benchmark_file: Path) -> None:
    table = compute_table(read_results(*trained(STUDY)).cells, "3", read_speeds(benchmark_file))
    assert table.grid.columns == ("PL-Marker", "LAI-Net", "PL-Marker", "LAI-Net")
    assert table.grid.groups == (("This study", 2), ("paper, preprint v1", 2))
    assert [line.labels for line in table.grid.lines] == [("SciERC", "NER", "F1"), ("", "", "Sentences/s")]
    scores, speeds = (line.entries for line in table.grid.lines)
    assert [entry.value for entry in scores] == ["61.00", "62.00", "69.90", "69.94"]
    assert scores[1].remarks == ("57.03 to 66.97", "(+1.00)")
    assert speeds == (
        Entry("20.00", remarks=("two-pass",), best=True),
        Entry("15.00", remarks=("early-filter", "(−25.00 %)")),
        Entry("54.13", published=True),
        Entry("52.17", published=True),
    )
    caption = " ".join(table.caption)
    for part in ("against PL-Marker", "CPU time", "Some CPU", "2026-11-22", "NER: minilm, 1 layer, fp32"):
        assert part in caption


def test_without_the_baseline_its_speed_is_that_of_the_same_settings(
    trained: Any, benchmark_file: Path
) -> None:
    table = compute_table(read_results(*trained(ALONE)).cells, "3", read_speeds(benchmark_file))
    scores, speeds = (line.entries for line in table.grid.lines)
    assert [entry.value for entry in scores[:2]] == ["not planned", "62.00"]
    assert [entry.value for entry in speeds[:2]] == ["20.00", "15.00"]
    assert [note[:10] for note in table.notes if "Bold" in note] == ["Bold speed"]


@pytest.mark.parametrize(
    ("study", "models", "brackets"),
    [
        (STUDY, {LAI_NET, PL_MARKER}, "against PL-Marker, of F1 in points, of speed in percent."),
        (ALONE, {LAI_NET, PL_MARKER}, "against PL-Marker, of speed in percent."),
        (ALONE, {LAI_NET}, ""),
    ],
)  # fmt: skip
def test_the_caption_of_table_3_speaks_of_what_it_shows(
    trained: Any, benchmark_file: Path, study: str, models: set[str], brackets: str
) -> None:
    speeds = [speed for speed in read_speeds(benchmark_file) if speed.model in models]
    caption = " ".join(compute_table(read_results(*trained(study)).cells, "3", speeds).caption)
    assert caption.count("In brackets") == bool(brackets)
    assert brackets in caption
    assert "The paper's speeds were taken on a GPU" in caption
    assert "RE+" not in caption, "the study has no relations"


def test_each_speed_is_looked_up_once(
    trained: Any, benchmark_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def count(speeds: Any, dataset: str, config: TrialConfig | None) -> Any:
        asked.append(config)
        return speed_of(speeds, dataset, config)

    monkeypatch.setattr("analysis.tables.efficiency.speed_of", count)
    compute_tables(read_results(*trained(STUDY)).cells, read_speeds(benchmark_file))
    assert len(asked) == 2 + 4, "models, representations"


def test_table_3_in_the_contracts_columns(trained: Any, benchmark_file: Path) -> None:
    table = compute_table(read_results(*trained(STUDY)).cells, "3", read_speeds(benchmark_file))
    rows = {(row["level"], row["metric"]): row for row in csv.DictReader(io.StringIO(to_csv(table)))}
    speed = rows["LAI-Net", "sentences_per_second"]
    assert [speed[name] for name in ("table", "task", "factor", "mean", "delta", "paper", "std")] == [
        "3", "NER", "model", "15.0", "-5.0", "52.17", "",
    ]  # fmt: skip
    assert float(rows["LAI-Net", "f1"]["delta"]) == pytest.approx(1.0)
    assert rows["PL-Marker", "f1"]["delta"] == ""


def test_representations_against_f1_speed_and_memory(trained: Any, benchmark_file: Path) -> None:
    table = compute_table(read_results(*trained(STUDY)).cells, "representations", read_speeds(benchmark_file))
    assert (table.slug, table.heading) == (
        "table_representations",
        "Four ways to represent a span (Eq. 1 to 4)",
    )
    assert table.grid.groups == (("F1", 1), ("Sentences/s", 1), ("Peak memory (MiB)", 1))
    annotate, enumerated = (table_row(table, level, "NER", "f1") for level in ("annotate", "enumerate"))
    assert (annotate.mean, annotate.best) == (pytest.approx(60.0), True)
    assert enumerated.mean == pytest.approx(59.0)
    assert table_row(table, "vanilla", "NER", "f1").mark == "missing"
    speeds = [row.mean for row in table.rows if row.metric == "sentences_per_second"]
    assert speeds == [60.0, None, 18.0, 16.0]  # without a graph, as the F1
    memory = [row for row in table.rows if row.metric == "peak_mib"]
    assert [(row.level, row.mean, row.best) for row in memory] == [
        ("vanilla", 100.0, True), ("marker", None, False), ("enumerate", 190.0, False),
        ("annotate", 200.0, False),
    ]  # fmt: skip
    scored, fastest, smallest = (note for note in table.notes if note.startswith("Bold"))
    assert "of those with as many seeds as planned" in scored
    assert fastest == "Bold speed: the highest per dataset and phase."
    assert smallest == "Bold peak memory: the lowest per dataset and phase."
    assert table.grid.lines[0].entries[0] == Entry("not planned")
    assert table.grid.lines[1].entries[1] == Entry("not measured")


def test_a_comparison_is_tested_once(trained: Any, benchmark_file: Path) -> None:
    """Table 4 tests the methods; as representations they are shown, not tested, nor told in words."""
    tables = compute_tables(read_results(*trained(STUDY)).cells, read_speeds(benchmark_file))
    (shown,) = [table for table in tables if table.number == "representations"]
    assert {(row.delta, row.p, row.is_base) for row in shown.rows} == {(None, None, False)}
    said = findings([row for table in tables for row in table.rows])
    assert len(said) == 2
    assert not any("Representation" in sentence for sentence in said)


def test_as_levels_of_a_factor_representations_are_tested_with_their_graph(
    trained: Any, benchmark_file: Path
) -> None:
    levels = 'representation = ["enumerate", "annotate"]\n'
    study = STUDY[: STUDY.index("model =")] + levels
    table = compute_table(read_results(*trained(study)).cells, "representations", read_speeds(benchmark_file))
    assert table_row(table, "enumerate", "NER", "f1").p == pytest.approx(1.0)
    assert table_row(table, "annotate", "NER", "sentences_per_second").mean == 15.0
    assert table_row(table, "enumerate", "NER", "sentences_per_second").mark == "missing"
    assert {row.metric for row in table.rows} == {"f1", "sentences_per_second"}, "no memory of these"


def test_without_a_benchmark_there_is_neither(trained: Any) -> None:
    cells = read_results(*trained(STUDY)).cells
    assert [table.number for table in compute_tables(cells)] == ["1", "4"]
    assert left_out(cells, (), ()) == [
        "Table 2 (GCN layers, attention heads and entity filter): the study does not vary it.",
        "Table 5 (The attention mask): the study does not vary it.",
        "Table 3 (inference speed): no speed benchmark was given (--speed).",
        "Four ways to represent a span: no speed benchmark was given (--speed).",
    ]


def test_tables_that_would_show_nothing_are_left_out_with_the_reason(
    trained: Any, benchmark_file: Path
) -> None:
    deeper = ALONE.replace('"demo-ner"', '"demo-ner"\nset = { "encoder.num_layers" = 3 }')
    ledger, study = trained(deeper.replace(', "w/o 2nd", "w/o 1st"', ""))
    cells, speeds = read_results(ledger, study).cells, read_speeds(benchmark_file)
    assert [table.number for table in compute_tables(cells, speeds)] == ["1", "4"]
    assert left_out(cells, speeds, ()) == [
        "Table 2 (GCN layers, attention heads and entity filter): the study does not vary it.",
        "Table 5 (The attention mask): the study does not vary it.",
        "Table 3 (inference speed): speed of these settings was not measured.",
        "Four ways to represent a span: the study does not vary it.",
    ]
    page = ledger.parent / "out" / "index.html"
    write_report(str(study), ledger, page.parent, speed=benchmark_file)
    text = page.read_text(encoding="utf-8")
    assert "Table 3 (inference speed): speed of these settings was not measured." in text
    assert "Speed against F1: fewer than three speeds" in text


def test_imported_scores_have_a_speed_where_a_run_tells_their_settings(
    trained: Any, benchmark_file: Path, tmp_path: Path
) -> None:
    """Their factor columns say neither layers nor precision; the same config_id as a run's says all."""
    ledger, study = trained(ALONE)
    speeds = read_speeds(benchmark_file)
    with Ledger.open(ledger) as opened:
        long = bytes(long_to_csv(long_table(opened, load_study(study)))).decode()
    rows = list(csv.DictReader(io.StringIO(long)))
    for row in rows:
        row["trial_id"], row["seed"] = f"other-{row['trial_id']}", str(int(row["seed"]) + 10)
        row["epochs"] = ""  # none were recorded
    table, alone = tmp_path / "long.csv", tmp_path / "alone.sqlite"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for path in (ledger, alone):
        with Ledger.open(path) as opened:
            import_csv(table, opened)
    grown = compute_table(read_results(ledger, study).cells, "3", speeds)
    assert table_row(grown, "LAI-Net", "NER", "f1").n == 6
    assert table_row(grown, "LAI-Net", "NER", "sentences_per_second").mean == 15.0
    cells = read_results(alone, study).cells
    assert "3" not in {table.number for table in compute_tables(cells, speeds)}
    assert left_out(cells, speeds, ())[-2].endswith(
        "imported rows do not say all settings on which speed depends."
    )
    assert analysis.table3(analysis.load(ledger, study), benchmark_file)["mean"].notna().any()
    with pytest.raises(InputError, match="imported rows do not say all settings on which speed depends"):
        analysis.table3(analysis.load(alone, study), benchmark_file)


def test_the_report_has_them_and_their_figure(trained: Any, benchmark_file: Path, tmp_path: Path) -> None:
    ledger, study = trained(STUDY)
    out = tmp_path / "out"
    slow = benchmark_file.read_text(encoding="utf-8").replace(",fp32,20,", ",fp32,10,")
    benchmark_file.write_text(slow, encoding="utf-8")  # so that three speeds can be told apart
    written = write_report(str(study), ledger, out, speed=benchmark_file)
    assert {"table3.csv", "table_representations.tex", "figure_speed.svg"} <= set(written.files)
    assert set(pd.read_csv(out / "table_representations.csv")["table"]) == {"representations"}


def test_the_page_has_table_1s_differences_not_table_3s(
    trained: Any, benchmark_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Table 3 shows the same cells, with PL-Marker as their base."""
    monkeypatch.setattr("analysis.report.draw_all", lambda _: ())
    ledger, study = trained(STUDY)
    page = compose_report(str(study), ledger, speed=benchmark_file).files["index.html"].decode()
    assert "<li>NER, Model PL-Marker: −1.00 points of F1" in page
    assert "<li>NER, Model LAI-Net:" not in page


def test_a_benchmark_of_other_datasets_is_refused(
    imported: Any, result_row: Any, benchmark_file: Path, tmp_path: Path
) -> None:
    paths = imported(STUDY.replace("SciERC", "mine"), [result_row(0.6, dataset="mine")])
    with pytest.raises(InputError, match=r"speed\.csv: has no inference speed on mine; leave it out"):
        write_report(str(paths.study), paths.ledger, tmp_path / "out", speed=benchmark_file)


def test_imported_rows_join_their_representation(imported: Any, result_row: Any) -> None:
    """A row that says none means the one with annotations or, without them, enumerated candidates."""
    levels = ("vanilla", "marker", "enumerate", "annotate")
    study = ALONE.replace('method = ["LAI-Net", "w/o 2nd", "w/o 1st"]', f"representation = {list(levels)}")
    bare = {"annotations": "false"}
    rows = [
        result_row(0.60),
        result_row(0.50, **bare),
        result_row(0.40, representation="vanilla", entity_filter="true", **bare),
    ]
    table = compute_table(imported(study, rows).cells, "representations")
    means = {level: table_row(table, level, "NER", "f1").mean for level in levels}
    assert means == pytest.approx({"vanilla": 40.0, "marker": None, "enumerate": 50.0, "annotate": 60.0})
    assert table_row(table, "vanilla", "NER", "f1").delta == pytest.approx(-20.0)
    assert "mean difference to the base" in " ".join((*table.caption, *table.notes))

"""The report's folder: what is in it, that it repeats byte for byte, and that names cannot break out."""

import hashlib
import html
import json
import math
import os
import pickle
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from typer.testing import CliRunner

import analysis
import lai_net
from analysis.__main__ import app, main
from analysis.report import compose_report
from analysis.retrain import verify_command
from lai_net.errors import InputError
from tests.reporting import write_report
from tune.ledger.ledger import Ledger
from tune.spec.study import load_study

STUDY = """
name = "small"
seeds = [1, 2]
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "demo-ner"
set = {{ "encoder.name" = "<script>alert(1)</script> & co" }}
[datasets.re]
preset = "demo-re"
[factors]
{factors}
"""
LAYERS = "gcn_layers = [0, 1, 2]"
METHODS = 'method = ["LAI-Net", "w/o 2nd"]'


@pytest.fixture
def make_paths(imported: Any, result_row: Any) -> Any:
    rows = []
    for seed, f1 in ((1, 0.6012345), (2, 0.5898765), (5, 0.61)):
        rows += [result_row(f1, seed=seed, encoder="<script>alert(1)</script> & co")]
        rows += [result_row(f1 - 0.01 * seed, seed=seed, gcn_layers=0, gcn_heads="")]
    return lambda *factors: imported(STUDY.format(factors="\n".join(factors)), rows)


@pytest.fixture
def paths(make_paths: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Without figures, which take most of the time."""
    monkeypatch.setattr("analysis.report.draw_all", lambda _: ())
    return make_paths(METHODS)


def test_every_number_equals_that_of_pandas(paths: Any, tmp_path: Path) -> None:
    write_report(str(paths.study), paths.ledger, tmp_path / "out")
    long = pd.read_csv(tmp_path / "out" / "long.csv")
    table = pd.read_csv(tmp_path / "out" / "table4.csv")
    by_level = {
        level: long[long["gcn_layers"] == layers].set_index("seed")["f1"] * 100
        for level, layers in (("LAI-Net", 1), ("w/o 2nd", 0))
    }
    rows = table[(table["task"] == "NER") & (table["metric"] == "f1")].set_index("level")
    for level, scores in by_level.items():
        assert rows.loc[level, "n"] == 3
        assert math.isclose(rows.loc[level, "mean"], scores.mean(), abs_tol=1e-9)
        assert math.isclose(rows.loc[level, "std"], scores.std(), abs_tol=1e-9)
    delta = (by_level["w/o 2nd"] - by_level["LAI-Net"]).mean()
    assert math.isclose(rows.loc["w/o 2nd", "delta"], delta, abs_tol=1e-9)


def test_two_processes_write_the_same_bytes(make_paths: Any, tmp_path: Path) -> None:
    paths = make_paths(LAYERS, METHODS)
    command = [sys.executable, "-m", "analysis", "report", str(paths.study), "--ledger", str(paths.ledger)]
    started = [
        subprocess.Popen(
            [*command, "--out", str(tmp_path / name)], env=os.environ | {"PYTHONHASHSEED": name},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("1", "2")
    ]  # fmt: skip
    for process in started:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        assert "index.html" in out
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("1", "2")
    )
    assert first == second
    assert set(first) >= {"table2.csv", "table4.tex", "figure_a1.svg", "index.html", "long.csv"}
    assert "table5.csv" not in first
    assert all(str(tmp_path).encode() not in content for content in first.values())


def test_manifest_names_every_file_and_where_it_came_from(paths: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_report(str(paths.study), paths.ledger, out)
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["study"]["sha256"] == hashlib.sha256(paths.study.read_bytes()).hexdigest()
    assert set(manifest["files"]) == {path.name for path in out.iterdir()} - {"manifest.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    assert manifest["imported_rows"] == 6
    assert manifest["trials"] == []
    assert manifest["code"].keys() == {"commit", "dirty"}
    assert manifest["speed"] is None


def test_the_manifest_follows_what_was_read_of_the_ledger(paths: Any, tmp_path: Path) -> None:
    digests = []
    for _ in range(2):
        write_report(str(paths.study), paths.ledger, tmp_path / "out")
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
        digests.append(manifest["ledger"]["sha256"])
        with Ledger.open(paths.ledger) as ledger:
            ((key, row), *_) = ledger.imported().items()
            ledger.record_imported({key: row | {"f1": 0.123}})
    assert digests[0] != digests[1]


def test_the_page_escapes_names_and_needs_no_network(paths: Any, tmp_path: Path) -> None:
    write_report(str(paths.study), paths.ledger, tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page
    assert "http://" not in page
    assert "https://" not in page


def test_the_page_says_in_words_what_is_there(paths: Any, tmp_path: Path) -> None:
    write_report(str(paths.study), paths.ledger, tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Of 4 cells 2 have as many seeds as planned, 0 fewer, 2 none." in page
    assert "SciERC NER, Method: best is “LAI-Net”: F1 60.04 ± 1.01 (n = 3), the base; too few seeds" in page


def test_the_demo_without_results_is_reported_as_missing(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    Ledger.open(ledger).close()
    written = write_report("demo", ledger, tmp_path / "out")
    assert written.progress == "Nothing is done yet: all 36 cells are missing."
    table = pd.read_csv(tmp_path / "out" / "table5.csv")
    assert set(table["mark"]) == {"missing"}
    assert table["n"].eq(0).all()


def test_a_table_that_the_study_lost_does_not_stay_behind(make_paths: Any, tmp_path: Path) -> None:
    paths = make_paths(LAYERS, METHODS)
    out = tmp_path / "out"
    write_report(str(paths.study), paths.ledger, out)
    paths.study.write_text(STUDY.format(factors=METHODS), encoding="utf-8")
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    write_report(str(paths.study), paths.ledger, out)
    names = {path.name for path in out.iterdir()}
    assert "table4.csv" in names
    assert "notes.txt" in names
    assert not {"table2.csv", "figure_a1.png"} & names


def test_a_ledger_that_is_not_there_leaves_a_report_as_it_is(paths: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_report(str(paths.study), paths.ledger, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(InputError, match=r"mistyped\.sqlite: there is no such ledger"):
        write_report(str(paths.study), tmp_path / "mistyped.sqlite", out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(
    "manifest", [None, "{}", "[]", "no json", '{"command": "make", "files": {"table4.csv": ""}}']
)
def test_files_that_no_report_wrote_are_neither_overwritten_nor_removed(
    paths: Any, tmp_path: Path, manifest: str | None
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "table4.csv").write_text("mine", encoding="utf-8")
    if manifest is not None:
        (out / "manifest.json").write_text(manifest, encoding="utf-8")
    with pytest.raises(
        InputError, match=r"out: has (table4\.csv|manifest\.json), which no report wrote to its end"
    ):
        write_report(str(paths.study), paths.ledger, out)
    assert (out / "table4.csv").read_text(encoding="utf-8") == "mine"


def test_a_file_put_beside_a_report_is_not_overwritten(make_paths: Any, tmp_path: Path) -> None:
    paths = make_paths(METHODS)
    out = tmp_path / "out"
    write_report(str(paths.study), paths.ledger, out)
    (out / "table5.csv").write_text("mine", encoding="utf-8")
    paths.study.write_text(STUDY.format(factors='mask = ["Inv.", "Full"]'), encoding="utf-8")
    with pytest.raises(InputError, match=r"out: has table5\.csv, which no report wrote"):
        write_report(str(paths.study), paths.ledger, out)
    assert (out / "table5.csv").read_text(encoding="utf-8") == "mine"
    assert (out / "table4.csv").exists()


def test_page_and_manifest_say_what_to_be_careful_about(
    imported: Any, result_row: Any, tmp_path: Path
) -> None:
    rows = [
        result_row(0.6, encoder="other", commit="abc"),
        result_row("", seed=2, trial_id="t2", status="failed"),
        result_row(0.5, gcn_layers=0, gcn_heads="", commit="def-dirty"),
    ]
    paths = imported(STUDY.format(factors=METHODS), rows)
    written = write_report(str(paths.study), paths.ledger, tmp_path / "out")
    assert written.progress.endswith(" 1 trial failed.")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["failures"] == {"t2": "SciERC NER, method LAI-Net, seed 2: no error was recorded"}
    assert manifest["commits"] == {"abc": 1, "def-dirty": 1}
    assert len(manifest["cautions"]) == 4
    assert page.count("<li>") >= 4
    assert "Trial t2 failed" in page
    (unmatched,) = written.unmatched
    assert unmatched.startswith("1 of 3 imported rows matches no cell: 1 by encoder")
    assert unmatched in html.unescape(page)
    arguments = ["report", str(paths.study), "--ledger", str(paths.ledger), "--out", str(tmp_path / "out")]
    assert unmatched in CliRunner().invoke(app, arguments).stdout.splitlines()


def test_a_file_in_the_place_of_the_folder_is_refused(paths: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"out: cannot be written \(.*; name another folder"):
        write_report(str(paths.study), paths.ledger, out)
    assert out.read_text(encoding="utf-8") == "mine"


def test_the_notebook_functions_give_the_same_numbers(make_paths: Any, tmp_path: Path) -> None:
    paths = make_paths(LAYERS, METHODS)
    write_report(str(paths.study), paths.ledger, tmp_path / "out")
    cells = analysis.load(paths.ledger, paths.study)
    written = pd.read_csv(tmp_path / "out" / "table2.csv", dtype={"table": str, "level": str})
    assert analysis.table2(cells)["mean"].tolist() == pytest.approx(written["mean"].tolist(), nan_ok=True)
    axes = analysis.figure_a1(cells)
    assert isinstance(axes, Axes)
    assert [ax.get_title() for ax in axes.figure.axes] == ["NER", "RE", "RE+"]
    assert axes is axes.figure.axes[0]
    families = analysis.table_representations(cells)
    annotate = families[(families["level"] == "annotate") & (families["task"] == "NER")]
    assert annotate["mean"].iloc[-1] == pytest.approx(100 * (0.5912345 + 0.5698765 + 0.56) / 3)
    overall = analysis.table1(cells)
    ours = overall[(overall["level"] == "LAI-Net") & (overall["task"] == "NER") & (overall["metric"] == "f1")]
    assert ours["mean"].item() == pytest.approx(100 * (0.6012345 + 0.5898765 + 0.61) / 3)


def test_jupyter_shows_the_whole_figure_and_what_was_changed(paths: Any) -> None:
    """It asks an object for `_repr_png_`; the axes are what a cell ends with, the figure what is changed."""
    axes: Any = analysis.figure_a1(analysis.load(paths.ledger, paths.study))
    figure = axes.figure
    shown, size = axes._repr_png_()
    assert shown.startswith(b"\x89PNG")
    assert size == {"width": 690, "height": round(100 * figure.get_size_inches()[1])}
    assert figure._repr_png_() == figure.axes[-1]._repr_png_() == (shown, size)
    axes.set_title("mine")
    assert figure._repr_png_()[0] != shown
    assert pickle.loads(pickle.dumps(figure))._repr_png_() == figure._repr_png_()


def test_counts_of_seeds_are_whole_numbers(make_paths: Any) -> None:
    """Though a cell that does not exist has none: relations are not filtered."""
    paths = make_paths(LAYERS, 'entity_filter = ["with", "without"]')
    counts = analysis.table2(analysis.load(paths.ledger, paths.study))["n"]
    assert counts.dtype == "Int64"
    assert set(counts.dropna()) == {0, 3}
    assert counts.isna().any()


def test_frames_have_plain_columns(make_paths: Any, tmp_path: Path) -> None:
    paths = make_paths(LAYERS, METHODS)
    cells = analysis.load(paths.ledger, paths.study)
    cells.to_parquet(tmp_path / "cells.parquet")
    again = pd.read_parquet(tmp_path / "cells.parquet")
    for make in (analysis.table1, analysis.table2, analysis.table4, analysis.table_representations):
        table = make(cells)
        assert table.equals(make(again))
        assert set(table.loc[:, "mean":"p_adjusted"].dtypes) == {np.dtype(float)}
        assert table["paper"].dtype == float


def test_a_frame_may_go_through_a_csv_file(make_paths: Any, tmp_path: Path) -> None:
    """Pandas reads numbers of tables and levels as numbers then, and what is empty as NaN."""
    paths = make_paths(LAYERS)
    cells = analysis.load(paths.ledger, paths.study)
    cells.to_csv(tmp_path / "cells.csv", index=False)
    again = pd.read_csv(tmp_path / "cells.csv")
    assert again["table"].dtype == again["level"].dtype == int
    for make in (analysis.table1, analysis.table2):
        assert make(cells).equals(make(again))
    titles = [[ax.get_title() for ax in analysis.figure_a1(frame).figure.axes] for frame in (cells, again)]
    assert titles[0] == titles[1] == ["NER", "RE", "RE+"]


def test_tab_completes_the_names() -> None:
    assert {"load", "table2"} <= set(dir(analysis))
    assert {"LaiNet", "__version__"} <= set(dir(lai_net))


def test_a_ledger_without_a_study_is_every_result_of_it(paths: Any) -> None:
    frame = analysis.load(paths.ledger)
    assert (len(frame), set(frame["dataset"]), frame["f1"].max()) == (6, {"SciERC"}, 0.61)
    with pytest.raises(InputError, match=r"load\(ledger, study\)"):
        analysis.table2(frame)
    with pytest.raises(InputError, match="no cells"):
        analysis.figure_a1(frame)


def test_the_printed_lai_verify_names_a_corpus_that_the_study_leaves_open(tmp_path: Path) -> None:
    study = tmp_path / "open.toml"
    study.write_text(STUDY.format(factors=METHODS))
    command = verify_command(load_study(study), tmp_path / "l.sqlite")
    assert command.endswith("--trials 2 --corpus SciERC=CORPUS")


@pytest.mark.parametrize(
    ("study", "ledger", "typed"),
    [
        ("demo", "runs/l.sqlite", ("demo", "runs/l.sqlite")),
        ("studies/mine.toml", "l.sqlite", ("studies/mine.toml", "l.sqlite")),
        ("{here}/studies/mine.toml", "{here}/l.sqlite", ("studies/mine.toml", "l.sqlite")),
        ("{here}/studies/mine.toml", "{elsewhere}/l.sqlite", ("studies/mine.toml", "l.sqlite")),
    ],
)
def test_the_printed_lines_are_those_to_type(
    study: str, ledger: str, typed: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run as printed: `lai verify` finds study and ledger; here there is no trial in it to train again."""
    here = tmp_path / "work"
    for folder in (here / "studies", here / "runs"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setattr("analysis.report.draw_all", lambda _: ())
    text = STUDY.format(factors=METHODS).replace("<script>alert(1)</script> & co", "minilm")
    Path("studies/mine.toml").write_text(
        text.replace('"SciERC"', '"SciERC"\ncorpus = "embedded"'), encoding="utf-8"
    )
    place = Path(ledger.format(here=here, elsewhere=tmp_path))
    Ledger.open(place).close()
    write_report(study.format(here=here), place, Path("out"))
    manifest = json.loads(Path("out/manifest.json").read_text(encoding="utf-8"))
    assert manifest["command"] == f"lai report {typed[0]} --ledger {typed[1]} --out DIR"
    assert manifest["verify"] == f"lai verify {typed[0]} --ledger {typed[1]} --trials 2"
    page = Path("out/index.html").read_text(encoding="utf-8")
    assert f"<code>{manifest['verify']}</code>" in page
    assert str(tmp_path) not in page
    if not Path(typed[1]).exists():
        return  # it lies elsewhere, so its name alone is printed
    result = CliRunner().invoke(app, shlex.split(manifest["verify"])[1:])
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"{typed[1]}: holds no completed trial of study {typed[0]};")
    assert (
        CliRunner().invoke(app, shlex.split(manifest["command"])[1:], catch_exceptions=False).exit_code == 0
    )


def test_the_printed_report_asks_for_the_interval_that_was_asked_for(tmp_path: Path) -> None:
    """The study's own needs no flag; another, be it the default, does."""
    study = tmp_path / "mine.toml"
    study.write_text(f'{STUDY.format(factors=METHODS)}[report]\ninterval = "bca"\n', encoding="utf-8")
    Ledger.open(tmp_path / "ledger.sqlite").close()
    for interval, flag in ((None, ""), ("t", " --interval t")):
        files = compose_report(str(study), tmp_path / "ledger.sqlite", interval=interval).files
        assert json.loads(files["manifest.json"])["command"].endswith(f"--out DIR{flag}")


def test_a_port_without_a_server_is_refused(paths: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["report", str(paths.study), "--out", "out", "--port", "8000"])
    assert raised.value.code == 2
    assert capsys.readouterr().err == "--port is of --serve, which is not given; leave it out\n"

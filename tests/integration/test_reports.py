"""Committed reports: each is what its own long table gives; studies on SciERC meet their bars."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

from lai_net.corpora.check import check_corpus
from tests.conftest import DATA
from tests.reporting import write_report
from tune.ledger.ledger import Ledger
from tune.results.importing import import_csv

REPORTS = Path(__file__).parents[2] / "reports"
BENCHMARKS = REPORTS.parent / "docs" / "benchmarks"
STUDIES = REPORTS.parent / "tune" / "studies"
OF_SPEED = {"table3", "table_representations"}
FOLDERS = sorted(path.parent for path in REPORTS.glob("*/manifest.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_no_file_was_changed_since_it_was_written(folder: Path) -> None:
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }
    assert found == listed


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_study_is_still_what_it_was(folder: Path) -> None:
    study = json.loads((folder / "manifest.json").read_text())["study"]
    assert hashlib.sha256((STUDIES / study["file"]).read_bytes()).hexdigest() == study["sha256"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_tables_follow_from_the_long_table(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.report.draw_all", lambda material: [])  # what takes the time
    ledger = tmp_path / "ledger.sqlite"
    with Ledger.open(ledger) as opened:
        import_csv(folder / "long.csv", opened)
    speed = json.loads((folder / "manifest.json").read_text())["speed"]
    write_report(folder.name, ledger, tmp_path / "report", speed=speed and BENCHMARKS / speed["file"])
    tables, again = (
        sorted(path.name for path in place.glob("table*") if path.stem not in OF_SPEED)
        for place in (folder, tmp_path / "report")
    )
    assert tables == again
    assert {Path(name).suffix for name in tables} == {".csv", ".md", ".tex"}
    for name in tables:
        assert (tmp_path / "report" / name).read_bytes() == (folder / name).read_bytes(), name
    # A long table says neither layers nor precision, so what is imported has no speed beside it.
    assert not (tmp_path / "report" / "table3.csv").exists()


@pytest.mark.parametrize(
    "path",
    sorted(path for name in OF_SPEED for path in REPORTS.glob(f"*/{name}.csv")),
    ids=lambda path: str(path.parent.name),
)
def test_the_scores_beside_a_speed_are_those_of_the_other_tables(path: Path) -> None:
    """Of the same model or representation; without a graph the methods of Table 4 are two of these."""
    shown = pd.read_csv(path)
    shown = shown[(shown["metric"] == "f1") & shown["mean"].notna()]
    if path.stem == "table3":
        table, names = pd.read_csv(path.parent / "table1.csv"), {}
    elif (path.parent / "table4.csv").exists():
        table = pd.read_csv(path.parent / "table4.csv")
        names = {"w/o 1st": "enumerate", "w/o 2nd": "annotate"}
    else:
        table, names = _by_representation(pd.read_csv(path.parent / "long.csv")), {}
    known = {
        (row["task"], names.get(row["level"], row["level"])): row["mean"]
        for row in table.to_dict("records")
        if row["metric"] == "f1"
    }
    assert len(shown)
    for row in shown.to_dict("records"):
        assert abs(row["mean"] - known[row["task"], row["level"]]) < 1e-9, row


def _by_representation(long: pd.DataFrame) -> pd.DataFrame:
    view = long[(long["split"] == "test") & (long["protocol"] == "pure") & (long["averaging"] == "micro")]
    view = view[view["entities"] == "predicted"]
    means = 100 * view.groupby(["task", "representation"])["f1"].mean()
    return means.rename("mean").reset_index().rename(columns={"representation": "level"}).assign(metric="f1")


def test_the_first_study_on_scierc_meets_its_bars() -> None:
    rows = pd.read_csv(REPORTS / "scierc-first" / "long.csv")
    is_base = (
        (rows["annotations"].astype(str).str.lower() == "true")
        & (rows["attention_mask"] == "inv")
        & (rows["gcn_layers"] == rows["phase"].map({"NER": 1, "RE": 2}))
        & (rows["gcn_heads"] == 4)
        & (rows["entity_filter"].astype(str).str.lower() != "false")
    )
    view = rows[
        is_base & (rows["split"] == "dev") & (rows["protocol"] == "pure") & (rows["averaging"] == "micro")
    ]
    f1 = view.groupby(["task", "entities"])["f1"]
    assert set(f1.count()) == {8}, "eight seeds"
    assert f1.min()["NER", "predicted"] >= 0.60
    assert f1.min()["RE", "gold"] >= 0.50
    assert f1.min()["RE", "predicted"] >= 0.26


def test_six_layers_on_scierc_meet_their_bars() -> None:
    rows = pd.read_csv(REPORTS / "scierc-six-layer" / "long.csv")
    view = rows[(rows["split"] == "test") & (rows["protocol"] == "pure") & (rows["averaging"] == "micro")]
    f1 = view.groupby(["task", "entities"])["f1"]
    assert set(f1.count()) == {3}, "three seeds"
    assert f1.mean()["NER", "predicted"] >= 0.60
    assert f1.mean()["RE", "gold"] >= 0.56
    assert f1.mean()["RE", "predicted"] >= 0.30


@pytest.mark.skipif(not (DATA / "scierc").exists(), reason="SciERC is not at hand")
def test_early_filters_on_scierc_keep_the_gold_entities_of_dev() -> None:
    """After the last epoch, of all: the recall that is recorded leaves out those too long to be reached."""
    dev = check_corpus(str(DATA / "scierc")).folds[0].splits["dev"]
    reachable = 1 - dev.oddities["long_entities"] / dev.entities
    rows = pd.concat(map(pd.read_csv, sorted(REPORTS.glob("scierc-*/curves.csv"))))
    last = rows[rows["epoch"] == rows.groupby("trial_id")["epoch"].transform("max")]
    recall = last["filter_recall"].dropna() * reachable
    assert len(recall)
    assert recall.min() >= 0.97

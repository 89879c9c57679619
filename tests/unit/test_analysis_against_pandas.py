"""A long table with known numbers, imported and reported: every number of every table as pandas has it."""

import itertools
import math
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.reporting import write_report

STUDY = """
name = "s"
seeds = [1, 2, 3, 4, 5]
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "demo-ner"
[datasets.re]
preset = "demo-re"
[factors]
model = ["LAI-Net", "PL-Marker"]
gcn_layers = [0, 1, 2]
entity_filter = ["with", "without"]
method = ["LAI-Net", "w/o 2nd", "w/o 1st"]
mask = ["Inv.", "Full"]
"""
CHANGES: dict[tuple[str, str], dict[str, Any]] = {
    ("gcn_layers", "0"): {"gcn_layers": 0, "gcn_heads": ""},
    ("entity_filter", "without"): {"entity_filter": "false"},
    ("method", "w/o 2nd"): {"gcn_layers": 0, "gcn_heads": ""},
    ("method", "w/o 1st"): {"gcn_layers": 0, "gcn_heads": "", "annotations": "false"},
    ("mask", "Full"): {"attention_mask": "full"},
    ("model", "PL-Marker"): {"model": "PL-Marker"},
}
BASES = {"entity_filter": "with", "method": "LAI-Net", "mask": "Inv.", "model": "LAI-Net"}
"""Of the factors whose base is the same in both phases."""
SCORES = ("precision", "recall", "f1")


@pytest.fixture
def long(result_row: Any) -> pd.DataFrame:
    """NER and RE rows of the base (1 and 2 layers) and of each change; seeds are missing here and there."""
    rng = random.Random(5)
    rows: list[dict[str, Any]] = []
    unique = {tuple(sorted(change.items())) for change in CHANGES.values()} | {()}
    for change, task, seed in itertools.product(sorted(unique, key=str), ("NER", "RE", "RE+"), range(1, 8)):
        phase = {"phase": "NER"} if task == "NER" else {"phase": "RE", "gcn_layers": 2, "entity_filter": ""}
        values = phase | {"task": task, "seed": seed, "model": "LAI-Net"} | dict(change)
        if "entity_filter" in dict(change) and task != "NER":
            continue
        scores = {name: rng.uniform(0.3, 0.8) for name in SCORES}
        if rng.random() < 0.85:
            rows.append(result_row(0.0, **values) | scores)
    return pd.DataFrame(rows)


def test_every_number_is_that_of_pandas(
    long: pd.DataFrame, imported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.report.draw_all", lambda material: [])  # what takes the time
    paths = imported(STUDY, long.to_dict("records"))
    write_report(str(paths.study), paths.ledger, tmp_path / "out")
    compared = [0, 0]
    for number in (1, 2, 4, 5):
        frame = pd.read_csv(tmp_path / "out" / f"table{number}.csv", dtype={"level": str})
        for row in frame.to_dict("records"):
            is_base = row["level"] == BASES.get(row["factor"], "1" if row["task"] == "NER" else "2")
            change = {} if is_base else CHANGES.get((row["factor"], row["level"]))
            if change is not None and row["mark"] != "dash":
                compare(row, None if is_base else scores(long, row, {}), scores(long, row, change))
                compared[is_base] += 1
    # Tasks and metrics; the filter exists in NER alone.
    assert compared == [(5 * 3 + 1) * 3, (4 * 3 + 1) * 3]


def scores(long: pd.DataFrame, row: dict[str, Any], change: dict[str, Any]) -> pd.Series:
    """Percent by seed of the rows of a cell."""
    wanted = {"gcn_layers": 1 if row["task"] == "NER" else 2, "annotations": "true", "attention_mask": "inv"}
    wanted |= {"entity_filter": "true" if row["task"] == "NER" else ""}
    wanted |= change
    part = long[long["task"] == row["task"]]
    part = part[part["model"] == wanted.pop("model", "LAI-Net")]
    for name, value in wanted.items():
        part = part[part[name].astype(str) == str(value)]
    return 100 * part.set_index("seed")[row["metric"]]


def compare(row: dict[str, Any], base: pd.Series | None, own: pd.Series) -> None:
    expected = {"n": len(own), "mean": own.mean(), "std": own.std()}
    if base is None:
        assert math.isnan(row["delta"])
    else:
        expected["delta"] = (own - base).dropna().mean()
    for name, value in expected.items():
        assert math.isclose(row[name], value, abs_tol=1e-9), (row, name, value)

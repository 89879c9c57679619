"""The long results table."""

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest

from lai_net.active_settings import active_settings
from lai_net.config import TrialConfig
from lai_net.settings import with_settings
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow, TrialRow
from tune.planning.plan import make_plan
from tune.results.table import LONG_COLUMNS, ResultRow, long_table, to_csv, to_json, write_parquet
from tune.spec.baseline import as_pl_marker
from tune.spec.identity import SEMANTICS, evaluation_id, spec_id
from tune.spec.study import load_study

CONTRACT = (
    "trial_id, config_id, dataset, phase, task, split, seed, gcn_layers, gcn_heads, entity_filter, "
    "attention_mask, annotations, precision, recall, f1, status, epochs, wall_s, device, commit, fold, "
    "entities, protocol, averaging, selection, encoder, model, representation, upstream_trial_id, origin"
)
PROVENANCE = {"device": "cpu", "commit": "abc"}


def score(task: str, f1: float) -> dict[str, object]:
    return {"task": task, "protocol": "pure", "averaging": "micro", "precision": 0.5, "recall": 1.0, "f1": f1}


def register(
    ledger: Ledger, name: str, config: TrialConfig, *, dataset: str = "demo", seed: int = 1
) -> TrialRow:
    row = TrialRow(
        trial_id=name, config_id=f"{dataset}-{spec_id(config)}", spec_id=spec_id(config), dataset=dataset,
        phase=config.phase, fold=None, seed=seed, config=active_settings(config), corpus_id=dataset,
        encoder_id="encoder",
    )  # fmt: skip
    ledger.register_trials([row])
    return row


def finish(ledger: Ledger, name: str, *evaluations: EvaluationRow, status: str = "completed") -> None:
    ledger.start_attempt(name, 1, PROVENANCE)
    ledger.record_epoch(name, 1, 1, {"loss": 1.0, "wall_s": 2.5})
    ledger.finish_attempt(name, 1, status, wall_s=9.0, evaluations=evaluations)  # type: ignore[arg-type]


@pytest.fixture
def bases() -> dict[str, TrialConfig]:
    plan = make_plan(load_study("demo"))
    return {cell.phase: cell.config for cell in plan.cells if cell.is_base and cell.config is not None}


@pytest.fixture
def ledger(tmp_path: Path, bases: dict[str, TrialConfig]):
    """One NER and one RE trial of the demo study, joined; more that are unfinished or foreign."""
    with Ledger.open(tmp_path / "ledger") as opened:
        register(opened, "n1", bases["NER"])
        register(opened, "r1", bases["RE"])
        finish(opened, "n1", EvaluationRow(
            evaluation_id=evaluation_id("n1", None, "test", "predicted"), trial_id="n1",
            upstream_trial_id=None, split="test", entities="predicted", scores=[score("NER", 0.6)],
        ))  # fmt: skip
        finish(
            opened, "r1",
            EvaluationRow(evaluation_id=evaluation_id("r1", "n1", "test", "predicted"), trial_id="r1",
                          upstream_trial_id="n1", split="test", entities="predicted",
                          scores=[score("RE", 0.4), score("RE+", 0.3)]),
            EvaluationRow(evaluation_id=evaluation_id("r1", None, "dev", "gold"), trial_id="r1",
                          upstream_trial_id=None, split="dev", entities="gold",
                          scores=[score("RE", 0.7)]),
        )  # fmt: skip
        yield opened


def test_columns_are_the_contract() -> None:
    assert ", ".join(LONG_COLUMNS) == CONTRACT


def test_a_row_per_evaluation_and_task_with_all_values(ledger: Ledger, bases: dict[str, TrialConfig]) -> None:
    rows = long_table(ledger)
    assert [(r["trial_id"], r["split"], r["entities"], r["task"], r["f1"]) for r in rows] == [
        ("n1", "test", "predicted", "NER", 0.6),
        ("r1", "dev", "gold", "RE", 0.7),
        ("r1", "test", "predicted", "RE", 0.4),
        ("r1", "test", "predicted", "RE+", 0.3),
    ]
    ner, joined = rows[0], rows[2]
    assert list(ner) == list(LONG_COLUMNS)
    expected = {
        "dataset": "demo", "phase": "NER", "seed": 1, "gcn_layers": bases["NER"].graph.layers,
        "gcn_heads": bases["NER"].graph.heads, "entity_filter": True, "attention_mask": "inv",
        "annotations": True, "precision": 0.5, "recall": 1.0, "status": "completed", "epochs": 1,
        "wall_s": 2.5, "device": "cpu", "commit": "abc", "fold": None, "protocol": "pure",
        "averaging": "micro", "selection": "dev", "encoder": bases["NER"].encoder.name, "model": "LAI-Net",
        "representation": "annotate", "upstream_trial_id": None, "origin": "run",
    }  # fmt: skip
    assert {name: ner[name] for name in expected} == expected
    assert (joined["entity_filter"], joined["upstream_trial_id"]) == (None, "n1")
    assert (joined.spec_id, joined.upstream_spec_id) == (spec_id(bases["RE"]), spec_id(bases["NER"]))


def test_values_are_empty_where_a_factor_does_not_exist(
    ledger: Ledger, bases: dict[str, TrialConfig]
) -> None:
    bare = with_settings(bases["NER"], {"graph.layers": 0, "input.annotations": False})
    register(ledger, "n2", with_settings(bare, {"input.attention_mask": "vis"}))
    finish(ledger, "n2")
    (row,) = [row for row in long_table(ledger) if row["trial_id"] == "n2"]
    assert (row["gcn_layers"], row["gcn_heads"], row["attention_mask"]) == (0, None, "inv")
    assert (row["annotations"], row["representation"]) == (False, "enumerate")


@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_the_model_is_read_off_the_settings(
    ledger: Ledger, bases: dict[str, TrialConfig], phase: str
) -> None:
    register(ledger, "p1", as_pl_marker(bases[phase]))
    finish(ledger, "p1")
    (row,) = [row for row in long_table(ledger) if row["trial_id"] == "p1"]
    assert (row["model"], row["representation"]) == ("PL-Marker", "enumerate")


@pytest.mark.parametrize("status", ["failed", "pruned", "running"])
def test_a_trial_without_scores_has_a_row_with_its_status(
    ledger: Ledger, bases: dict[str, TrialConfig], status: str
) -> None:
    register(ledger, "r2", bases["RE"], seed=2)
    assert "r2" not in {row["trial_id"] for row in long_table(ledger)}
    if status == "running":
        ledger.start_attempt("r2", 1, PROVENANCE)
    else:
        finish(ledger, "r2", status=status)
    (row,) = [row for row in long_table(ledger) if row["trial_id"] == "r2"]
    assert (row["status"], row["task"], row["f1"], row["split"]) == (status, "RE", None, None)


def test_time_is_summed_and_machines_and_code_joined_over_attempts(
    ledger: Ledger, bases: dict[str, TrialConfig]
) -> None:
    register(ledger, "n2", bases["NER"], seed=2)
    attempts = (
        {"device": "cpu", "commit": "abc", "dirty": False},
        {"device": None, "commit": None},
        {"device": "H100", "commit": "abc", "dirty": True},
    )
    for number, provenance in enumerate(attempts, 1):
        ledger.start_attempt("n2", number, provenance)
        ledger.record_epoch("n2", number, number, {"wall_s": 10.0})
        ledger.finish_attempt("n2", number, "completed" if number == 3 else "failed", wall_s=10.5)
    (row,) = [row for row in long_table(ledger) if row["trial_id"] == "n2"]
    assert (row["wall_s"], row["device"], row["commit"]) == (30.0, "cpu + H100", "abc + abc-dirty")


def test_failed_evaluation_has_a_row_a_task(ledger: Ledger) -> None:
    ledger.record_evaluation(
        EvaluationRow(evaluation_id=evaluation_id("r1", "n1", "dev", "predicted"), trial_id="r1",
                      upstream_trial_id="n1", split="dev", entities="predicted", scores=[], error="boom")
    )  # fmt: skip
    rows = [row for row in long_table(ledger, load_study("demo")) if row["status"] == "failed"]
    assert [(r["task"], r["split"], r["entities"], r["f1"]) for r in rows] == [
        ("RE", "dev", "predicted", None), ("RE+", "dev", "predicted", None),
    ]  # fmt: skip


def test_evaluations_of_other_semantics_are_left_out(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SEMANTICS, "evaluation", 2)
    assert [(r["trial_id"], r["f1"]) for r in long_table(ledger)] == [("n1", None), ("r1", None)]


def test_a_study_takes_its_own_trials_seeds_and_joins_alone(
    ledger: Ledger, bases: dict[str, TrialConfig]
) -> None:
    other = with_settings(bases["NER"], {"training.epochs": 77})
    strangers = [
        register(ledger, "n3", other),
        register(ledger, "n4", bases["NER"], seed=99),
        register(ledger, "n5", bases["NER"], dataset="another"),
    ]
    for row in strangers:
        finish(ledger, row.trial_id)
    ledger.record_evaluation(
        EvaluationRow(evaluation_id=evaluation_id("r1", "n3", "test", "predicted"), trial_id="r1",
                      upstream_trial_id="n3", split="test", entities="predicted",
                      scores=[score("RE", 0.9)])
    )  # fmt: skip
    ledger.record_imported({"a": {"dataset": "demo", "f1": 0.2}, "b": {"dataset": "SciERC", "f1": 0.3}})
    assert len(long_table(ledger)) == 4 + 3 + 1 + 2
    chosen = long_table(ledger, load_study("demo"))
    assert sorted(row["f1"] for row in chosen) == [0.2, 0.3, 0.4, 0.6, 0.7]
    assert {row["trial_id"] for row in chosen} == {"n1", "r1", None}


def test_order_does_not_depend_on_the_order_of_runs(tmp_path: Path, bases: dict[str, TrialConfig]) -> None:
    tables = []
    for turn, seeds in enumerate(([1, 2, 10], [10, 1, 2])):
        with Ledger.open(tmp_path / str(turn)) as opened:
            for seed in seeds:
                register(opened, f"n{seed}", bases["NER"], seed=seed)
                finish(opened, f"n{seed}")
            tables.append(to_csv(long_table(opened)))
    assert tables[0] == tables[1]


def test_csv_json_and_parquet_agree(ledger: Ledger, tmp_path: Path) -> None:
    rows = long_table(ledger)
    from_csv = list(csv.DictReader(io.StringIO(to_csv(rows).decode())))
    from_json = json.loads(to_json(rows))
    write_parquet(rows, tmp_path / "results.parquet")
    frame = pd.read_parquet(tmp_path / "results.parquet", dtype_backend="pyarrow")
    assert from_json == [dict(row) for row in rows]
    assert from_csv[0]["entity_filter"] == "true"
    assert from_csv[0]["fold"] == ""
    assert float(from_csv[0]["f1"]) == from_json[0]["f1"] == frame["f1"][0] == 0.6
    assert list(frame.columns) == list(from_csv[0]) == list(LONG_COLUMNS)
    assert str(frame.dtypes["fold"]) == "int64[pyarrow]"  # though all are missing


def test_parquet_of_no_rows_keeps_its_types(tmp_path: Path) -> None:
    write_parquet([], tmp_path / "empty.parquet")
    frame = pd.read_parquet(tmp_path / "empty.parquet", dtype_backend="pyarrow")
    assert (len(frame), str(frame.dtypes["f1"])) == (0, "double[pyarrow]")


def test_result_row_fills_what_is_not_given() -> None:
    row = ResultRow({"f1": 0.5, "unknown": 1})
    assert (row["f1"], row["seed"], "unknown" in row, row.spec_id) == (0.5, None, False, None)

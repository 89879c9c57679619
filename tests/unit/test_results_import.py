"""Importing long tables: defaults, normal forms, duplicates, and every refusal with its line."""

from pathlib import Path

import pytest

from lai_net.active_settings import active_settings
from lai_net.errors import InputError
from lai_net.metrics.scoring import SCORES
from tests.unit.rows import trial_row
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow, TrialRow
from tune.planning.plan import make_plan
from tune.results.csv_files import number, whole
from tune.results.importing import import_csv
from tune.results.table import LONG_COLUMNS, long_table, to_csv
from tune.spec.identity import evaluation_id
from tune.spec.study import load_study

HEADER = (
    "dataset,phase,task,split,seed,gcn_layers,gcn_heads,entity_filter,attention_mask,annotations,"
    "precision,recall,f1"
)
ROW = "SciERC,NER,NER,test,1,1,4,true,inv,true,0.7,0.6,0.65"


def write(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_least_columns_get_the_defaults_of_the_tables(tmp_path: Path, ledger: Ledger) -> None:
    assert import_csv(write(tmp_path, ROW), ledger).new == 1
    (row,) = long_table(ledger)
    assert (row["seed"], row["gcn_heads"], row["entity_filter"], row["f1"]) == (1, 4, True, 0.65)
    assert (row["status"], row["entities"], row["protocol"], row["averaging"]) == (
        "completed", "predicted", "pure", "micro",
    )  # fmt: skip
    assert (row["model"], row["origin"], row["selection"], row["trial_id"]) == (
        "LAI-Net", "imported", None, None,
    )  # fmt: skip
    assert row.spec_id is None


def test_averaging_of_ade_stays_open(tmp_path: Path, ledger: Ledger) -> None:
    import_csv(write(tmp_path, ROW.replace("SciERC", "ADE")), ledger)
    assert long_table(ledger)[0]["averaging"] is None


def test_factors_that_do_not_exist_are_emptied(tmp_path: Path, ledger: Ledger) -> None:
    import_csv(write(tmp_path, "mine,RE,RE+,dev,1,0,4,true,vis,false,,,0.5"), ledger)
    (row,) = long_table(ledger)
    assert (row["gcn_layers"], row["gcn_heads"], row["entity_filter"], row["attention_mask"]) == (
        0, None, None, "inv",
    )  # fmt: skip


def test_numbers_as_pandas_writes_them(tmp_path: Path, ledger: Ledger) -> None:
    import_csv(write(tmp_path, ROW.replace(",1,1,4,true", ",1,1.0,4.0,True")), ledger)
    (row,) = long_table(ledger)
    assert (type(row["gcn_heads"]), row["gcn_heads"], row["entity_filter"]) == (int, 4, True)


def test_duplicates_are_taken_once(tmp_path: Path, ledger: Ledger) -> None:
    assert import_csv(write(tmp_path, ROW, ROW), ledger).new == 1
    assert import_csv(write(tmp_path, ROW, ROW.replace("test,1", "test,2")), ledger).new == 1
    assert len(long_table(ledger)) == 2


def test_own_export_round_trips(tmp_path: Path, ledger: Ledger) -> None:
    import_csv(write(tmp_path, ROW, ROW.replace("test,1", "test,2")), ledger)
    text = to_csv(long_table(ledger))
    (tmp_path / "export.csv").write_bytes(text)
    assert import_csv(tmp_path / "export.csv", ledger).new == 0
    with Ledger.open(tmp_path / "second.sqlite") as second:
        assert import_csv(tmp_path / "export.csv", second).new == 2
        assert to_csv(long_table(second)) == text


def test_trials_that_the_ledger_completed_are_left_out(tmp_path: Path, ledger: Ledger) -> None:
    ledger.register_trials([trial_row(trial_id="t", dataset="SciERC")])
    path = write(tmp_path, f"t,{ROW}", header=f"trial_id,{HEADER}")
    ledger.start_attempt("t", 1, {})
    ledger.finish_attempt("t", 1, "completed")
    assert import_csv(path, ledger).new == 0


def half_finished(ledger: Ledger) -> None:
    """Of demo's trials one is completed, one failed and one running; an end-to-end evaluation failed."""
    plan = make_plan(load_study("demo"))
    rows = [
        TrialRow(trial_id=f"t{number}", config_id=trial.spec_id, spec_id=trial.spec_id, dataset="demo",
                 phase=trial.phase, fold=None, seed=trial.seed, config=active_settings(trial.config),
                 corpus_id="c", encoder_id="e")
        for number, trial in enumerate(plan.trials[:13] + plan.trials[14:16])
    ]  # fmt: skip
    ledger.register_trials(rows)
    scores = [{"task": "NER", "protocol": "pure", "averaging": "micro"} | dict.fromkeys(SCORES, 0.5)]
    done = EvaluationRow(evaluation_id=evaluation_id("t0", None, "test", "predicted"), trial_id="t0",
                         upstream_trial_id=None, split="test", entities="predicted",
                         scores=scores)  # fmt: skip
    for name in ("t0", "t1", "t2", "t14"):
        ledger.start_attempt(name, 1, {"device": "cpu"})
    ledger.finish_attempt("t0", 1, "completed", evaluations=[done])
    ledger.finish_attempt("t1", 1, "failed", error="died")
    ledger.finish_attempt("t14", 1, "completed")
    ledger.record_evaluation(
        EvaluationRow(evaluation_id=evaluation_id("t14", "t0", "test", "predicted"), trial_id="t14",
                      upstream_trial_id="t0", split="test", entities="predicted", scores=[], error="died")
    )  # fmt: skip


def test_export_of_a_half_finished_ledger_round_trips(tmp_path: Path, ledger: Ledger) -> None:
    half_finished(ledger)
    text = to_csv(long_table(ledger))
    assert [text.count(f",{status},".encode()) for status in ("completed", "failed", "running")] == [1, 3, 1]
    (tmp_path / "export.csv").write_bytes(text)
    assert import_csv(tmp_path / "export.csv", ledger).new == 0
    with Ledger.open(tmp_path / "second.sqlite") as second:
        assert import_csv(tmp_path / "export.csv", second).new == 5
        assert to_csv(long_table(second)) == text.replace(b",run\n", b",imported\n")


def test_completed_run_replaces_what_was_not_completed(tmp_path: Path, ledger: Ledger) -> None:
    header = f"trial_id,status,{HEADER}"
    running = "x,running," + ROW.replace("test", "").replace("0.7,0.6,0.65", ",,")
    failed = "x,failed," + ROW.replace("0.7,0.6,0.65", ",,")
    done = f"x,completed,{ROW}"
    for row, count in ((running, 1), (failed, 1), (done, 1), (running, 0), (failed, 0)):
        assert import_csv(write(tmp_path, row, header=header), ledger).new == count
    assert [row["status"] for row in long_table(ledger)] == ["completed"]


def test_a_run_that_was_broken_off_elsewhere_is_not_shown_beside_the_one_here(
    tmp_path: Path, ledger: Ledger
) -> None:
    running = "t0,running," + ROW.replace("SciERC", "demo").replace("test", "").replace("0.7,0.6,0.65", ",,")
    import_csv(write(tmp_path, running, header=f"trial_id,status,{HEADER}"), ledger)
    assert [row["status"] for row in long_table(ledger)] == ["running"]
    half_finished(ledger)
    assert [row["status"] for row in long_table(ledger) if row["trial_id"] == "t0"] == ["completed"]


@pytest.mark.parametrize(
    ("header", "old", "new"),
    [
        ("trial_id", "a", "b"),
        ("encoder", "", "bert"),
        ("selection", "dev", ""),
        ("representation", "", "annotate"),
    ],
)
def test_second_result_for_a_cell_and_seed_is_refused_at_the_import(
    tmp_path: Path, ledger: Ledger, header: str, old: str, new: str
) -> None:
    header = f"{header},{HEADER}"
    import_csv(write(tmp_path, f"{old},{ROW}", header=header), ledger)
    said = r"runs.csv:2: the same cell and seed as another row \(trial .*, in the ledger\), .* other f1"
    with pytest.raises(InputError, match=said):
        import_csv(write(tmp_path, f"{new},{ROW.replace('0.65', '0.66')}", header=header), ledger)
    assert import_csv(write(tmp_path, f"{new},{ROW}", header=header), ledger).new == 1


def test_results_of_other_epochs_go_side_by_side(tmp_path: Path, ledger: Ledger) -> None:
    header = f"trial_id,epochs,{HEADER}"
    path = write(tmp_path, f"a,3,{ROW}", f"b,6,{ROW.replace('0.65', '0.66')}", header=header)
    assert import_csv(path, ledger).new == 2


def test_results_of_two_configs_of_one_cell_go_side_by_side(tmp_path: Path, ledger: Ledger) -> None:
    header = f"trial_id,config_id,{HEADER}"
    path = write(tmp_path, f"a,c,{ROW}", f"b,d,{ROW.replace('0.65', '0.66')}", header=header)
    assert import_csv(path, ledger).new == 2


def test_results_of_two_encoders_go_side_by_side(tmp_path: Path, ledger: Ledger) -> None:
    rows = (f"bert,{ROW}", f"scibert,{ROW.replace('0.65', '0.66')}")
    assert import_csv(write(tmp_path, *rows, header=f"encoder,{HEADER}"), ledger).new == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("test,1", "test,1e30", "seed must be a whole number from 0 to 4294967295, but got '1e30'"),
        ("1,4,true", "1e30,4,true", "gcn_layers must be a whole number from 0 to 4294967295"),
        ("SciERC", "scierc", "dataset must be spelled SciERC, but got 'scierc'"),
        ("SciERC", "", "dataset is empty"),
        ("NER,NER", "NER,RE", "task RE is not one of phase NER"),
        ("NER,NER", "ner,NER", "phase must be one of NER, RE, but got 'ner'"),
        ("test", "train", "split must be one of dev, test"),
        ("test,1", "test,-1", "seed must be a whole number from 0"),
        ("test,1", "test,1.5", "seed must be a whole number from 0"),
        ("1,4,true", "1,0,true", "gcn_heads must be a whole number from 1"),
        ("4,true", "4,yes", "entity_filter must be true or false"),
        ("inv", "Inv.", "attention_mask must be one of inv, vis, full"),
        ("0.65", "65", "f1 must be a number from 0 to 1, but got '65'"),
        ("0.65", "nan", "f1 must be a number from 0 to 1"),
        ("0.65", "inf", "f1 must be a number from 0 to 1"),
        ("0.65", "-0.1", "f1 must be a number from 0 to 1"),
        ("0.65", "", "f1 is empty"),
        (",0.65", "", "must have 13 fields"),
        ("0.65", "0.65,1", "must have 13 fields"),
    ],
)
def test_bad_value_is_named_with_file_and_line_and_nothing_is_stored(
    tmp_path: Path, ledger: Ledger, old: str, new: str, message: str
) -> None:
    path = write(tmp_path, ROW, ROW.replace("test,1", "test,2").replace(",2,", ",1,", 1).replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        import_csv(path, ledger)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert message in str(caught.value)
    assert long_table(ledger) == []


@pytest.mark.parametrize(
    ("columns", "first", "second", "message"),
    [
        (
            "trial_id",
            "run 1",
            "",
            "2: trial_id must be a name without white space; replace it, for instance by -, ",
        ),
        (
            "trial_id,upstream_trial_id",
            "a,b\u00a0c",
            "",
            "2: upstream_trial_id must be a name without white space",
        ),
        (
            "trial_id,config_id",
            "run1,c",
            "run1,d",
            "3: trial run1 is known with config_id c \\(line 2\\), but here has d; give",
        ),
    ],
)
def test_ids_that_no_table_could_tell_apart_are_refused(
    tmp_path: Path, ledger: Ledger, columns: str, first: str, second: str, message: str
) -> None:
    rows = [f"{first},{ROW}", f"{second},{ROW}"][: 2 if second else 1]
    with pytest.raises(InputError, match=f"runs.csv:{message}"):
        import_csv(write(tmp_path, *rows, header=f"{columns},{HEADER}"), ledger)
    assert not ledger.imported()


def test_a_trial_has_one_seed_in_whichever_file(tmp_path: Path, ledger: Ledger) -> None:
    first = ROW.split(",")
    seed = HEADER.split(",").index("seed")
    other = ",".join([*first[:seed], "77", *first[seed + 1 :]])
    assert import_csv(write(tmp_path, f"run1,{ROW}", header=f"trial_id,{HEADER}"), ledger).new == 1
    said = rf"trial run1 is known with seed {first[seed]} \(in the ledger\), but here has 77; give"
    with pytest.raises(InputError, match=said):
        import_csv(write(tmp_path, f"run1,{other}", header=f"trial_id,{HEADER}"), ledger)


@pytest.mark.parametrize("text", ["0_1", "1_0e-2", "\u0661", "nan", "1e400", "0x1", "."])
def test_a_number_is_written_plainly(text: str) -> None:
    for parse in (number(1), whole(0)):
        with pytest.raises(ValueError, match="number from"):
            parse(text)


def test_decimal_and_scientific_numbers_are_taken() -> None:
    assert [number(1)(text) for text in ("0.5", ".5", "5e-1", "1.", "+1")] == [0.5, 0.5, 0.5, 1, 1]
    assert [whole(0)(text) for text in ("4", "4.0", "4e0")] == [4, 4, 4]


def test_unknown_representation_is_refused(tmp_path: Path, ledger: Ledger) -> None:
    path = write(tmp_path, f"levitated,{ROW}", header=f"representation,{HEADER}")
    with pytest.raises(InputError) as raised:
        import_csv(path, ledger)
    assert str(raised.value) == (
        f"{path}:2: representation must be one of vanilla, marker, enumerate, annotate, but got 'levitated'"
    )


def test_same_run_with_other_scores_is_refused(tmp_path: Path, ledger: Ledger) -> None:
    path = write(tmp_path, ROW, ROW.replace("0.65", "0.66"))
    said = "the same run as another row ({}), but with other f1; keep one of them, or two ledgers"
    with pytest.raises(InputError) as caught:
        import_csv(path, ledger)
    assert str(caught.value) == f"{path}:3: {said.format('line 2')}"
    import_csv(write(tmp_path, ROW), ledger)
    with pytest.raises(InputError) as caught:
        import_csv(write(tmp_path, ROW.replace("0.65", "0.66")), ledger)
    assert str(caught.value) == f"{path}:2: {said.format('in the ledger')}"


def test_a_run_that_was_made_again_stays_as_it_was(tmp_path: Path, ledger: Ledger) -> None:
    header = f"trial_id,status,wall_s,device,commit,{HEADER}"
    first, again, unsaid = (f"a,completed,{made},{ROW}" for made in ("10,cpu,abc", "20,cpu,def", ",,"))
    assert import_csv(write(tmp_path, first, again, unsaid, header=header), ledger) == (1, 1)
    assert import_csv(write(tmp_path, again, header=header), ledger) == (0, 1)
    assert import_csv(write(tmp_path, first, unsaid, header=header), ledger) == (0, 0)
    failed = f"a,failed,5,cpu,ghi,{ROW}".replace("0.7,0.6,0.65", ",,")
    assert import_csv(write(tmp_path, failed, header=header), ledger) == (0, 0)
    (row,) = long_table(ledger)
    assert (row["wall_s"], row["device"], row["commit"]) == (10, "cpu", "abc")


def test_a_run_that_was_made_again_of_other_epochs_is_refused(tmp_path: Path, ledger: Ledger) -> None:
    path = write(tmp_path, f"a,3,{ROW}", f"a,6,{ROW}", header=f"trial_id,epochs,{HEADER}")
    said = r"runs.csv:3: the same run as another row \(line 2\), .* other epochs;"
    with pytest.raises(InputError, match=said):
        import_csv(path, ledger)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER + ",f2", r":1: unknown column 'f2'"),
        (HEADER.replace("seed,", ""), r":1: column 'seed' is missing"),
        (HEADER + ",f1", r":1: a column is there twice"),
        (HEADER.replace(",", ";"), r":1: fields are separated by ';'; write the file with commas"),
        (HEADER.replace(",", "\t"), r":1: fields are separated by '\\t'"),
        ("," + HEADER, r":1: a column has no name, as pandas' index has none; leave it out"),
    ],
)
def test_bad_header_is_refused(tmp_path: Path, ledger: Ledger, header: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        import_csv(write(tmp_path, header=header), ledger)


def test_unreadable_files_are_refused(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"bytes\.csv: cannot be read as CSV"):
        import_csv(tmp_path / "bytes.csv", ledger)
    missing = tmp_path / "missing.csv"
    with pytest.raises(InputError) as raised:
        import_csv(missing, ledger)
    assert str(raised.value) == f"{missing}: cannot be read (No such file or directory); name a CSV file"


def test_every_column_of_the_long_table_may_be_given(tmp_path: Path, ledger: Ledger) -> None:
    values = dict(zip(HEADER.split(","), ROW.split(","), strict=True)) | {
        "trial_id": "x", "config_id": "y", "status": "completed", "epochs": "3", "wall_s": "1.5",
        "device": "gpu", "commit": "abc", "fold": "2", "entities": "gold_typed_by_model",
        "protocol": "plmarker", "averaging": "macro", "selection": "test", "encoder": "bert",
        "model": "PL-Marker", "representation": "marker", "upstream_trial_id": "", "origin": "run",
    }  # fmt: skip
    path = write(tmp_path, ",".join(values[name] for name in LONG_COLUMNS), header=",".join(LONG_COLUMNS))
    import_csv(path, ledger)
    (row,) = long_table(ledger)
    assert (row["fold"], row["wall_s"], row["model"], row["selection"]) == (2, 1.5, "PL-Marker", "test")
    assert row["origin"] == "imported"

"""`lai status` and `why`: what they say, and what they refuse."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lai_net.errors import InputError
from tests.unit.commanding import demo_ledger, demo_rows, lai
from tune.commands.cli import app
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow, TrialRow
from tune.spec.identity import SEMANTICS, evaluation_id


@pytest.fixture
def rows() -> list[TrialRow]:
    return demo_rows()


@pytest.fixture
def path(tmp_path: Path, rows: list[TrialRow]) -> Path:
    return demo_ledger(tmp_path, rows)


def test_status_counts_and_names_the_failed(path: Path, rows: list[TrialRow]) -> None:
    before = path.read_bytes()
    result = lai("status", "demo", "--ledger", path)
    (line,) = [line for line in result.stdout.splitlines() if "NER" in line and "failed" not in line]
    assert [word for word in line.split() if word.isdigit()] == ["26", "0", "1", "1"]
    assert f"method w/o 2nd ({rows[1].trial_id}, attempt 1): RuntimeError: out of ink" in result.stdout
    assert "interrupted" in result.stdout, "the header is whole"
    assert "failed tries: 1 of unknown kind" in result.stdout
    assert "end-to-end evaluations: 26 to make" in result.stdout
    assert path.read_bytes() == before


def test_status_tells_the_kinds_of_failures_also_of_tries_that_were_made_good(
    path: Path, rows: list[TrialRow]
) -> None:
    with Ledger.open(path) as ledger:
        for number, (status, error, kind) in enumerate(
            [("failed", "no word", "stall"), ("failed", "x", "machine"), ("completed", None, None)], start=1
        ):
            ledger.start_attempt(rows[2].trial_id, number, {})
            ledger.finish_attempt(rows[2].trial_id, number, status, error=error, failure=kind)
        ledger.start_attempt(rows[1].trial_id, 2, {})
        error = "Traceback\nValueError: no"
        ledger.finish_attempt(rows[1].trial_id, 2, "failed", error=error, failure="config")
    text = lai("status", "demo", "--ledger", path).stdout
    assert f"({rows[1].trial_id}, attempt 2): config failure: ValueError: no\n" in text
    assert "failed tries: 1 config failure, 1 machine failure, 1 of unknown kind, 1 stalled\n" in text
    assert text.count("failed:") == 1


def test_running_is_said_only_while_the_ledger_is_being_written(path: Path, rows: list[TrialRow]) -> None:
    with Ledger.open(path) as ledger:
        ledger.start_attempt(rows[2].trial_id, 1, {})
        assert "running" in lai("status", "demo", "--ledger", path).stdout
        assert "it is running" in lai("why", rows[2].trial_id, "--ledger", path).stdout
    assert "interrupted" in lai("status", "demo", "--ledger", path).stdout
    assert "it is interrupted" in lai("why", rows[2].trial_id, "--ledger", path).stdout


def test_status_names_evaluations_that_were_made_or_failed(path: Path, rows: list[TrialRow]) -> None:
    relation = next(row for row in rows if row.phase == "RE")
    with Ledger.open(path) as ledger:
        ledger.register_trials([relation])
        for split, error in (("dev", None), ("test", "Traceback\nKeyError: 'x'")):
            pair = (relation.trial_id, rows[0].trial_id, split, "predicted")
            ledger.record_evaluation(
                EvaluationRow(evaluation_id=evaluation_id(*pair), trial_id=pair[0], upstream_trial_id=pair[1],
                              split=split, entities="predicted", scores=[], error=error)
            )  # fmt: skip
    text = lai("status", "demo", "--ledger", path).stdout
    assert "end-to-end evaluations: 1 failed, 25 to make" in text
    assert f"({relation.trial_id}+{rows[0].trial_id}, test): KeyError: 'x'" in text


def test_status_names_the_best_trial_on_dev(path: Path, rows: list[TrialRow]) -> None:
    def scores(*f1: float) -> list[dict[str, object]]:
        kinds = (("pure", "macro"), ("pure", "micro"))
        return [
            {"task": "NER", "protocol": protocol, "averaging": averaging, "f1": value}
            for (protocol, averaging), value in zip(kinds, f1, strict=True)
        ]

    assert "best" not in lai("status", "demo", "--ledger", path).stdout
    with Ledger.open(path) as ledger:
        for row, split, values in (
            (rows[0], "dev", scores(0.9, 0.5)),
            (rows[2], "dev", scores(0.1, 0.625)),
            (rows[0], "test", scores(1.0, 1.0)),
        ):
            ledger.record_evaluation(
                EvaluationRow(evaluation_id=evaluation_id(row.trial_id, None, split, "predicted"),
                              trial_id=row.trial_id, upstream_trial_id=None, split=split,
                              entities="predicted", scores=values)
            )  # fmt: skip
    text = lai("status", "demo", "--ledger", path).stdout
    line = f"best demo NER: {rows[2].trial_id} (dev F1 0.6250, seed {rows[2].seed})"
    assert [part for part in text.splitlines() if part.startswith("best")] == [line]
    with Ledger.open(path) as ledger:
        ledger.start_attempt(rows[2].trial_id, 1, {})
        ledger.finish_attempt(rows[2].trial_id, 1, "completed")
        ledger.forget_model(rows[2].trial_id, 1, "as the study asks")
    assert f"{line}; its model was not kept\n" in lai("status", "demo", "--ledger", path).stdout


def test_why_of_a_study_that_plans_no_trial(path: Path, rows: list[TrialRow], tmp_path: Path) -> None:
    study = tmp_path / "dashes.toml"
    study.write_text(
        'name = "dashes"\nseeds = 1\n[[datasets]]\nname = "demo"\n[datasets.re]\npreset = "demo-re"\n'
        '[factors]\nentity_filter = ["with"]\n'
    )
    text = lai("why", rows[0].trial_id, "--ledger", path, "--study", study).stdout
    assert "study dashes plans no trial" in text


def test_why_shows_fields_verdict_and_the_nearest_trial(path: Path, rows: list[TrialRow]) -> None:
    text = lai("why", rows[0].trial_id[:8], "--ledger", path).stdout
    assert f"trial {rows[0].trial_id}" in text
    assert "  seed = 1\n" in text
    assert "  corpus_id = " in text
    assert "reused by every study" in text
    nearest, differences = text.split("nearest other trial in the ledger, ")[1].split(" differs in:\n")
    assert nearest.rstrip(",") in {row.trial_id for row in rows[1:3]}
    assert differences.startswith("  graph.")


def test_why_names_the_labels_where_only_they_make_another_config(path: Path, rows: list[TrialRow]) -> None:
    with Ledger.open(path) as ledger:
        ledger.register_trials([replace(rows[0], trial_id="x1", config_id="x", dataset="relabelled")])
    text = lai("why", "x1", "--ledger", path).stdout
    assert f"nearest other trial in the ledger, {rows[0].trial_id}, differs in:\n" in text
    assert text.endswith(f"  dataset: relabelled | demo\n  labels (in config_id): x | {rows[0].config_id}\n")


def test_why_says_that_an_unfinished_trial_is_not_reused(path: Path, rows: list[TrialRow]) -> None:
    assert "not reused by any study: it is failed" in lai("why", rows[1].trial_id, "--ledger", path).stdout
    assert "not reused by any study: it is planned" in lai("why", rows[2].trial_id, "--ledger", path).stdout


def test_why_says_when_the_semantics_were_raised(
    path: Path, rows: list[TrialRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SEMANTICS, "NER", 2)
    assert "what NER computes has changed" in lai("why", rows[0].trial_id, "--ledger", path).stdout


def test_why_compares_with_a_study(path: Path, rows: list[TrialRow]) -> None:
    planned = lai("why", rows[0].trial_id, "--ledger", path, "--study", "demo").stdout
    assert "study demo plans it" in planned
    assert "table 4: demo NER, method LAI-Net" in planned
    foreign = lai("why", rows[0].trial_id, "--ledger", path, "--study", "paper-ade").stdout
    assert "study paper-ade does not plan it" in foreign
    assert "  dataset: demo | ADE" in foreign


def test_why_refuses_an_unknown_study_before_it_says_anything(path: Path, rows: list[TrialRow]) -> None:
    result = CliRunner().invoke(app, ["why", rows[0].trial_id, "--ledger", str(path), "--study", "nosuch"])
    assert isinstance(result.exception, InputError)
    assert result.output == ""


def test_why_of_an_unknown_or_ambiguous_trial_is_refused(path: Path) -> None:
    for name, count in (("zzz", 0), ("", 3)):
        with pytest.raises(InputError, match=f"{count} trials of the ledger have an id"):
            lai("why", name, "--ledger", path)


def test_readers_refuse_a_missing_ledger(tmp_path: Path) -> None:
    for words in (("results", "demo"), ("why", "x")):
        with pytest.raises(InputError, match="no such ledger"):
            lai(*words, "--ledger", tmp_path / "none")


def test_status_says_where_there_is_no_ledger_yet(tmp_path: Path) -> None:
    found = lai("status", "demo", "--ledger", tmp_path / "nope.sqlite")
    assert (found.exit_code, found.stderr.count("nope.sqlite yet: nothing has run")) == (0, 1)
    assert "interrupted" in found.stdout

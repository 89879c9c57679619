"""`lai plan`, `status`, `why`, `results`, `import`: what they print and what they leave alone."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lai_net.errors import InputError
from lai_net.schema import Corpus, Document, Labels, Sentence
from tune.commands.cli import app
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow, TrialRow
from tune.planning.plan import Contents, make_plan
from tune.results.table import LONG_COLUMNS
from tune.search.plan import plan_search
from tune.spec.identity import SEMANTICS, evaluation_id
from tune.spec.study import load_study, study_file


def lai(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def rows() -> list[TrialRow]:
    plan = make_plan(load_study("demo"))
    corpus = Corpus(
        name="demo",
        splits=dict.fromkeys(("train", "dev", "test"), (Document("d", (Sentence(("a",)),)),)),
        labels=Labels(entities={"A": "a"}, relations={"R": "r"}),
    )
    jobs = plan.identify(Contents({("demo", None): corpus}, dict.fromkeys(plan.encoder_names, "encoder")))
    return [job.row for job in jobs.trials]


@pytest.fixture
def path(tmp_path: Path, rows: list[TrialRow]) -> Path:
    """A ledger with a completed and a failed trial of the demo study."""
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        ledger.register_trials(rows[:3])
        ledger.start_attempt(rows[0].trial_id, 1, {"device": "cpu"})
        ledger.finish_attempt(rows[0].trial_id, 1, "completed", cpu_s=2.0, wall_s=3.0)
        ledger.start_attempt(rows[1].trial_id, 1, {})
        error = "Traceback (most recent call last):\n  File x\nRuntimeError: out of ink\n"
        ledger.finish_attempt(rows[1].trial_id, 1, "failed", error=error)
    return path


def test_plan_json_is_alone_on_stdout_and_has_the_contracts_keys(path: Path) -> None:
    result = lai("plan", "demo", "--ledger", path, "--json")
    content = json.loads(result.stdout)
    assert list(content) == [
        "cells", "seeds", "runs", "trials", "folded", "done", "to_run", "estimate", "warnings",
    ]  # fmt: skip
    assert [content[key] for key in list(content)[:7]] == [36, 2, 72, 54, 18, 1, 53]
    assert content["estimate"] == dict.fromkeys(("cpu_s", "wall_s", "gpu_h", "wall_h", "disk_gib")) | {
        "measured": 1,
        "probed": 0,
        "place": "what [resources] give",
    }


def test_plan_needs_and_makes_no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = lai("plan", "demo")
    assert "36 cells, 2 seeds: 72 runs" in result.stdout
    assert "warning: 2 seeds cannot show" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_plan_counts_one_of_a_kind_as_one(tmp_path: Path) -> None:
    dataset = '[[datasets]]\nname = "d"\ncorpus = "c"\n[datasets.ner]\npreset = "demo-ner"\n'
    text = f'name = "s"\nseeds = [1]\n{dataset}[factors]\ngcn_layers = [1]\n'
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    shown = lai("plan", tmp_path / "s.toml", "--ledger", tmp_path / "none").stdout
    assert "1 cell, 1 seed: 1 run, 0 folded into others, 1 trial; 0 done, 1 to run" in " ".join(shown.split())


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
    line = f"best demo NER: {rows[2].trial_id} (dev F1 0.6250, seed {rows[2].seed})\n"
    assert [part for part in text.splitlines(keepends=True) if part.startswith("best")] == [line]


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


def test_import_of_a_missing_file_makes_no_ledger(tmp_path: Path) -> None:
    place = tmp_path / "new" / "ledger.sqlite"
    for words in (["nosuch.csv"], [__file__, "--curves", "nosuch.csv"]):
        result = lai("import", *words, "--ledger", place)
        assert (result.exit_code, "does not exist" in result.output) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command", [["results", "demo"], ["results", "demo", "--format", "json"], ["status", "demo"]]
)
def test_a_full_stdout_is_told_in_one_line(command: list[str], path: Path) -> None:
    words = [sys.executable, "-m", "analysis", *command, "--ledger", str(path)]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (2, "stdout: No space left on device\n")


@pytest.mark.parametrize("command", [["results", "demo"], ["plan", "demo"], ["status", "demo"]])
def test_a_reader_of_a_pipe_that_has_gone_is_an_interruption(command: list[str], path: Path) -> None:
    words = [sys.executable, "-m", "analysis", *command, "--ledger", str(path)]
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (result.returncode, result.stderr) == (3, "")


def test_why_of_an_unknown_or_ambiguous_trial_is_refused(path: Path) -> None:
    for name, count in (("zzz", 0), ("", 3)):
        with pytest.raises(InputError, match=f"{count} trials of the ledger have an id"):
            lai("why", name, "--ledger", path)


def test_results_goes_to_stdout_or_a_file(path: Path, tmp_path: Path) -> None:
    text = lai("results", "demo", "--ledger", path).stdout
    assert text.splitlines()[0] == ",".join(LONG_COLUMNS)
    assert len(text.splitlines()) == 3
    assert len(json.loads(lai("results", "demo", "--ledger", path, "--format", "json").stdout)) == 2
    assert lai("results", "demo", "--ledger", path, "--out", tmp_path / "out.csv").stdout == ""
    assert (tmp_path / "out.csv").read_text() == text


def test_parquet_needs_a_file(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give --out FILE"):
        lai("results", "demo", "--ledger", path, "--format", "parquet")
    with pytest.raises(InputError, match="cannot be written"):
        lai("results", "demo", "--ledger", path, "--format", "parquet", "--out", tmp_path / "no" / "x")
    lai("results", "demo", "--ledger", path, "--format", "parquet", "--out", tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").read_bytes().startswith(b"PAR1")


@pytest.mark.parametrize("format_", ["csv", "json", "parquet"])
def test_results_overwrites_neither_the_ledger_nor_the_study(
    format_: str, path: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study.toml"
    study.write_bytes(study_file("demo").read_bytes())
    (tmp_path / "soft").symlink_to(path)
    (tmp_path / "hard").hardlink_to(study)
    before = path.read_bytes(), study.read_bytes()
    for name, what in (
        ("ledger.sqlite", "ledger"),
        ("soft", "ledger"),
        ("study.toml", "study's file"),
        ("hard", "study's file"),
    ):
        out = tmp_path / name
        with pytest.raises(InputError) as caught:
            lai("results", study, "--ledger", path, "--format", format_, "--out", out)
        assert str(caught.value) == f"--out {out}: is the {what}; name another file"
    assert (path.read_bytes(), study.read_bytes()) == before


@pytest.mark.parametrize("format_", ["csv", "json", "parquet"])
def test_results_that_cannot_be_written_to_the_end_leave_what_was_there(
    format_: str, path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.write_text("earlier")
    out_of_room = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9, 9)); "
    code = f"{out_of_room}from analysis.__main__ import main; main()"
    words = ["results", "demo", "--ledger", path, "--format", format_, "--out", out]
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert re.fullmatch(rf"{out}: cannot be written \(.*File too large\); name another file\n", result.stderr)
    assert out.read_text() == "earlier"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ledger.sqlite", "ledger.sqlite.lock", "out"]


def test_results_go_through_a_link_and_into_a_device(path: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "out.csv")
    for out in (tmp_path / "link", "/dev/null"):
        lai("results", "demo", "--ledger", path, "--out", out)
    text = lai("results", "demo", "--ledger", path).stdout
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "out.csv").read_text() == text
    assert Path("/dev/null").is_char_device()


def test_import_then_results(tmp_path: Path) -> None:
    header = ",".join(LONG_COLUMNS[2:15])
    (tmp_path / "runs.csv").write_text(f"{header}\ndemo,NER,NER,test,7,1,4,true,inv,true,0.5,0.5,0.5\n")
    result = lai("import", tmp_path / "runs.csv", "--ledger", tmp_path / "new" / "ledger")
    assert "1 new row from" in result.stderr
    said = "1 imported row has no trial_id: tables show it, but `lai run` trains its cell"
    assert said in result.stderr
    plan = json.loads(lai("plan", "demo", "--ledger", tmp_path / "new" / "ledger", "--json").stdout)
    assert said in plan["warnings"]
    elsewhere = lai("plan", "scierc-first", "--ledger", tmp_path / "new" / "ledger", "--json").stdout
    assert "trial_id" not in elsewhere
    text = lai("results", "demo", "--ledger", tmp_path / "new" / "ledger").stdout
    assert ",imported" in text.splitlines()[1]


def test_import_says_how_many_rows_stay_as_they_were(tmp_path: Path) -> None:
    for wall_s, said in (("10", "1 new row"), ("20", "0 new rows")):
        header = ",".join(["wall_s", *LONG_COLUMNS[2:15]])
        row = f"{wall_s},demo,NER,NER,test,7,1,4,true,inv,true,0.5,0.5,0.5"
        (tmp_path / "runs.csv").write_text(f"{header}\n{row}\n")
        result = lai("import", tmp_path / "runs.csv", "--ledger", tmp_path / "ledger")
        assert result.stderr.startswith(f"{said} from")
        stay = "; rows that were there with another wall_s, device or commit, and stay as they were: 1;"
        assert (stay in result.stderr) == (wall_s == "20")


def test_readers_refuse_a_missing_ledger(tmp_path: Path) -> None:
    for words in (("results", "demo"), ("why", "x")):
        with pytest.raises(InputError, match="no such ledger"):
            lai(*words, "--ledger", tmp_path / "none")


def test_plan_on_a_cluster_that_is_not_there_is_one_line() -> None:
    with pytest.raises(InputError, match=r"--address 127\.0\.0\.1:1: nothing answers there"):
        lai("plan", "demo", "--address", "127.0.0.1:1")
    words = ("--until-decided", "--max-seeds", "4", "--address", "127.0.0.1:1")
    with pytest.raises(InputError, match=r"--address 127\.0\.0\.1:1: nothing answers there"):
        lai("plan", "demo", *words)


def test_plan_loads_neither_torch_nor_ray_nor_pandas() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom tune.commands.cli import app\n"
        "assert CliRunner().invoke(app, ['plan', 'paper-ade', '--json']).exit_code == 0\n"
        "print([name for name in ('torch', 'ray', 'pandas', 'pyarrow', 'optuna') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


STUDY = """
name = "s"
seeds = 2
[[datasets]]
name = "d"
[datasets.ner]
preset = "demo-ner"
set = { SETTINGS }
"""


def plan_warnings(folder: Path, settings: str, more: str = "") -> str:
    (folder / "s.toml").write_text(STUDY.replace("SETTINGS", settings) + more, encoding="utf-8")
    return lai("plan", folder / "s.toml", "--ledger", folder / "none").stderr


def test_plan_warns_of_what_does_not_fit_an_encoder_that_is_at_hand(tmp_path: Path) -> None:
    assert "must" not in plan_warnings(tmp_path, '"graph.heads" = 4')
    said = plan_warnings(tmp_path, '"encoder.num_layers" = 99')
    assert "ner: encoder.num_layers must be at most the 6 layers of encoder minilm, but got 99" in said
    assert "but got 99" not in plan_warnings(
        tmp_path, '"encoder.num_layers" = 99, "encoder.name" = "not/here"'
    )
    (tmp_path / "empty").mkdir()
    said = plan_warnings(tmp_path, f'"encoder.name" = "{tmp_path / "empty"}"')
    assert "empty has no config.json; give a folder" in said
    said = plan_warnings(tmp_path, '"graph.layers" = 1', "[factors]\ngcn_heads = [4, 5]\n")
    assert "graph.heads must divide the width 384 of encoder minilm, but got 5" in said
    search = (
        "[search]\nphase = 'NER'\nbudget.trials = 12\n[search.space]\n'graph.heads' = { choice = [1, 5] }\n"
    )
    said = plan_warnings(tmp_path, '"graph.layers" = 1', search)
    assert "search.space.graph.heads must divide the width 384 of encoder minilm, but got 5" in said
    fixed = search.replace("[1, 5]", "[1, 4]")
    said = plan_warnings(tmp_path, '"graph.layers" = 1, "encoder.num_layers" = 99', fixed)
    assert "dataset 'd', ner: encoder.num_layers must be at most the 6 layers" in said


def test_plan_of_a_search_says_how_many_configs_its_trials_are(tmp_path: Path) -> None:
    space = "[search.space]\n'training.head_lr' = { uniform = [1e-4, 1e-3] }\n"
    search = f"[search]\nphase = 'NER'\nseeds_per_config = 2\nbudget.trials = 12\n{space}"
    plan_warnings(tmp_path, "", search)
    shown = lai("plan", tmp_path / "s.toml", "--ledger", tmp_path / "none").stdout
    assert "budget.trials 12, 2 seeds a config: at least 6 configs" in shown


def test_status_says_where_there_is_no_ledger_yet(tmp_path: Path) -> None:
    found = lai("status", "demo", "--ledger", tmp_path / "nope.sqlite")
    assert (found.exit_code, found.stderr.count("nope.sqlite yet: nothing has run")) == (0, 1)
    assert "interrupted" in found.stdout


def test_settings_may_be_nested_tables(tmp_path: Path) -> None:
    configs = []
    for text in ('"training.epochs" = 4', "training.epochs = 4", "training = { epochs = 4 }"):
        plan_warnings(tmp_path, text)
        configs.append(make_plan(load_study(tmp_path / "s.toml")).trials[0].config)
    assert configs[0].training.epochs == 4
    assert configs[1:] == configs[:1] * 2


SEARCH = """
name = "s"
seeds = 1
[[datasets]]
name = "demo"
[datasets.ner]
preset = "demo-ner"
[datasets.re]
preset = "demo-re"
[search]
phase = "RE"
[search.space]
"training.head_lr" = { log = [1e-4, 1e-2] }
[search.scheduler]
name = "none"
[search.budget]
trials = 2
"""


def test_plan_says_that_the_model_is_gone_whose_entities_a_search_goes_by(tmp_path: Path) -> None:
    study, path = tmp_path / "study.toml", tmp_path / "ledger.sqlite"
    study.write_text(SEARCH)
    upstream = plan_search(load_study(study)).upstream
    assert upstream is not None
    corpus = Corpus(
        name="demo",
        splits=dict.fromkeys(("train", "dev", "test"), ()),
        labels=Labels(entities={}, relations={}),
    )
    contents = Contents({("demo", None): corpus}, {upstream.config.encoder.name: "encoder"})
    row = contents.identify(upstream).row
    with Ledger.open(path) as ledger:
        ledger.register_trials([row])
        ledger.start_attempt(row.trial_id, 1, {})
        best = {"best": f"artifacts/{row.trial_id}/attempt-1/best"}
        ledger.finish_attempt(row.trial_id, 1, "completed", artefacts=best)
    said = (
        f"`lai run` will refuse: a model is gone that is needed: trial {row.trial_id}: its model is no longer"
    )
    assert said in lai("plan", study, "--ledger", path).stderr
    (tmp_path / best["best"]).mkdir(parents=True)
    assert "refuse" not in lai("plan", study, "--ledger", path).stderr

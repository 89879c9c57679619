"""`--until-decided`: what it plans, what it runs, and when it stops."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import tune.commands.run
from analysis.__main__ import main
from analysis.decisions import decide_study
from lai_net.errors import InputError
from tune.commands.growing import bounded_study
from tune.commands.options import INTERRUPTED
from tune.engine import Message, Node, SerialEngine
from tune.forecast.until_decided import look_counts, needed_trials
from tune.ledger.ledger import Ledger
from tune.preparation import prepare
from tune.results.table import long_table
from tune.spec.cells import expand
from tune.spec.identity import spec_id
from tune.spec.study import load_study, with_all_seeds
from tune.task_spec import TrainSpec, spec_from_json

STUDY = """
name = "grow"
seeds = 6
[[datasets]]
name = "demo"
corpus = "embedded"
[datasets.ner]
preset = "demo-ner"
[factors]
gcn_layers = [0, 1, 2]
"""
DECIDE = "[decide]\nmax_seeds = 12\nstep = 3\n"
TWO_PHASES = STUDY.replace("[factors]", '[datasets.re]\npreset = "demo-re"\n[factors]')


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY + DECIDE)
    return path


def test_seeds_are_added_after_the_studys_own(study: Path) -> None:
    study.write_text(STUDY.replace("seeds = 6", "seeds = [9, 2]") + "[decide]\nmax_seeds = 4\n")
    assert load_study(study).all_seeds == (9, 2, 10, 11)
    study.write_text(STUDY)
    assert load_study(study).all_seeds == tuple(range(6))


@pytest.mark.parametrize(
    ("bound", "said"), [("5", "at least the number of seeds, 6"), ("1", "decide.max_seeds")]
)
def test_a_bound_below_the_seeds_is_refused(study: Path, bound: str, said: str) -> None:
    study.write_text(STUDY + f"[decide]\nmax_seeds = {bound}\n")
    with pytest.raises(InputError, match=said):
        load_study(study)


def test_the_bound_comes_from_the_study_or_the_call(study: Path) -> None:
    assert bounded_study(load_study(study), 20, until_decided=True).all_seeds == tuple(range(20))
    assert bounded_study(load_study(study), None, until_decided=True).all_seeds == tuple(range(12))
    with pytest.raises(InputError, match="at least the study's 6, but is 4"):
        bounded_study(load_study(study), 4, until_decided=True)
    study.write_text(STUDY)
    with pytest.raises(InputError, match="how many seeds at most"):
        bounded_study(load_study(study), None, until_decided=True)
    with pytest.raises(InputError, match="a search adds no seeds"):
        bounded_study(load_study("search-demo"), 4, until_decided=True)
    assert bounded_study(load_study(study), None, until_decided=False) is None
    with pytest.raises(InputError, match="--max-seeds bounds what --until-decided adds"):
        bounded_study(load_study(study), 20, until_decided=False)


def test_looks_that_could_mark_nothing_are_left_out(study: Path) -> None:
    loaded = load_study(study)
    assert look_counts(loaded, 1) == (6, 9, 12)[1:], "2/2^6 for each of three looks is above 0.05"
    assert look_counts(bounded_study(loaded, 8, until_decided=True), 1) == (8,)
    assert look_counts(bounded_study(loaded, 6, until_decided=True), 5) == (6,), "the last look stays"


def test_relations_need_the_base_ner_trial_of_their_seed(study: Path, tmp_path: Path) -> None:
    study.write_text(TWO_PHASES + DECIDE)
    loaded = load_study(study)
    decisions = [item for item in decide_study(tmp_path / "none", loaded) if item.phase == "RE"]
    assert {item.task for item in decisions} == {"RE", "RE+"}
    keys = needed_trials(loaded, decisions[:1])
    cells = {(cell.phase, cell.level): cell for cell in expand(loaded)}
    wanted = [cells["RE", decisions[0].level], cells["RE", "2"], cells["NER", "1"]]
    specs = {spec_id(cell.config) for cell in wanted if cell.config is not None}
    assert {key[3] for key in keys} == specs
    assert {key[2] for key in keys} == set(range(9))


def test_plan_as_json_counts_the_trials_of_the_next_look(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", str(study), "--ledger", str(tmp_path / "none"), "--until-decided"]
    with pytest.raises(SystemExit) as end:
        main([*words, "--json"])
    assert not end.value.code
    content = json.loads(capsys.readouterr().out)
    assert (content["max_seeds"], content["alpha"], content["to_run"]) == (12, 0.05, 3 * 9)
    counts = ("cells", "seeds", "runs", "trials", "folded", "done")
    assert [content[name] for name in counts] == [3, 6, 18, 18, 0, 0], "those of the study's own seeds"
    assert [item["level"] for item in content["decisions"]] == ["0", "2"]
    assert content["decisions"][0]["missing"] == list(range(9))
    with pytest.raises(SystemExit):
        main([*words, "--max-seeds", "6"])
    assert "6 seeds cannot show a difference" in capsys.readouterr().err


def execute(spec: str) -> Iterator[Message]:
    """A training at once: without layers 3 points worse; with two, sometimes better, sometimes worse."""
    task = spec_from_json(spec)
    assert isinstance(task, TrainSpec)
    yield Message("started", {"device": "cpu"})
    effect = {0: -0.03, 1: 0.0, 2: 0.02 if task.seed % 2 else -0.018}[task.config.graph.layers]
    f1 = 0.6 + 0.01 * (task.seed % 3) + effect
    score = {"task": "NER", "protocol": "pure", "averaging": "micro", "precision": f1, "recall": f1, "f1": f1}
    evaluations = [
        {"split": split, "entities": "predicted", "scores": [score], "coverage": {}} for split in task.splits
    ]
    yield Message("completed", {"evaluations": evaluations, "cpu_s": 1.0, "wall_s": 1.0})


def test_run_adds_seeds_to_what_is_open_alone_and_ends(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engines = []

    def engine(*_: object) -> contextlib.AbstractContextManager[SerialEngine]:
        engines.append(SerialEngine(execute))
        return contextlib.nullcontext(engines[-1])

    monkeypatch.setattr(tune.commands.run, "_ray_engine", engine)
    ledger = tmp_path / "ledger.sqlite"
    words = ["run", str(study), "--ledger", str(ledger), "--until-decided"]
    for expected in (3, 3):  # the second call finds everything done
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
        assert len(engines) == expected, "the study, then two looks"
    zero, two = decide_study(ledger, load_study(study))
    assert (zero.state, zero.look, zero.n) == ("different", 1, 9)
    assert (two.state, two.look, two.n) == ("exhausted", 2, 12)
    with Ledger.open(ledger, read_only=True) as opened:
        rows = long_table(opened, load_study(study))
    seeds = {layers: {row["seed"] for row in rows if row["gcn_layers"] == layers} for layers in (0, 1, 2)}
    assert seeds == {0: set(range(9)), 1: set(range(12)), 2: set(range(12))}
    assert "tables show the added seeds" not in capsys.readouterr().out
    for bound, is_said in (("9", False), ("20", True)):  # the study's own is 12
        with pytest.raises(SystemExit):
            main([*words, "--max-seeds", bound])
        assert ("tables show the added seeds once" in capsys.readouterr().out) == is_said


def test_status_why_and_verify_know_the_added_seeds_that_were_tried(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tune.commands.verify._repeat", lambda _: [])
    jobs = prepare(with_all_seeds(load_study(study)), []).plan.trials
    tried, completed = [job.row for job in jobs if job.row.seed == 8][:2]
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.register_trials([tried, completed])
        for row, status, error in ((tried, "failed", "ValueError: no"), (completed, "completed", None)):
            ledger.start_attempt(row.trial_id, 1, {})
            ledger.finish_attempt(row.trial_id, 1, status, error=error)  # type: ignore[arg-type]

    def said(command: str, *words: str) -> str:
        with pytest.raises(SystemExit) as end:
            main([command, *words, "--ledger", str(tmp_path / "ledger.sqlite")])
        assert not end.value.code
        return capsys.readouterr().out

    status = said("status", str(study))
    (counts,) = [
        line for line in status.splitlines() if "demo" in line and "NER" in line and "seed" not in line
    ]
    assert [int(word) for word in counts.split() if word.isdigit()] == [18, 0, 1, 1]
    assert f"({tried.trial_id}, attempt 1): ValueError: no" in status
    assert "study grow plans it" in said("why", tried.trial_id, "--study", str(study))
    assert said("verify", str(study)).endswith("identical\n")


def test_plan_tells_the_hours_of_the_next_look_on_a_cluster(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        tune.commands.run, "_ray_engine", lambda *_: contextlib.nullcontext(SerialEngine(execute))
    )
    monkeypatch.setattr("tune.commands.plan._nodes_of", lambda remote: remote and [Node(4), Node(4)])
    rest = [str(study), "--ledger", str(tmp_path / "ledger.sqlite")]
    with pytest.raises(SystemExit):
        main(["run", *rest])
    with pytest.raises(SystemExit):
        main(["plan", *rest, "--until-decided"])
    assert "h on what [resources] give" in capsys.readouterr().out
    words = ["plan", *rest, "--until-decided", "--address", "head:1"]
    for more in ([], ["--json"]):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([*words, *more])
        assert not end.value.code
        out = capsys.readouterr().out
        if more:
            assert json.loads(out)["estimate"]["place"] == "2 nodes: 8 CPUs"
        else:
            assert "h on 2 nodes: 8 CPUs" in out


def test_the_studys_hours_are_for_all_rounds_together(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours: list[float] = []

    def execute_study(*arguments: object) -> int:
        hours.append(arguments[4])  # type: ignore[arg-type]
        return 0

    monkeypatch.setattr(tune.commands.run, "execute_study", execute_study)
    study.write_text(STUDY + DECIDE + "[budget]\nhours = 1\n")
    with pytest.raises(SystemExit):
        main(["run", str(study), "--ledger", str(tmp_path / "l.sqlite"), "--until-decided"])
    assert len(hours) == 2
    assert 1 > hours[0] > hours[1] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_between_two_rounds_interrupts_a_run(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    rounds = []

    def decide(*arguments: object) -> object:
        os.kill(os.getpid(), number)
        return decide_study(*arguments)  # type: ignore[arg-type]

    before = signal.signal(number, lambda *_: pytest.fail("it would have ended the run"))
    monkeypatch.setattr(tune.commands.run, "execute_study", lambda *_: rounds.append(1) or 0)
    monkeypatch.setattr(tune.commands.run, "decider_of", lambda _: decide)
    study.write_text(STUDY + DECIDE)
    try:
        with pytest.raises(SystemExit) as end:
            main(["run", str(study), "--ledger", str(tmp_path / "l.sqlite"), "--until-decided"])
    finally:
        signal.signal(number, before)
    assert end.value.code == INTERRUPTED
    assert len(rounds) == 1


def test_a_study_that_is_edited_during_a_run_ends_it_as_it_began(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def execute_study(*_: object) -> int:
        study.write_text("half a line")
        return 0

    monkeypatch.setattr(tune.commands.run, "execute_study", execute_study)
    for more, hints in (([], 0), (["--max-seeds", "20"], 1)):
        study.write_text(STUDY + DECIDE)
        with pytest.raises(SystemExit) as end:
            main(["run", str(study), "--ledger", str(tmp_path / "l.sqlite"), "--until-decided", *more])
        assert not end.value.code
        assert capsys.readouterr().out.count("tables show the added seeds once") == hints


def test_a_bound_beyond_reason_is_refused(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["plan", str(study), "--until-decided", "--max-seeds", "20000"])
    assert end.value.code == 2
    assert "--max-seeds" in capsys.readouterr().err


def test_without_the_whole_command_it_is_refused(study: Path) -> None:
    from typer.testing import CliRunner

    from tune.commands.cli import app

    with pytest.raises(InputError, match="needs the statistics of the whole"):
        CliRunner().invoke(app, ["plan", str(study), "--until-decided"], catch_exceptions=False)

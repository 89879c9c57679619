"""`lai plan`: what it prints and what it leaves alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lai_net.errors import InputError
from lai_net.schema import Corpus, Labels
from tests.unit.commanding import demo_ledger, demo_rows, lai
from tune.ledger.ledger import Ledger
from tune.planning.plan import Contents, make_plan
from tune.search.plan import plan_search
from tune.spec.study import load_study


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return demo_ledger(tmp_path, demo_rows())


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
    assert said.count("but got 99") == 1, "though more than one trial would have it"
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

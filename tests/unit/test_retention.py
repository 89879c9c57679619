"""Which models stay by `budget.keep_models`, in runs whose trainings are stand-ins."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analysis.__main__ import main
from lai_net.errors import InputError
from lai_net.evaluation import AVERAGINGS
from tests.integration import standing_in
from tests.unit.commanding import lai
from tune.commands.cli import app
from tune.engine import Executor, Message
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow
from tune.planning.trained_model import trained_model_folder

STUDY = """
name = "{name}"
seeds = {seeds}
[[datasets]]
name = "demo"
corpus = "embedded"
[datasets.ner]
preset = "demo-ner"
set = {{ "training.selection_averaging" = "{averaging}" }}
[datasets.re]
preset = "demo-re"
set = {{ "graph.layers" = 1 }}
[factors]
gcn_layers = {layers}
[budget]
keep_models = "{level}"
"""
SCORES = {"NER": {1: 0.7, 0: 0.5, 2: 0.9}, "RE": {1: 0.4, 0: 0.3, 2: 0.2}}
"""Dev F1 of seed 0 by phase and layers, averaged as for selection; the base, trained first, has one layer."""


def execute(spec: str) -> Iterator[Message]:
    told = json.loads(spec)
    yield Message("started", {"device": "none", "commit": None})
    rows = [{"split": split, "entities": told.get("entities", "predicted"), "scores": [], "coverage": {}}
            for split in told["splits"]]  # fmt: skip
    if told["kind"] == "train":
        phase, layers = told["config"]["phase"], told["config"]["graph"]["layers"]
        Path(told["artefacts"], told["trial_id"], f"attempt-{told['attempt']}", "best").mkdir(parents=True)
        asked = told["config"]["training"]["selection_averaging"]
        f1 = SCORES[phase][layers] - 0.01 * told["seed"]
        scores = [
            {
                "task": phase,
                "protocol": "pure",
                "averaging": averaging,
                "f1": f1 if averaging == asked else 1 - f1,
            }
            for averaging in AVERAGINGS
        ]
        for row in rows:
            row |= {"entities": "predicted" if phase == "NER" else "gold", "scores": scores}
    else:
        assert all(Path(told[name]).is_dir() for name in ("model_dir", "upstream_dir"))
    yield Message("completed", {"evaluations": rows, "cpu_s": 1.0, "wall_s": 1.0})


class Place:
    """A folder with a ledger and studies on it."""

    def __init__(self, folder: Path) -> None:
        self.ledger, self.study = folder / "ledger.sqlite", folder / "study.toml"

    def run(
        self,
        level: str,
        layers: tuple[int, ...] = (0, 1, 2),
        seeds: int = 1,
        name: str = "s",
        executor: Executor = execute,
        without: str = "",
        averaging: str = "micro",
    ) -> int:
        """A run of the study without some of its text."""
        text = STUDY.format(
            name=name, seeds=list(range(seeds)), layers=list(layers), level=level, averaging=averaging
        )
        assert without in text
        text = text.replace(without, "")
        self.study.write_text(text)
        return standing_in.run(self.study, self.ledger, executor)

    def kept(self) -> set[tuple[str, int, int]]:
        """Phase, layers and seed of the models that are there, by the disk and by the ledger alike."""
        with Ledger.open(self.ledger, read_only=True) as ledger:
            rows, newest = {row.trial_id: row for row in ledger.trials()}, ledger.newest_attempts()
        found = {path.name for path in (self.ledger.parent / "artifacts").glob("*")}
        assert found == {key for key, attempt in newest.items() if "best" in attempt.artefacts}
        kept = [rows[trial_id] for trial_id in found]
        return {(row.phase, row.config["graph"]["layers"], row.seed) for row in kept}

    def trial_id(self, phase: str, layers: int) -> str:
        with Ledger.open(self.ledger, read_only=True) as ledger:
            (found,) = [
                row.trial_id
                for row in ledger.trials()
                if (row.phase, row.config["graph"]["layers"]) == (phase, layers)
            ]
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def everything(seeds: int = 1) -> set[tuple[str, int, int]]:
    return {(phase, layers, seed) for phase in ("NER", "RE") for layers in (0, 1, 2) for seed in range(seeds)}


def test_all_models_stay_unless_asked_otherwise(place: Place) -> None:
    assert place.run("all") == 0
    assert place.kept() == everything()


@pytest.mark.parametrize("averaging", AVERAGINGS)
def test_needed_are_the_best_and_those_whose_entities_re_takes(
    place: Place, capsys: pytest.CaptureFixture[str], averaging: str
) -> None:
    assert place.run("needed", averaging=averaging) == 0
    assert place.kept() == {("NER", 1, 0), ("NER", 2, 0), ("RE", 1, 0)}
    assert 'models not kept, by budget.keep_models = "needed" of study s: 3' in capsys.readouterr().out
    word = "macro F1" if averaging == "macro" else "F1"
    best = f"best demo NER: {place.trial_id('NER', 2)} (dev {word} 0.9000, seed 0)\n"
    assert best in lai("status", place.study, "--ledger", place.ledger).stdout


def test_a_study_that_keeps_what_is_needed_grows(place: Place) -> None:
    assert place.run("needed", layers=(0, 1)) == 0
    assert place.kept() == {("NER", 1, 0), ("RE", 1, 0)}
    assert place.run("needed", seeds=2) == 0
    with Ledger.open(place.ledger, read_only=True) as ledger:
        assert {len(attempts) for attempts in ledger.all_attempts().values()} == {1}
    assert place.kept() == {("NER", 1, 0), ("NER", 1, 1), ("NER", 2, 0), ("RE", 1, 0)}


def test_none_stays_and_what_needs_one_says_so(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("none", layers=(0, 1)) == 0
    assert place.kept() == set()
    trial_id = place.trial_id("NER", 1)
    said = rf'{trial_id}: its model was not kept \(budget.keep_models = "none" of study s\); the command'
    with pytest.raises(InputError, match=said):
        trained_model_folder(trial_id, place.ledger)
    with pytest.raises(InputError, match=said):  # the new level of RE would be evaluated on it
        place.run("none")
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["run", str(place.study), "--ledger", str(place.ledger)])
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    with Ledger.open(place.ledger, read_only=True) as ledger:
        assert len(ledger.all_attempts()) == 4, "nothing was trained"


RE_SECTION = '[datasets.re]\npreset = "demo-re"\nset = { "graph.layers" = 1 }\n'


def warned(place: Place) -> str:
    return CliRunner().invoke(app, ["plan", str(place.study), "--ledger", str(place.ledger)]).stderr


def test_models_that_go_while_nothing_runs_are_told_and_so_is_what_then_cannot_run(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run("all", layers=(0, 1))
    assert warned(place).count("refuse") == 0
    capsys.readouterr()
    assert place.run("needed", layers=(0, 1), without=RE_SECTION) == 0  # the best of NER alone
    assert 'models not kept, by budget.keep_models = "needed" of study s: 1' in capsys.readouterr().out
    assert place.run("none", layers=(0, 1), without=RE_SECTION) == 0
    with pytest.raises(InputError, match=rf"{place.trial_id('NER', 1)}: its model was not kept") as refused:
        place.run("none")
    assert f"`lai run` will refuse: {refused.value}" in warned(place)


def test_models_gone_from_the_disk_are_told_before_anything_is_trained(place: Place) -> None:
    place.run("all", layers=(0, 1), seeds=2)
    gone = sorted((place.ledger.parent / "artifacts").glob("*/attempt-1/best"))
    shutil.rmtree(place.ledger.parent / "artifacts")
    assert place.run("all", layers=(0, 1), seeds=2) == 0, "nothing needs them"
    with pytest.raises(InputError, match=r"the first of 2 such trials\): trial \w+: its model") as refused:
        place.run("all", seeds=2)
    assert any(f"is no longer at {path}; restore that folder, or" in str(refused.value) for path in gone)
    assert f"`lai run` will refuse: {refused.value}" in warned(place)
    with Ledger.open(place.ledger, read_only=True) as ledger:
        assert len(ledger.all_attempts()) == 8, "nothing was trained"
    for path in gone:
        path.mkdir(parents=True)
    assert "refuse" not in warned(place)
    assert place.run("all", seeds=2) == 0


def test_a_setting_made_later_holds_for_what_the_study_trained_before(place: Place) -> None:
    place.run("all", layers=(0, 1))
    assert place.run("needed") == 0
    assert place.kept() == {("NER", 1, 0), ("NER", 2, 0), ("RE", 1, 0)}


def test_the_best_is_not_the_best_of_what_earlier_code_computed(place: Place) -> None:
    place.run("all")
    outdated = EvaluationRow(
        evaluation_id="by earlier semantics", trial_id=place.trial_id("NER", 0), upstream_trial_id=None,
        split="dev", entities="predicted",
        scores=[{"task": "NER", "protocol": "pure", "averaging": "micro", "f1": 0.99}],
    )  # fmt: skip
    with Ledger.open(place.ledger) as ledger:
        ledger.record_evaluation(outdated)
    assert place.run("needed") == 0
    assert place.kept() == {("NER", 1, 0), ("NER", 2, 0), ("RE", 1, 0)}


def test_of_equally_good_models_none_goes_whatever_their_order(place: Place, monkeypatch) -> None:
    monkeypatch.setitem(SCORES["NER"], 0, SCORES["NER"][2])
    for layers in ((0, 1, 2), (2, 1, 0)):
        assert place.run("needed", layers=layers) == 0
        assert place.kept() == {("NER", 0, 0), ("NER", 1, 0), ("NER", 2, 0), ("RE", 1, 0)}


def test_models_of_another_study_stay(place: Place) -> None:
    place.run("all", layers=(0, 1), name="other")
    assert place.run("none") == 0
    assert place.kept() == {(phase, layers, 0) for phase in ("NER", "RE") for layers in (0, 1)}


def test_a_model_stays_while_an_evaluation_with_it_has_failed(place: Place) -> None:
    def failing(spec: str) -> Iterator[Message]:
        if json.loads(spec)["kind"] != "train":
            raise ValueError("no evaluation")
        return execute(spec)

    assert place.run("none", executor=failing) == 1
    assert place.kept() == everything() - {("NER", 0, 0), ("NER", 2, 0)}
    assert place.run("none") == 0
    assert place.kept() == set()

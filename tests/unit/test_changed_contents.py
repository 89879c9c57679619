"""A corpus or annotations that changed since the ledger's trials: said wherever their results are shown."""

import json
from pathlib import Path

import pytest

from analysis.cautions import cautions
from analysis.frame import read_results
from lai_net.corpora.loading import load_corpus
from lai_net.errors import InputError
from tests.unit.commanding import lai
from tune.ledger.ledger import Ledger
from tune.planning.plan import Contents, make_plan
from tune.preparation import prepare
from tune.spec.study import load_study

STUDY = """
name = "mine"
seeds = 1
[[datasets]]
name = "d"
corpus = "corpus"
annotations = "words.toml"
[datasets.ner]
preset = "demo-ner"
"""
WORDS = '[entities]\nA = "a"\n[relations]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study, its corpus and annotations, and a ledger with its one trial."""
    (tmp_path / "corpus").mkdir()
    for split in ("train", "dev", "test"):
        write_corpus(tmp_path, split, "word")
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    (tmp_path / "words.toml").write_text(WORDS, encoding="utf-8")
    corpus = load_corpus(str(tmp_path / "corpus"), name="d", annotations=str(tmp_path / "words.toml"))
    plan = make_plan(load_study(tmp_path / "study.toml"))
    found = plan.identify(Contents({("d", None): corpus}, dict.fromkeys(plan.encoder_names, "encoder")))
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.register_trials([trial.row for trial in found.trials])
    return tmp_path


def write_corpus(folder: Path, split: str, word: str) -> None:
    document = {"doc_key": split, "sentences": [[word]], "ner": [[[0, 0, "A"]]], "relations": [[]]}
    (folder / "corpus" / f"{split}.json").write_text(json.dumps(document), encoding="utf-8")


def said(folder: Path) -> list[str]:
    """What `lai plan`, `lai status` and a report say, in this order."""
    study, ledger = folder / "study.toml", folder / "ledger.sqlite"
    commands = [lai(name, study, "--ledger", ledger) for name in ("plan", "status")]
    lines = [line for result in commands for line in result.stderr.splitlines() if "dataset d" in line]
    return [*lines, *cautions(read_results(ledger, study))]


def test_the_content_that_the_trials_had_or_none_at_hand_is_no_caution(folder: Path) -> None:
    assert said(folder) == []
    (folder / "corpus").rename(folder / "elsewhere")
    assert said(folder) == []


def test_a_corpus_with_one_other_word_is_said_everywhere(folder: Path) -> None:
    corpora = read_results(folder / "ledger.sqlite", folder / "study.toml").corpora
    write_corpus(folder, "train", "sword")
    plan, status, caution = said(folder)
    assert plan == status
    assert plan.startswith(
        f"warning: dataset d: corpus {folder / 'corpus'} changed since the ledger's trials"
    )
    assert f"was {corpora['d'][:10]}" in plan
    assert caution == f"D{plan.removeprefix('warning: d')}."


def test_annotations_with_another_phrase_are_said_everywhere(folder: Path) -> None:
    (folder / "words.toml").write_text(WORDS.replace('"a"', '"b"'), encoding="utf-8")
    plan, *rest = said(folder)
    assert "words.toml changed since the ledger's trials" in plan
    assert len(rest) == 2


def test_a_split_that_became_empty_is_told_by_plan_and_refused_by_run(folder: Path) -> None:
    empty = {"doc_key": "dev", "sentences": [], "ner": [], "relations": []}
    (folder / "corpus" / "dev.json").write_text(json.dumps(empty), encoding="utf-8")
    told = f"{folder / 'corpus'}: dev has no sentences"
    assert all(told in line for line in said(folder))
    with pytest.raises(InputError, match=told):
        prepare(str(folder / "study.toml"), [])

"""Both variants of a corpus with relations between overlapping spans, as ADE has 120 of."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lai_net.cli import app
from lai_net.config import TrialConfig
from lai_net.corpora.check import check_corpus
from lai_net.corpora.loading import load_corpus
from lai_net.errors import InputError
from lai_net.schema import Corpus
from tune.preparation import prepare
from tune.trainable import load_planned_corpus

ADE = Path(__file__).parents[3] / "shared" / "data" / "ade"

STUDY = """
name = "both"
seeds = 1
[[datasets]]
name = "ADE"
corpus = "ade"
folds = 2
[datasets.re]
preset = "demo-re"
[[datasets]]
name = "ADE-no-overlap"
corpus = "ade"
folds = 2
overlapping_relations = "drop"
[datasets.re]
preset = "demo-re"
"""


def sentence(index: int) -> dict[str, Any]:
    """Drug "lithium" inside effect "lithium intoxication", and drug "iron" besides."""
    return {
        "tokens": ["lithium", "intoxication", "after", "iron", str(index)],
        "entities": [
            {"type": "Adverse-Effect", "start": 0, "end": 2},
            {"type": "Drug", "start": 0, "end": 1},
            {"type": "Drug", "start": 3, "end": 4},
        ],
        "relations": [{"type": "Adverse-Effect", "head": 0, "tail": tail} for tail in (1, 2)],
        "orig_id": index,
    }


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two folds of 20 sentences."""
    folder = tmp_path / "ade"
    folder.mkdir()
    for fold in range(2):
        for part, is_test in (("train", False), ("test", True)):
            records = [sentence(index) for index in range(20) if (index % 2 == fold) is is_test]
            (folder / f"ade_split_{fold}_{part}.json").write_text(json.dumps(records))
    return folder


def test_dropped_relations_leave_their_entities_and_give_other_content(corpus: Path) -> None:
    kept, same, dropped = (
        load_corpus(str(corpus), name="ADE", fold=0, **options)  # type: ignore[arg-type]
        for options in ({}, {"overlapping_relations": "keep"}, {"overlapping_relations": "drop"})
    )
    assert kept.content_id == same.content_id != dropped.content_id
    for split, num_sentences in (("train", 9), ("dev", 1), ("test", 10)):
        assert len(kept.sentences(split)) == len(dropped.sentences(split)) == num_sentences
        for whole, part in zip(kept.sentences(split), dropped.sentences(split), strict=True):
            assert (whole.words, whole.entities) == (part.words, part.entities)
            assert part.relations == whole.relations[1:]


def test_both_variants_are_datasets_of_one_study(corpus: Path) -> None:
    study = corpus.parent / "study.toml"
    study.write_text(STUDY)
    prepared = prepare(str(study), [])
    sources = prepared.corpora
    assert [name for name, _ in sources] == ["ADE"] * 2 + ["ADE-no-overlap"] * 2
    assert len({source.content_id for source in sources.values()}) == 4
    relations = {
        key: sum(len(item.relations) for item in load_planned_corpus(source).sentences("test"))
        for key, source in sources.items()
    }
    assert relations == {
        ("ADE", 0): 20, ("ADE", 1): 20, ("ADE-no-overlap", 0): 10, ("ADE-no-overlap", 1): 10,
    }  # fmt: skip
    study.write_text(STUDY.replace('"drop"', '"forget"'))
    with pytest.raises(InputError, match=r"datasets\[1\].overlapping_relations: .*'keep' or 'drop'"):
        prepare(str(study), [])


def test_training_takes_the_variant_from_the_command_line(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def train_trial(_: TrialConfig, __: int, loaded: Corpus, *___: Path, **____: str) -> None:
        seen.append(loaded)
        raise InputError("seen enough")

    monkeypatch.setattr("lai_net.pipeline.train_trial", train_trial)
    arguments = ["re", "--corpus", str(corpus), "--fold", "0", "--preset", "demo-re", "--seed", "1"]
    for variant in ([], ["--overlapping-relations", "drop"]):
        CliRunner().invoke(app, ["train", *arguments, *variant, "--out", str(corpus.parent / "out")])
    assert [len(loaded.sentences("train")[0].relations) for loaded in seen] == [2, 1]


@pytest.mark.skipif(not ADE.exists(), reason="ADE is not at hand")
def test_ade_has_120_of_them() -> None:
    (fold,) = check_corpus(str(ADE / "ade_full.json")).folds
    whole = fold.splits["train"]
    assert (whole.sentences, whole.relations, whole.oddities["overlapping_relations"]) == (4272, 6821, 120)
    dropped = load_corpus(str(ADE / "ade_full.json"), name="ADE", overlapping_relations="drop")
    assert sum(len(item.relations) for item in dropped.sentences("train")) == 6701
    assert sum(len(item.entities) for item in dropped.sentences("train")) == whole.entities == 10839

"""ACE05 as DyGIE++ preprocesses it. Its data may not be shipped, so documents of that form are generated.

What they share with the real ones: JSON lines of documents with many short sentences, word offsets that run
through the document, the label set, nested mentions of other types, sentences without anything, PER-SOC
stated in either direction, and clusters besides.
"""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lai_net.cli import app
from lai_net.config import Phase, TrialConfig
from lai_net.corpora.annotations import load_labels
from lai_net.corpora.check import check_corpus
from lai_net.corpora.loading import load_corpus
from lai_net.extractor import LaiNet
from lai_net.inputs.re_inputs import PairLabels
from lai_net.pipeline import Evaluation, evaluate_trial, train_trial
from lai_net.schema import Document, Sentence
from lai_net.settings import with_settings
from lai_net.trained_model import load_model

Json = dict[str, Any]

NAMES = {
    "FAC": ("the airport", "a prison"),
    "GPE": ("Baghdad", "the United States"),
    "LOC": ("the Gulf", "Europe"),
    "ORG": ("the Pentagon", "CNN"),
    "PER": ("soldiers", "he", "his wife", "Tony Blair"),
    "VEH": ("a tank", "the convoy"),
    "WEA": ("missiles", "a rifle"),
}
PATTERNS = (
    ("PHYS", "PER", "arrived at", "FAC"),
    ("PHYS", "PER", "fled to", "GPE"),
    ("ORG-AFF", "PER", "who works for", "ORG"),
    ("GEN-AFF", "PER", "a citizen of", "GPE"),
    ("PART-WHOLE", "GPE", "which lies in", "LOC"),
    ("PER-SOC", "PER", "is married to", "PER"),
    ("ART", "PER", "carrying", "WEA"),
    ("ART", "ORG", "bought", "VEH"),
    ("", "WEA", "were seen near", "FAC"),
)
FILLERS = ("Yesterday", "officials said that", "but", "on Monday", ". . .")


def generated_document(rng: np.random.Generator, key: str) -> Json:
    """A document of 3 to 6 sentences."""
    document: Json = {"doc_key": key, "sentences": [], "ner": [], "relations": [], "clusters": []}
    for _ in range(rng.integers(3, 7)):
        offset = sum(map(len, document["sentences"]))
        words = str(rng.choice(FILLERS)).split()
        entities: list[list[Any]] = []
        relations: list[list[Any]] = []
        if rng.random() < 0.85:
            label, *parts = PATTERNS[int(rng.integers(len(PATTERNS)))]
            for part in parts:
                said = str(rng.choice(NAMES[part])) if part in NAMES else part
                start = offset + len(words)
                words += said.split()
                if part in NAMES:
                    entities.append([start, offset + len(words) - 1, part])
                if said == "his wife":
                    entities.append([start, start, "PER"])  # a mention inside another
            ends = [
                entity[:2]
                for entity in entities
                if words[entity[0] - offset] != "his" or entity[1] > entity[0]
            ]
            if label:
                subject, target = ends if label != "PER-SOC" or rng.random() < 0.7 else ends[::-1]
                relations.append([*subject, *target, label])
        document["sentences"].append([*words, "."])
        document["ner"].append(entities)
        document["relations"].append(relations)
    return document


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train, dev and test of 16, 2 and 2 documents."""
    rng = np.random.default_rng(2005)
    folder = tmp_path_factory.mktemp("ace05")
    for split, count in (("train", 16), ("dev", 2), ("test", 2)):
        documents = [generated_document(rng, f"{split}-{number}") for number in range(count)]
        lines = "".join(json.dumps(document) + "\n" for document in documents)
        (folder / f"{split}.json").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def models(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Phase, Path]:
    """Both phases on one layer of the offline encoder, NER in windows of its document."""
    corpus = load_corpus(str(folder), name="ACE05")
    settings = {
        "encoder.num_layers": 1,
        "encoder.freeze": "embeddings",
        "input.context_tokens": 100,
        "training.epochs": 4,
        "training.batch_size": 8,
        "training.encoder_lr": 1e-3,
        "training.head_lr": 3e-3,
        "filter.stage": "text",
        "filter.cold_epochs": 1,
        "filter.threshold": 0.0,
    }
    out = tmp_path_factory.mktemp("trials")
    phases: tuple[Phase, ...] = ("NER", "RE")
    for phase in phases:
        config = with_settings(TrialConfig(phase=phase), settings)
        reports = list(train_trial(config, 1, corpus, out / phase))
        assert reports[-1].loss < reports[1].loss
    return {phase: out / phase / "best" for phase in phases}


def test_the_label_set_is_ace05s() -> None:
    labels = load_labels("ace05")
    assert set(labels.entities) == {"FAC", "GPE", "LOC", "ORG", "PER", "VEH", "WEA"}
    assert set(labels.relations) == {"ART", "GEN-AFF", "ORG-AFF", "PART-WHOLE", "PER-SOC", "PHYS"}
    assert labels.symmetric == {"PER-SOC"}
    classes = PairLabels.of(labels)
    assert classes.num_classes == 12  # none, PER-SOC, 5 directed, 5 inverse (PL-Marker)
    assert classes.forward["PER-SOC"] == classes.inverse["PER-SOC"] == 1


def test_its_files_are_read_and_counted(folder: Path) -> None:
    corpus = load_corpus(str(folder), name="ACE05")
    assert corpus.labels == load_labels("ace05")
    train = check_corpus(str(folder)).folds[0].splits["train"]
    assert set(train.entity_labels) == set(corpus.labels.entities)
    assert set(train.relation_labels) == set(corpus.labels.relations)
    assert (train.documents, train.entities) == (16, sum(len(s.entities) for s in corpus.sentences("train")))
    assert train.oddities["overlapping_entities"] > 0
    assert train.unknown_keys == {}
    result = CliRunner().invoke(app, ["corpus", "check", str(folder), "--json"])
    assert json.loads(result.stdout)["splits"]["train"]["relations"] == train.relations


def as_lines(documents: tuple[Document, ...], found: list[Sentence]) -> str:
    """DyGIE JSON lines of predictions, words counted through the document."""
    rest, lines = iter(found), []
    for document in documents:
        row: Json = {"doc_key": document.key, "sentences": [], "predicted_ner": [], "predicted_relations": []}
        offset = 0
        for sentence in document.sentences:
            guess = next(rest)

            def place(entity: Any, offset: int = offset) -> list[int]:
                return [offset + entity.span.start, offset + entity.span.end - 1]

            row["sentences"].append(list(sentence.words))
            row["predicted_ner"].append([[*place(entity), entity.type] for entity in guess.entities])
            row["predicted_relations"].append(
                [[*place(item.subject), *place(item.object), item.type] for item in guess.relations]
            )
            offset += len(sentence.words)
        lines.append(json.dumps(row))
    return "\n".join(lines)


def recorded(evaluation: Evaluation, protocol: str, averaging: str) -> dict[str, dict[str, float]]:
    return {
        row["task"]: {name: row[name] for name in ("precision", "recall", "f1")}
        for row in evaluation.scores
        if (row["protocol"], row["averaging"]) == (protocol, averaging)
    }


def test_predictions_score_as_the_evaluations_of_their_trials(
    folder: Path, models: dict[Phase, Path], tmp_path: Path
) -> None:
    corpus = load_corpus(str(folder), name="ACE05")
    model = LaiNet(load_model(models["NER"]), load_model(models["RE"]))
    found = model.predict(corpus.sentences("train")).sentences
    predicted = tmp_path / "predicted.json"
    predicted.write_text(as_lines(corpus.splits["train"], [item.sentence for item in found]))
    evaluations = (
        evaluate_trial(models["NER"], corpus, "train"),
        evaluate_trial(models["RE"], corpus, "train", upstream_dir=models["NER"]),
    )
    for protocol, averaging in product(("pure", "plmarker"), ("micro", "macro")):
        options = ["--protocol", protocol, "--averaging", averaging, "--json"]
        result = CliRunner().invoke(app, ["score", str(folder / "train.json"), str(predicted), *options])
        expected = {
            task: rates for item in evaluations for task, rates in recorded(item, protocol, averaging).items()
        }
        assert json.loads(result.stdout) == {task: pytest.approx(rates) for task, rates in expected.items()}
        assert expected["NER"]["f1"] > 0.3
        assert expected["RE+"]["f1"] > 0

import json
from pathlib import Path

import pytest

from lai_net.corpora.check import ODDITIES, Place, check_corpus

SCIERC = Path(__file__).parents[3] / "shared" / "data" / "scierc"


def write(path, *documents):
    path.write_text("\n".join(json.dumps(document) for document in documents))


def document(key, words, entities=(), relations=()):
    return {
        "doc_key": key,
        "sentences": [list(words)],
        "ner": [list(entities)],
        "relations": [list(relations)],
    }


LONG = [0, 8, "X"]
ODD = {
    "duplicate_entities": (document("a", "bc", [[0, 0, "X"], [0, 0, "X"], [0, 0, "X"]]), 2),
    "duplicate_relations": (document("a", "bc", [[0, 0, "X"], [1, 1, "X"]], [[0, 0, 1, 1, "R"]] * 2), 1),
    "overlapping_entities": (document("a", "bcd", [[0, 1, "X"], [1, 2, "X"], [1, 2, "Y"]]), 3),
    "long_entities": (document("a", "bcdefghijk", [LONG, [0, 7, "X"]]), 1),
    "unreachable_relations": (document("a", "bcdefghijk", [LONG, [9, 9, "X"]], [[0, 8, 9, 9, "R"]]), 1),
    "unannotated_arguments": (document("a", "bc", [[0, 0, "X"]], [[0, 0, 1, 1, "R"]]), 1),
    "self_relations": (document("a", "bc", [[0, 0, "X"]], [[0, 0, 0, 0, "R"]]), 1),
    "overlapping_relations": (
        document("a", "bcd", [[0, 1, "X"], [1, 2, "X"]], [[0, 1, 1, 2, "R"], [1, 2, 1, 2, "R"]]),
        1,
    ),
    "sentences_without_entities": (document("a", "bc"), 1),
    "empty_sentences": (document("a", ""), 1),
    "empty_words": (document("a", ["b", "", ""], [[0, 0, "X"]]), 2),
    "empty_documents": ({"doc_key": "a", "sentences": [], "ner": [], "relations": []}, 1),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_oddity_is_counted(tmp_path, name):
    odd, count = ODD[name]
    plain = document("b", "bc", [[0, 0, "X"], [1, 1, "Y"]], [[0, 0, 1, 1, "R"]])
    write(tmp_path / "x.json", odd, plain)
    report = check_corpus(str(tmp_path / "x.json")).folds[0].splits["train"]
    assert report.oddities[name] == count
    assert report.places[name] == [Place("a", None if name == "empty_documents" else 0)]


def test_the_first_few_places_of_an_oddity_are_told(tmp_path):
    plain = document("a", "bc", [[0, 0, "X"]])
    write(tmp_path / "x.json", plain, *(document(key, "bc") for key in "defgh"))
    report = check_corpus(str(tmp_path / "x.json")).as_dict()["splits"]["train"]
    assert report["oddities"]["sentences_without_entities"] == 5
    assert report["places"] == {
        "sentences_without_entities": [{"document": key, "sentence": 0} for key in "def"]
    }


def test_labels_that_train_lacks_or_that_differ_by_case_are_named(tmp_path):
    for split, label in (("train", "Chef"), ("dev", "chef"), ("test", "Cook")):
        relation = [0, 0, 1, 1, label.upper()]
        write(tmp_path / f"{split}.json", document(split, "bc", [[0, 0, label], [1, 1, "Chef"]], [relation]))
    [fold] = check_corpus(str(tmp_path)).folds
    assert fold.unseen_labels == {"entities": ["Cook", "chef"], "relations": ["COOK"]}
    assert fold.label_spellings == {"entities": [["Chef", "chef"]], "relations": []}


def test_plain_document_is_not_odd(tmp_path):
    plain = document("b", "bc", [[0, 0, "X"], [1, 1, "Y"]], [[0, 0, 1, 1, "R"]])
    write(tmp_path / "x.json", {**plain, "extra": 1})
    assert check_corpus(str(tmp_path / "x.json")).as_dict() == {
        "source": str(tmp_path / "x.json"),
        "format": "dygie",
        "splits": {
            "train": {
                "documents": 1,
                "sentences": 1,
                "words": 2,
                "entities": 2,
                "relations": 1,
                "entity_labels": {"X": 1, "Y": 1},
                "relation_labels": {"R": 1},
                "oddities": dict.fromkeys(ODDITIES, 0),
                "places": {},
                "unknown_keys": {"extra": 1},
            }
        },
        "shared_documents": {},
        "unseen_labels": {"entities": [], "relations": []},
        "label_spellings": {"entities": [], "relations": []},
    }


def test_shared_documents_have_one_text_or_key(tmp_path):
    write(tmp_path / "train.json", document("a", "bc"), document("b", "de"))
    write(tmp_path / "dev.json", document("a", "xy"), document("c", "fg"))
    write(tmp_path / "test.json", document("d", "de"), document("e", "fg"), document("f", "hi"))
    [fold] = check_corpus(str(tmp_path)).folds
    assert fold.shared_documents == {"train+dev": 1, "train+test": 1, "dev+test": 1}


def test_orig_ids_of_two_spert_files_are_not_compared(tmp_path):
    for split in ("train", "dev", "test"):
        record = {"tokens": [split], "entities": [], "relations": [], "orig_id": 1}
        (tmp_path / f"{split}.json").write_text(json.dumps([record]))
    [fold] = check_corpus(str(tmp_path)).folds
    assert set(fold.shared_documents.values()) == {0}


def test_every_fold_is_counted(tmp_path):
    for fold in (0, 1):
        for part in ("train", "test"):
            record = {"tokens": [part] * (fold + 1), "entities": [], "relations": []}
            (tmp_path / f"ade_split_{fold}_{part}.json").write_text(json.dumps([record]))
    report = check_corpus(str(tmp_path)).as_dict()
    assert [fold["splits"]["test"]["words"] for fold in report["folds"]] == [1, 2]


def test_embedded_corpus_is_counted():
    report = check_corpus("embedded").as_dict()
    assert report["format"] == "generated"
    assert report["splits"]["test"]["sentences"] == 60


@pytest.mark.skipif(not SCIERC.exists(), reason="SciERC is not at hand")
def test_scierc():
    splits = check_corpus(str(SCIERC)).folds[0].splits
    assert [(s.documents, s.sentences, s.words, s.entities, s.relations) for s in splits.values()] == [
        (350, 1861, 45412, 5598, 3219),
        (50, 275, 6521, 811, 455),
        (100, 551, 13401, 1685, 974),
    ]
    assert [s.oddities["overlapping_entities"] for s in splits.values()] == [61, 7, 20]
    assert [s.oddities["duplicate_relations"] for s in splits.values()] == [4, 0, 0]
    test = splits["test"].oddities
    assert (test["long_entities"], test["unreachable_relations"]) == (11, 10)

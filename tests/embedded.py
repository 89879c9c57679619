"""The embedded corpus, cut short."""

from lai_net.corpora.loading import load_corpus
from lai_net.schema import Corpus


def small_corpus(count: int) -> Corpus:
    """The first so many documents of each split."""
    whole = load_corpus("embedded", name="embedded")
    splits = {name: documents[:count] for name, documents in whole.splits.items()}
    return Corpus(name="small", splits=splits, labels=whole.labels)

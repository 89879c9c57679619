"""Counts per document: what a bootstrap over the documents of a split needs, and nothing more."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice

from lai_net.metrics.scoring import MatchCounts, Protocol, Task, count_matches
from lai_net.schema import Document, Sentence


@dataclass(frozen=True, slots=True)
class DocumentCounts:
    """What was counted of one task under one protocol.

    Attributes:
        labels: sorted; those that occur in gold or in predictions anywhere in the split.
        counts: one row a document, in the corpus' order: gold, predicted and matched of each label in turn.
    """

    task: Task
    protocol: Protocol
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def count_documents(
    documents: Sequence[Document],
    predicted: Sequence[Sentence],
    *,
    protocol: Protocol,
    tasks: Sequence[Task],
    symmetric: AbstractSet[str],
) -> Iterator[DocumentCounts]:
    """Count per document; the sum over documents is what `score_sentences` scores.

    Args:
        documents: with gold annotations.
        predicted: their sentences in order, with predicted annotations.
        protocol: `pure` or `plmarker`.
        tasks: those to count.
        symmetric: relation types without a direction.
    """
    rest = iter(predicted)
    parts = []
    for document in documents:
        guesses = list(islice(rest, len(document.sentences)))
        parts.append(count_matches(document.sentences, guesses, protocol=protocol, symmetric=symmetric))
    for task in tasks:
        labels = tuple(sorted({label for part in parts for label in part[task]}))
        found = [[part[task].get(label, MatchCounts()) for label in labels] for part in parts]
        rows = tuple(
            tuple(number for own in row for number in (own.gold, own.predicted, own.matched)) for row in found
        )
        yield DocumentCounts(task, protocol, labels, rows)

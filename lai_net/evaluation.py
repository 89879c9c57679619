"""What a trained model's predictions on a split are worth, in every way of counting."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from lai_net.config import EntitySource
from lai_net.metrics.documents import count_documents
from lai_net.metrics.scoring import Averaging, MatchCounts, Protocol, Task, average, count_matches
from lai_net.schema import Corpus, Sentence
from lai_net.training.task import Predictions

PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
AVERAGINGS: tuple[Averaging, ...] = get_args(Averaging)
_ByLabel = dict[str, MatchCounts]


@dataclass(frozen=True)
class Evaluation:
    """Scores of one trial on one split.

    Attributes:
        split: dev or test.
        entities: `predicted` (NER, or RE on a trial's predictions), `gold` (RE), or `gold_typed_by_model` (RE
            on gold spans that take their types from a model).
        scores: per task, protocol and averaging: precision, recall and f1 in 0-1; of NER also `f1_overlap`,
            the F1 with the entities that were left out since a likelier one of their type overlaps them.
        coverage: what was seen, kept and unreachable, as counts.
        documents: per task and protocol the counts of each document (`lai_net.metrics.documents`).
    """

    split: str
    entities: str
    scores: list[dict[str, Any]]
    coverage: dict[str, int]
    documents: list[dict[str, Any]]


def score_split(
    corpus: Corpus, split: str, predictions: Predictions, entities: EntitySource, tasks: Sequence[Task]
) -> Evaluation:
    """Score predictions on a whole split by every protocol and averaging, and count them by document."""
    scores = [
        {
            "task": task,
            "protocol": protocol,
            "averaging": averaging,
            **asdict(average(counts[task], averaging)),
        }
        | ({"f1_overlap": average(overlapping, averaging).f1} if task == "NER" else {})
        for protocol in PROTOCOLS
        for counts, overlapping in [_count(corpus, split, predictions, protocol, tasks)]
        for averaging in AVERAGINGS
        for task in tasks
    ]
    documents = [
        asdict(counts)
        for protocol in PROTOCOLS
        for counts in count_documents(
            corpus.splits[split],
            predictions.plain,
            protocol=protocol,
            tasks=tasks,
            symmetric=corpus.labels.symmetric,
        )
    ]
    return Evaluation(split, entities, scores, dict(predictions.coverage), documents)


def _count(
    corpus: Corpus, split: str, predictions: Predictions, protocol: Protocol, tasks: Sequence[Task]
) -> tuple[dict[Task, _ByLabel], _ByLabel]:
    """Matches by task and label, and those of NER before overlaps of one type are removed.

    PL-Marker's run_acener.py prints both numbers.
    """
    gold, symmetric = corpus.sentences(split), corpus.labels.symmetric
    counts = count_matches(gold, predictions.plain, protocol=protocol, symmetric=symmetric)
    if "NER" not in tasks:
        return counts, {}
    overlapping = [
        Sentence(item.words, tuple(entity for entity, _ in (*item.entities, *item.overlapping)))
        for item in predictions.sentences
    ]
    return counts, count_matches(gold, overlapping, protocol=protocol, symmetric=symmetric)["NER"]

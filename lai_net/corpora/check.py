"""What a corpus holds, by split and label, and what is odd about it but no reason to refuse it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from lai_net.config import InputConfig
from lai_net.corpora.embedded import generate_splits
from lai_net.corpora.loading import EMBEDDED, locate_folds, num_dev, read_corpus_file
from lai_net.corpora.records import CorpusFile
from lai_net.schema import Document, Sentence

MAX_SPAN_WORDS = InputConfig().max_span_words

ODDITIES = {
    "duplicate_entities": "entities listed again",
    "duplicate_relations": "relations listed again",
    "overlapping_entities": "pairs of overlapping entities",
    "long_entities": f"entities of more than {MAX_SPAN_WORDS} words",
    "unreachable_relations": f"relations of an entity of more than {MAX_SPAN_WORDS} words",
    "unannotated_arguments": "relation arguments that are no entity",
    "self_relations": "relations of a span with itself",
    "overlapping_relations": "relations of overlapping spans",
    "sentences_without_entities": "sentences without entities",
    "empty_sentences": "sentences without words",
    "empty_words": "empty words",
    "empty_documents": "documents without sentences",
}
"""What is counted and said in each split."""
_NUM_PLACES = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is: the document's key, and there the sentence, from 0; None for all of it."""

    document: str
    sentence: int | None

    def __str__(self) -> str:
        where = "" if self.sentence is None else f", sentence {self.sentence}"
        return f"document {self.document!r}{where}"


@dataclass(frozen=True, slots=True)
class SplitReport:
    """Counts of one split; annotations that are listed twice count twice.

    `places` has the first few of each oddity that there is.
    """

    documents: int
    sentences: int
    words: int
    entities: int
    relations: int
    entity_labels: Mapping[str, int]
    relation_labels: Mapping[str, int]
    oddities: Mapping[str, int]
    places: Mapping[str, Sequence[Place]]
    unknown_keys: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class FoldReport:
    """The splits of one fold (or of the whole corpus), and what shows when they are compared.

    Attributes:
        splits: by name.
        shared_documents: how many documents two of them share.
        unseen_labels: `entities` and `relations` to the labels that train lacks.
        label_spellings: likewise to the labels that differ by case alone, those of one word together.
    """

    splits: Mapping[str, SplitReport]
    shared_documents: Mapping[str, int]
    unseen_labels: Mapping[str, Sequence[str]]
    label_spellings: Mapping[str, Sequence[Sequence[str]]]

    @property
    def obstacles(self) -> list[str]:
        """Why `lai_net.corpora.loading.check_splits` refuses it."""
        empty = [split for split, report in self.splits.items() if not report.sentences]
        lines = [f"{split} has no sentences, without which nothing is trained" for split in empty]
        train = self.splits["train"].documents
        if self.splits.keys() == {"train", "test"} and num_dev(train) == 0:
            lines.append(f"train has too few documents to cut dev from: {train}; nothing is trained on it")
        return lines


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """The folds of a corpus; one where it has none."""

    source: str
    format: str
    folds: tuple[FoldReport, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values; a corpus without folds shows its `splits` and `shared_documents` at the top."""
        head = {"source": self.source, "format": self.format}
        folds = [asdict(fold) for fold in self.folds]
        return {**head, **folds[0]} if len(folds) == 1 else {**head, "folds": folds}


def check_corpus(source: str, format: str | None = None) -> CorpusReport:  # noqa: A002
    """Read everything a source has and count it.

    Args:
        source: what `load_corpus` takes.
        format: `dygie` or `spert`; None detects it, file by file.

    Raises:
        InputError: with `path:line` for a file that is refused.
    """
    if source == EMBEDDED:
        generated = {split: CorpusFile("dygie", docs, {}) for split, docs in generate_splits().items()}
        return CorpusReport(source, "generated", (_fold_report(generated),))
    formats: set[str] = set()
    reports = []
    for paths in locate_folds(source):
        files = {split: read_corpus_file(path, format) for split, path in paths.items()}
        formats.update(file.format for file in files.values())
        reports.append(_fold_report(files))
    return CorpusReport(source, " and ".join(sorted(formats)), tuple(reports))


def _fold_report(files: Mapping[str, CorpusFile]) -> FoldReport:
    shared = {
        f"{first}+{second}": _num_shared(files[first], files[second])
        for first, second in combinations(files, 2)
    }
    splits = {split: _split_report(file) for split, file in files.items()}
    labels = {
        "entities": {split: report.entity_labels.keys() for split, report in splits.items()},
        "relations": {split: report.relation_labels.keys() for split, report in splits.items()},
    }
    return FoldReport(
        splits,
        shared,
        {kind: sorted(set().union(*used.values()) - used["train"]) for kind, used in labels.items()},
        {kind: _spellings(set().union(*used.values())) for kind, used in labels.items()},
    )


def _spellings(labels: Set[str]) -> list[list[str]]:
    """The labels that differ by case alone, those of one word together."""
    by_word: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        by_word[label.casefold()].append(label)
    return [spellings for spellings in by_word.values() if len(spellings) > 1]


def _num_shared(first: CorpusFile, second: CorpusFile) -> int:
    """How many documents of `second` have the text, or in DyGIE files the key, of one of `first`.

    SpERT's `orig_id` is unique in its file only and says nothing across files.
    """
    texts = {_text(document) for document in first.documents}
    keys = (
        {document.key for document in first.documents} if first.format == second.format == "dygie" else set()
    )
    return sum(_text(document) in texts or document.key in keys for document in second.documents)


def _text(document: Document) -> tuple[tuple[str, ...], ...]:
    return tuple(sentence.words for sentence in document.sentences)


def _split_report(file: CorpusFile) -> SplitReport:
    sentences = [sentence for document in file.documents for sentence in document.sentences]
    oddities = dict.fromkeys(ODDITIES, 0)
    places: dict[str, list[Place]] = {}
    for name, count, place in _found(file.documents):
        oddities[name] += count
        if len(known := places.setdefault(name, [])) < _NUM_PLACES:
            known.append(place)
    return SplitReport(
        documents=len(file.documents),
        sentences=len(sentences),
        words=sum(len(sentence.words) for sentence in sentences),
        entities=sum(len(sentence.entities) for sentence in sentences),
        relations=sum(len(sentence.relations) for sentence in sentences),
        entity_labels=_sorted_counts([e.type for sentence in sentences for e in sentence.entities]),
        relation_labels=_sorted_counts([r.type for sentence in sentences for r in sentence.relations]),
        oddities=oddities,
        places=places,
        unknown_keys=file.unknown_keys,
    )


def _sorted_counts(labels: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(labels).items()))


def _found(documents: Sequence[Document]) -> Iterator[tuple[str, int, Place]]:
    """Every oddity that there is, in the order of the text: its name, how many, and where."""
    for document in documents:
        if not document.sentences:
            yield "empty_documents", 1, Place(document.key, None)
        for index, sentence in enumerate(document.sentences):
            place = Place(document.key, index)
            yield from ((name, count, place) for name, count in _oddities(sentence).items() if count)


def _oddities(sentence: Sentence) -> dict[str, int]:
    """Every oddity's count in one sentence; a duplicate is no overlap."""
    entities, relations = set(sentence.entities), set(sentence.relations)
    long_spans = {e.span for e in entities if e.span.end - e.span.start > MAX_SPAN_WORDS}
    pairs = [(relation.subject, relation.object) for relation in sentence.relations]
    return {
        "duplicate_entities": len(sentence.entities) - len(entities),
        "duplicate_relations": len(sentence.relations) - len(relations),
        "overlapping_entities": sum(a.span.overlaps(b.span) for a, b in combinations(entities, 2)),
        "long_entities": sum(entity.span in long_spans for entity in sentence.entities),
        "unreachable_relations": sum(a.span in long_spans or b.span in long_spans for a, b in pairs),
        "unannotated_arguments": sum((not a.type) + (not b.type) for a, b in pairs),
        "self_relations": sum(a.span == b.span for a, b in pairs),
        "overlapping_relations": sum(relation.is_overlapping for relation in sentence.relations),
        "sentences_without_entities": not entities,
        "empty_sentences": not sentence.words,
        "empty_words": sentence.words.count(""),
    }

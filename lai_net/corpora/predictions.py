"""Predicted annotations for `lai score`, aligned with the gold documents."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lai_net.corpora.dygie import join_relation, read_dygie_predictions, sentence_frames
from lai_net.corpora.loading import detect_format
from lai_net.corpora.records import (
    CorpusFile,
    Location,
    label_at,
    list_at,
    object_at,
    parse_json,
    read_text,
    shown,
)
from lai_net.errors import InputError
from lai_net.schema import Document, Relation, Sentence, iterate_sentences

_SAME_FILE = "score predictions of the gold file"


def read_predictions(path: Path, ner_path: Path | None = None) -> tuple[Document, ...]:
    """Read predictions.

    Args:
        path: DyGIE JSON lines with `predicted_ner` and `predicted_relations`; with `ner_path`, what
            PL-Marker's RE writes (`pred_results.json`: index of the document -> list of [sentence, pairs]).
        ner_path: what PL-Marker's NER wrote (`ent_pred_test.json`), whose entities the relations join.

    Raises:
        InputError: a file is malformed, or they do not belong together.
    """
    if ner_path is None:
        if _is_plmarker_file(path):
            raise InputError(f"{path}: is PL-Marker's RE output; give its NER output, too, with --ner FILE")
        if detect_format(path) == "spert":
            raise InputError(
                f"{path}: is one JSON list, as SpERT writes; give DyGIE JSON lines with predicted_ner"
            )
        return read_dygie_predictions(path).documents
    documents = read_dygie_predictions(ner_path).documents
    place = Location(path, 1)
    by_index = object_at(parse_json(read_text(path), place), place, "PL-Marker's RE output")
    known = {str(index) for index in range(len(documents))}
    strangers = by_index.keys() - known
    if strangers:
        raise place.error(
            f"document {shown(min(strangers))} is not among the {len(documents)} of {ner_path}",
            "give the RE and NER output of one run",
        )
    return tuple(
        _with_relations(document, by_index.get(str(index), []), place)
        for index, document in enumerate(documents)
    )


def _is_plmarker_file(path: Path) -> bool:
    """Whether the file is one JSON object whose keys are numbers."""
    try:
        value = json.loads(read_text(path))
    except (ValueError, RecursionError):  # several lines, or no JSON: the DyGIE reader's business
        return False
    return isinstance(value, dict) and all(key.isdecimal() for key in value)


def _with_relations(document: Document, rows: Any, place: Location) -> Document:
    what = f"document {shown(document.key)}"
    frames = sentence_frames([sentence.words for sentence in document.sentences], place, f"{what}, ")
    relations: dict[int, list[Relation]] = {}
    for row in list_at(rows, place, what):
        if not isinstance(row, list) or len(row) != 2 or type(row[0]) is not int:
            raise place.error(
                f"{what}: a row must be [sentence, pairs], but is {shown(row)}", "mend that row"
            )
        index, pairs = row
        if not 0 <= index < len(frames):
            raise place.error(f"{what} has no sentence {index}", "give the RE and NER output of one run")
        entities = document.sentences[index].entities
        for offsets, label in _pairs(pairs, place, what):
            relations.setdefault(index, []).append(join_relation(frames[index], entities, offsets, label))
    return Document(
        document.key,
        tuple(
            Sentence(sentence.words, sentence.entities, tuple(relations.get(index, ())))
            for index, sentence in enumerate(document.sentences)
        ),
    )


def _pairs(pairs: Any, place: Location, what: str) -> Iterator[tuple[list[Any], str]]:
    for pair in list_at(pairs, place, f"{what}: the pairs"):
        is_pair = isinstance(pair, list) and len(pair) == 3
        if not is_pair or not all(isinstance(span, list) and len(span) == 2 for span in pair[:2]):
            raise place.error(
                f"{what}: a pair must be [[start, end], [start, end], type], but is {shown(pair)}",
                "mend that pair",
            )
        subject, object_, label = pair
        yield [*subject, *object_], label_at(label, place, f"{what}: a pair's type")


def align(
    gold: CorpusFile, predicted: Sequence[Document], gold_path: Path, predicted_path: Path
) -> tuple[list[Sentence], list[Sentence]]:
    """Pair predicted with gold sentences.

    DyGIE documents are paired by key, SpERT's (which have no key in DyGIE's sense) by their order.

    Raises:
        InputError: a document or sentence of one file has no counterpart in the other, or other words.
    """
    truths = list(iterate_sentences(gold.documents))
    if gold.format == "dygie":
        predicted = _in_gold_order(gold.documents, {doc.key: doc for doc in predicted}, predicted_path)
    guesses = list(iterate_sentences(predicted))
    if len(truths) != len(guesses):
        raise InputError(
            f"{predicted_path}: has {len(guesses)} sentences, but {gold_path} has {len(truths)}; {_SAME_FILE}"
        )
    for index, (truth, guess) in enumerate(zip(truths, guesses, strict=True)):
        if truth.words != guess.words:
            raise InputError(
                f"{predicted_path}: sentence {index} of the file is {shown(' '.join(guess.words))}, "
                f"but {gold_path} has {shown(' '.join(truth.words))}; {_SAME_FILE}"
            )
    return truths, guesses


def _in_gold_order(
    gold: Sequence[Document], predicted: Mapping[str, Document], predicted_path: Path
) -> list[Document]:
    keys = {document.key for document in gold}
    for missing, wrong in ((keys - predicted.keys(), "has no"), (predicted.keys() - keys, "has an unknown")):
        if missing:
            raise InputError(f"{predicted_path}: {wrong} document {shown(min(missing))}; {_SAME_FILE}")
    return [predicted[document.key] for document in gold]

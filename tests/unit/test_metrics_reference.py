"""Scores of random files against a naive second implementation of what PURE and PL-Marker count.

The reference works on the rows of the JSON itself, one document at a time, by nested loops over lists, and
shares nothing with `lai_net.metrics.scoring` or the readers. Documents have duplicates, overlaps, spans of
several types, relations in both directions, symmetric and self relations, and arguments that are no entity.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lai_net.corpora.loading import read_corpus_file
from lai_net.corpora.predictions import align, read_predictions
from lai_net.corpora.records import CorpusFile
from lai_net.metrics.scoring import Averaging, Protocol, score_sentences

ENTITY_TYPES, SYMMETRIC, DIRECTED = ("X", "Y", "Z"), ("SYM", "LIKE"), ("DIR", "PART")
NUM_FILES, DOCUMENTS_A_FILE = 40, 8

Json = dict[str, Any]
Rates = tuple[float, float, float]


def random_document(rng: np.random.Generator, key: str) -> Json:
    """Gold and predictions; predictions are gold rows, changed gold rows, and noise."""
    sentences = [["w"] * int(rng.integers(1, 7)) for _ in range(rng.integers(1, 4))]
    document: Json = {"doc_key": key, "sentences": sentences}
    for name in ("ner", "relations", "predicted_ner", "predicted_relations"):
        document[name] = []
    first = 0
    for words in sentences:
        last = first + len(words) - 1
        gold = [random_entity(rng, first, last) for _ in range(rng.integers(0, 5))]
        guesses = [row for row in gold if rng.random() < 0.7]
        guesses += [[*row[:2], str(rng.choice(ENTITY_TYPES))] for row in gold if rng.random() < 0.2]
        guesses += [random_entity(rng, first, last) for _ in range(rng.integers(0, 2))]
        relations = [random_relation(rng, gold) for _ in range(rng.integers(0, 5)) if gold]
        found = [row for row in relations if rng.random() < 0.6]
        found += [[*row[2:4], *row[:2], row[4]] for row in relations if rng.random() < 0.3]
        found += [random_relation(rng, guesses) for _ in range(rng.integers(0, 3)) if guesses]
        document["ner"].append(gold)
        document["relations"].append(relations)
        document["predicted_ner"].append(shuffled(rng, guesses))
        document["predicted_relations"].append(shuffled(rng, found))
        first = last + 1
    return document


def random_entity(rng: np.random.Generator, first: int, last: int) -> list[Any]:
    start = int(rng.integers(first, last + 1))
    return [start, min(last, start + int(rng.integers(0, 3))), str(rng.choice(ENTITY_TYPES))]


def random_relation(rng: np.random.Generator, entities: list[list[Any]]) -> list[Any]:
    """Between any two entities, one and the same among them; its last word may be cut off the first."""
    subject, target = (entities[int(rng.integers(len(entities)))][:2] for _ in range(2))
    if rng.random() < 0.1:
        subject = [subject[0], subject[0]]
    return [*subject, *target, str(rng.choice([*SYMMETRIC, *DIRECTED]))]


def shuffled(rng: np.random.Generator, rows: list[list[Any]]) -> list[list[Any]]:
    return [rows[index] for index in rng.permutation(len(rows))]


class Tally:
    """Counts of gold, predicted and matched, by task and label."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, list[int]]] = {"NER": {}, "RE": {}, "RE+": {}}

    def add(self, task: str, label: str, kind: int) -> None:
        self.counts[task].setdefault(label, [0, 0, 0])[kind] += 1

    def rates(self, task: str, averaging: str) -> Rates:
        rows = list(self.counts[task].values())
        if averaging == "micro":
            return rates_of([sum(row[kind] for row in rows) for kind in range(3)])
        each = [rates_of(row) for row in rows]
        return tuple(sum(rates[i] for rates in each) / max(1, len(each)) for i in range(3))  # type: ignore[return-value]


def rates_of(counts: list[int]) -> Rates:
    gold, predicted, matched = counts
    precision = matched / predicted if predicted else 0.0
    recall = matched / gold if gold else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if matched else 0.0


GOLD, PREDICTED, MATCHED = range(3)


def count_pure(document: Json, tally: Tally) -> None:
    """Everything as often as it is listed; RE+ asks whether both spans were found with a right type."""
    for index in range(len(document["sentences"])):
        gold, guesses = document["ner"][index], document["predicted_ner"][index]
        right_spans = []
        for row in gold:
            tally.add("NER", row[2], GOLD)
        for row in guesses:
            tally.add("NER", row[2], PREDICTED)
            if row[:3] in gold:
                tally.add("NER", row[2], MATCHED)
                right_spans.append(row[:2])
        relations = document["relations"][index]
        for task in ("RE", "RE+"):
            for row in relations:
                tally.add(task, row[4], GOLD)
            for row in document["predicted_relations"][index]:
                tally.add(task, row[4], PREDICTED)
                is_strict = row[:2] in right_spans and row[2:4] in right_spans
                if row[:5] in relations and (task == "RE" or is_strict):
                    tally.add(task, row[4], MATCHED)


def count_plmarker(document: Json, tally: Tally) -> None:
    """Everything once; a symmetric relation is two relations, one a direction; RE+ compares the types."""
    for index in range(len(document["sentences"])):
        gold, guesses = (
            without_repeats(document["ner"][index]),
            without_repeats(document["predicted_ner"][index]),
        )
        for row in gold:
            tally.add("NER", row[2], GOLD)
        for row in guesses:
            tally.add("NER", row[2], PREDICTED)
            if row in gold:
                tally.add("NER", row[2], MATCHED)
        relations = both_directions(document["relations"][index])
        found = both_directions(document["predicted_relations"][index])
        for task in ("RE", "RE+"):
            for row in relations:
                tally.add(task, row[4], GOLD)
            for row in found:
                tally.add(task, row[4], PREDICTED)
                types = [
                    (type_at(row[at : at + 2], document["ner"][index]),
                     type_at(row[at : at + 2], document["predicted_ner"][index]))
                    for at in (0, 2)
                ]  # fmt: skip
                is_strict = all(truth == guess and truth for truth, guess in types)
                if row in relations and (task == "RE" or is_strict):
                    tally.add(task, row[4], MATCHED)


def without_repeats(rows: list[list[Any]]) -> list[list[Any]]:
    kept: list[list[Any]] = []
    for row in rows:
        if row not in kept:
            kept.append(row)
    return kept


def both_directions(rows: list[list[Any]]) -> list[list[Any]]:
    turned = [[*row[2:4], *row[:2], row[4]] for row in rows if row[4] in SYMMETRIC]
    return without_repeats([*rows, *turned])


def type_at(span: list[int], entities: list[list[Any]]) -> str:
    found = ""
    for row in entities:
        if row[:2] == span:
            found = row[2]
    return found


COUNT = {"pure": count_pure, "plmarker": count_plmarker}


def with_scores(rng: np.random.Generator, document: Json) -> Json:
    """Predictions as DyGIE++ writes them: each row ends in its scores."""
    rows = {
        name: [[[*row, *rng.random(2).tolist()] for row in sentence] for sentence in document[name]]
        for name in ("predicted_ner", "predicted_relations")
    }
    return {**document, **rows}


def write_lines(path: Path, documents: list[Json]) -> Path:
    path.write_text("\n".join(json.dumps(document) for document in documents), encoding="utf-8")
    return path


def write_plmarker(folder: Path, documents: list[Json]) -> tuple[Path, Path]:
    """PL-Marker's two files: NER as JSON lines, RE as a dictionary that leaves out what has no relation."""
    ner = [{key: value for key, value in doc.items() if key != "predicted_relations"} for doc in documents]
    relations: dict[str, list[Any]] = {}
    for number, document in enumerate(documents):
        rows = [
            [index, [[row[:2], row[2:4], row[4]] for row in sentence]]
            for index, sentence in enumerate(document["predicted_relations"])
            if sentence
        ]
        if rows:
            relations[str(number)] = rows
    path = folder / "pred_results.json"
    path.write_text(json.dumps(relations), encoding="utf-8")
    return path, write_lines(folder / "ent_pred_test.json", ner)


def scored(
    gold: CorpusFile, paths: tuple[Path, Path, Path | None], protocol: Protocol, averaging: Averaging
) -> dict[str, Rates]:
    gold_path, path, ner_path = paths
    truths, guesses = align(gold, read_predictions(path, ner_path), gold_path, path)
    scores = score_sentences(
        truths, guesses, protocol=protocol, averaging=averaging, symmetric=frozenset(SYMMETRIC)
    )
    return {task: (found.precision, found.recall, found.f1) for task, found in scores.items()}


@pytest.mark.parametrize("protocol", ["pure", "plmarker"])
@pytest.mark.parametrize("file_format", ["plain", "scores", "plmarker"])
def test_random_files_score_as_the_reference_counts(
    protocol: Protocol, file_format: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(17)
    matched = 0
    for _ in range(NUM_FILES):
        documents = [random_document(rng, f"d{number}") for number in range(DOCUMENTS_A_FILE)]
        gold_path = write_lines(tmp_path / "gold.json", documents)
        ner_path = None
        if file_format == "plmarker":
            path, ner_path = write_plmarker(tmp_path, documents)
        else:
            written = [with_scores(rng, doc) for doc in documents] if file_format == "scores" else documents
            path = write_lines(tmp_path / "predicted.json", written[::-1])
        tally = Tally()
        for document in documents:
            COUNT[protocol](document, tally)
        for averaging in ("micro", "macro"):
            found = scored(read_corpus_file(gold_path), (gold_path, path, ner_path), protocol, averaging)
            for task in ("NER", "RE", "RE+"):
                assert found[task] == pytest.approx(tally.rates(task, averaging), abs=1e-12), task
        matched += sum(counts[MATCHED] for counts in tally.counts["RE+"].values())
    assert matched > 200


def decoded_by_plmarker(rng: np.random.Generator, key: str) -> Json:
    """What PL-Marker's data and decoder can hold: no repeats, one type a span, a relation a pair at most."""
    document = random_document(rng, key)
    for index in range(len(document["sentences"])):
        for ner, relations in (("ner", "relations"), ("predicted_ner", "predicted_relations")):
            typed = {tuple(row[:2]): row for row in document[ner][index]}
            document[ner][index] = list(typed.values())
            pairs: dict[frozenset[Any], list[Any]] = {}
            for row in document[relations][index]:
                subject, target = tuple(row[:2]), tuple(row[2:4])
                if subject != target and subject in typed and target in typed:
                    pairs.setdefault(frozenset((subject, target)), row)
            document[relations][index] = list(pairs.values())
    return document


def test_plmarkers_own_way_of_counting_gives_the_same(tmp_path: Path) -> None:
    """Its evaluation takes predictions pair by pair and adds 2 for a symmetric one (model.md, section b)."""
    rng = np.random.default_rng(18)
    seen = 0
    for _ in range(NUM_FILES):
        documents = [decoded_by_plmarker(rng, f"d{number}") for number in range(DOCUMENTS_A_FILE)]
        recall_base = total = correct = strict = 0
        for document in documents:
            for index in range(len(document["sentences"])):
                truths = document["relations"][index]
                recall_base += sum(2 if row[4] in SYMMETRIC else 1 for row in truths)
                for row in document["predicted_relations"][index]:
                    worth = 2 if row[4] in SYMMETRIC else 1
                    total += worth
                    turned = [*row[2:4], *row[:2], row[4]]
                    if row in truths or (worth == 2 and turned in truths):
                        correct += worth
                        spans = (row[:2], row[2:4])
                        own = [type_at(span, document["predicted_ner"][index]) for span in spans]
                        if own == [type_at(span, document["ner"][index]) for span in spans]:
                            strict += worth
        path = write_lines(tmp_path / "both.json", documents)
        found = scored(read_corpus_file(path), (path, path, None), "plmarker", "micro")
        assert found["RE"] == pytest.approx(rates_of([recall_base, total, correct]))
        assert found["RE+"] == pytest.approx(rates_of([recall_base, total, strict]))
        seen += strict
    assert seen > 50

"""Sentences to NER batches: every span of at most `max_span_words` words is a candidate.

B batch, T text tokens, P candidates of a sentence.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lai_net.inputs.batching import Batch, padded
from lai_net.inputs.tokenization import WordTokenizer
from lai_net.schema import Sentence, Span


@dataclass(frozen=True, slots=True)
class NerExample:
    """One sentence.

    Attributes:
        ids: word pieces of [CLS] text [SEP].
        num_words: words that fit.
        spans: int (P, 2), half-open words, ordered by start, then end.
        bounds: int (P, 2), first and last word piece.
        targets: int (P,), 0 = no entity, else 1 + index of the entity type.
    """

    ids: list[int]
    num_words: int
    spans: np.ndarray
    bounds: np.ndarray
    targets: np.ndarray

    def subset(self, negatives: int, draw: np.random.Generator) -> "NerExample":
        """All gold spans and a sample of `negatives` others, in candidate order."""
        others = np.flatnonzero(self.targets == 0)
        if len(others) > negatives:
            others = draw.choice(others, negatives, replace=False)
        keep = np.sort(np.concatenate([np.flatnonzero(self.targets), others]))
        return NerExample(self.ids, self.num_words, self.spans[keep], self.bounds[keep], self.targets[keep])


@dataclass(frozen=True)
class NerBatch(Batch):
    """Padded tensors of several examples: ids (B, T), bounds (B, P, 2), targets (B, P), num_words (B,)."""

    ids: Tensor
    ids_valid: Tensor
    bounds: Tensor
    valid: Tensor
    targets: Tensor
    num_words: Tensor


def ner_examples(
    sentences: Sequence[Sentence],
    tokenizer: WordTokenizer,
    entity_types: Sequence[str],
    *,
    max_text_tokens: int,
    max_span_words: int,
) -> tuple[list[NerExample], Counter[str]]:
    """Turn sentences into examples.

    Returns:
        An example a sentence, and what was seen and lost: `sentences`, `sentences_cut`, `entities`,
        `entities_unreachable` (too long, beyond the text limit, or a second type of a span).
    """
    index = {name: number for number, name in enumerate(entity_types, start=1)}
    coverage: Counter[str] = Counter(sentences=0, sentences_cut=0, entities=0, entities_unreachable=0)
    examples = []
    for sentence in sentences:
        text = tokenizer.text(sentence.words, max_text_tokens)
        example = _example(sentence, text.ids, text.bounds, index, max_span_words)
        examples.append(example)
        coverage["sentences"] += 1
        coverage["sentences_cut"] += len(text.bounds) < len(sentence.words)
        coverage["entities"] += len(set(sentence.entities))
        coverage["entities_unreachable"] += len(set(sentence.entities)) - int((example.targets > 0).sum())
    return examples, coverage


def _example(
    sentence: Sentence,
    ids: list[int],
    word_bounds: Sequence[tuple[int, int]],
    type_index: Mapping[str, int],
    max_span_words: int,
) -> NerExample:
    words = len(word_bounds)
    starts, lengths = np.meshgrid(np.arange(words), np.arange(1, max_span_words + 1), indexing="ij")
    spans = np.stack([starts, starts + lengths], axis=-1).reshape(-1, 2)
    spans = spans[spans[:, 1] <= words]
    pieces = np.asarray(word_bounds, dtype=np.int64).reshape(-1, 2)
    bounds = np.stack([pieces[spans[:, 0], 0], pieces[spans[:, 1] - 1, 1]], axis=-1)
    gold: dict[Span, int] = {}
    for entity in sentence.entities:
        gold.setdefault(entity.span, type_index[entity.type])
    targets = np.array([gold.get(Span(start, end), 0) for start, end in spans.tolist()], dtype=np.int64)
    return NerExample(ids, words, spans, bounds, targets)


def ner_batch(examples: Sequence[NerExample], pad_id: int) -> NerBatch:
    """Pad examples into one batch."""
    ids, ids_valid = padded([example.ids for example in examples], pad_id)
    bounds, valid = padded([example.bounds for example in examples])
    targets, _ = padded([example.targets for example in examples])
    num_words = torch.tensor([example.num_words for example in examples])
    return NerBatch(ids, ids_valid, bounds, valid, targets, num_words)

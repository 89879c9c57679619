"""Sentences to NER batches: every span of at most `max_span_words` words is a candidate.

B batch, T text tokens, P candidates of a sentence, U texts of a batch: with a context window, sentences of a
document that have the same window share their text; else U = B.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lai_net.inputs.batching import Batch, Example, padded, shared_texts
from lai_net.inputs.tokenization import TokenizedText, WordTokenizer
from lai_net.schema import Sentence, Span


@dataclass(frozen=True, slots=True)
class NerExample(Example):
    """One sentence; all arrays int.

    Attributes:
        bounds: as in `Example`.
        num_words: words that fit.
        spans: (P, 2), half-open words, ordered by start, then end.
        targets: (P,), 0 = no entity, else 1 + index of the entity type.
    """

    bounds: np.ndarray
    num_words: int
    spans: np.ndarray
    targets: np.ndarray

    def subset(self, negatives: int, draw: np.random.Generator) -> "NerExample":
        """All gold spans and a sample of `negatives` others, in candidate order."""
        others = np.flatnonzero(self.targets == 0)
        if len(others) > negatives:
            others = draw.choice(others, negatives, replace=False)
        keep = np.sort(np.concatenate([np.flatnonzero(self.targets), others]))
        return replace(self, spans=self.spans[keep], bounds=self.bounds[keep], targets=self.targets[keep])


@dataclass(frozen=True)
class NerBatch(Batch):
    """Padded tensors of several examples: ids (U, T), bounds (B, P, 2), targets (B, P), num_words (B,).

    `text_rows` int (B,) says which row of `ids` a sentence reads; where nothing is shared, they are in order.
    """

    ids: Tensor
    ids_valid: Tensor
    text_rows: Tensor
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
    context_tokens: int = 0,
) -> tuple[list[NerExample], Counter[str]]:
    """Turn sentences into examples.

    Args:
        sentences: with gold entities, for the targets, and their document, for the context.
        tokenizer: the encoder's.
        entity_types: numbers the targets.
        max_text_tokens: bound of [CLS] text [SEP].
        max_span_words: of a candidate.
        context_tokens: word pieces of the window that a sentence is read in; 0 reads it alone.

    Returns:
        An example a sentence, and what was seen and lost: `sentences`, `sentences_cut`, `entities`,
        `entities_unreachable` (too long, beyond the text limit, or a second type of a span).
    """
    index = {name: number for number, name in enumerate(entity_types, start=1)}
    coverage: Counter[str] = Counter(sentences=0, sentences_cut=0, entities=0, entities_unreachable=0)
    examples = []
    windows: dict[tuple[int, ...], int] = {}
    for number, sentence in enumerate(sentences):
        text = tokenizer.window(sentence, max_text_tokens, context_tokens)
        text_number = windows.setdefault(tuple(text.ids), number) if context_tokens else number
        example = _example(sentence, text, text_number, index, max_span_words)
        examples.append(example)
        coverage["sentences"] += 1
        coverage["sentences_cut"] += len(text.bounds) < len(sentence.words)
        coverage["entities"] += len(set(sentence.entities))
        coverage["entities_unreachable"] += len(set(sentence.entities)) - int((example.targets > 0).sum())
    return examples, coverage


def _example(
    sentence: Sentence,
    text: TokenizedText,
    text_number: int,
    type_index: Mapping[str, int],
    max_span_words: int,
) -> NerExample:
    words = len(text.bounds)
    starts, lengths = np.meshgrid(np.arange(words), np.arange(1, max_span_words + 1), indexing="ij")
    spans = np.stack([starts, starts + lengths], axis=-1).reshape(-1, 2)
    spans = spans[spans[:, 1] <= words]
    pieces = np.asarray(text.bounds, dtype=np.int64).reshape(-1, 2)
    bounds = np.stack([pieces[spans[:, 0], 0], pieces[spans[:, 1] - 1, 1]], axis=-1)
    gold: dict[Span, int] = {}
    for entity in sentence.entities:
        gold.setdefault(entity.span, type_index[entity.type])
    targets = np.array([gold.get(Span(start, end), 0) for start, end in spans.tolist()], dtype=np.int64)
    return NerExample(text.ids, text_number, bounds, words, spans, targets)


def ner_batch(examples: Sequence[NerExample], pad_id: int) -> NerBatch:
    """Pad examples into one batch; each text is in it once."""
    ids, ids_valid, text_rows = shared_texts(examples, pad_id)
    bounds, valid = padded([example.bounds for example in examples])
    targets, _ = padded([example.targets for example in examples])
    num_words = torch.tensor([example.num_words for example in examples])
    return NerBatch(ids, ids_valid, text_rows, bounds, valid, targets, num_words)

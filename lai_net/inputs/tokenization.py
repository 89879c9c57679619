"""Words to word pieces, with each word's first and last piece."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lai_net.encoder_files import encoder_folder
from lai_net.encoder_reading import reading_encoder
from lai_net.errors import InputError
from lai_net.schema import Sentence

SPECIAL_TOKENS = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_MOST_WORDS = 2**17
TOKENIZER_FILES = TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """[CLS] pieces [SEP] of one sentence, which may stand among pieces of its document.

    Attributes:
        ids: word pieces.
        bounds: per word of the sentence the index of its first and last piece; words beyond the length limit
            are absent.
    """

    ids: list[int]
    bounds: list[tuple[int, int]]


class WordTokenizer:
    """An encoder's tokenizer, word by word; what a word becomes is remembered, for so many words at a time.

    Args:
        tokenizer: a fast one of `transformers`.
        vocab_size: the encoder's, which may have rows that the tokenizer does not use.
    """

    def __init__(self, tokenizer: Any, vocab_size: int) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.model_max_length = sys.maxsize  # it would warn of a long word, which we cut
        self._pieces: dict[str, list[int]] = {}
        self.cls_id: int = self._tokenizer.cls_token_id
        self.sep_id: int = self._tokenizer.sep_token_id
        self.pad_id: int = self._tokenizer.pad_token_id
        self.mask_id: int = self._tokenizer.mask_token_id
        self.vocab_size = vocab_size
        self.entity_id: int = self.pieces("entity")[0]

    def pieces(self, word: str) -> list[int]:
        """The word's pieces; a word that vanishes in the tokenizer becomes the unknown token."""
        found = self._pieces.get(word)
        if found is None:
            if len(self._pieces) == _MOST_WORDS:  # a stream of numbers and addresses has no end of them
                self._pieces.clear()
            tokens = self._tokenizer.tokenize(word) or [self._tokenizer.unk_token]
            found = self._pieces[word] = self._tokenizer.convert_tokens_to_ids(tokens)
        return found

    @property
    def content(self) -> str:
        """All that the tokenizer knows, as JSON."""
        content: str = self._tokenizer.backend_tokenizer.to_str()
        return content

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, which `AutoTokenizer` reads, too."""
        folder.mkdir(exist_ok=True)
        (folder / TOKENIZER).write_text(self.content, encoding="utf-8")
        special = {name: str(getattr(self._tokenizer, name)) for name in SPECIAL_TOKENS}
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
        (folder / TOKENIZER_CONFIG).write_text(json.dumps(settings, indent=1), encoding="utf-8")

    def text(self, words: Sequence[str], max_tokens: int) -> TokenizedText:
        """Tokenize into at most `max_tokens` pieces, cut before the first word that does not fit."""
        ids, bounds = [self.cls_id], []
        for word in words:
            pieces = self.pieces(word)
            if len(ids) + len(pieces) + 1 > max_tokens:
                break
            bounds.append((len(ids), len(ids) + len(pieces) - 1))
            ids.extend(pieces)
        return TokenizedText([*ids, self.sep_id], bounds)

    def window(self, sentence: Sentence, max_tokens: int, context_tokens: int) -> TokenizedText:
        """A sentence in the midst of its document, as PL-Marker reads it.

        Half of what the sentence leaves of the window goes to each side; what one side does not need, the
        other takes. Windows are cut at word pieces. A sentence that fills the window has no context.

        Args:
            sentence: with its document.
            max_tokens: bounds the sentence with [CLS] and [SEP].
            context_tokens: pieces in the window, those of the sentence included.

        Source: github.com/thunlp/PL-Marker, run_acener.py, run_re.py (initialize). Differs: where both sides
        are long and the rest is odd, the odd piece is always the right side's.
        """
        text = self.text(sentence.words, max_tokens)
        room = context_tokens - (len(text.ids) - 2)
        if room <= 0 or len(text.bounds) < len(sentence.words):
            return text
        end = sentence.offset + len(sentence.words)
        before = (self.pieces(word)[::-1] for word in reversed(sentence.document[: sentence.offset]))
        left = _first_pieces(before, room)
        right = _first_pieces(map(self.pieces, sentence.document[end:]), room)
        left = left[: max(room // 2, room - len(right))][::-1]
        right = right[: room - len(left)]
        shift = len(left)
        return TokenizedText(
            [self.cls_id, *left, *text.ids[1:-1], *right, self.sep_id],
            [(first + shift, last + shift) for first, last in text.bounds],
        )

    def annotations(self, phrases: Sequence[str]) -> TokenizedText:
        """Phrases side by side and the final [SEP] (Eq. 5); `bounds` are those of the phrases."""
        ids: list[int] = []
        bounds = []
        for phrase in phrases:
            pieces = [piece for word in phrase.split() for piece in self.pieces(word)]
            bounds.append((len(ids), len(ids) + len(pieces) - 1))
            ids.extend(pieces)
        return TokenizedText([*ids, self.sep_id], bounds)


def _first_pieces(words: Iterable[list[int]], count: int) -> list[int]:
    """At most `count` pieces of words in a row."""
    found: list[int] = []
    for pieces in words:
        if len(found) >= count:
            break
        found.extend(pieces)
    return found[:count]


@lru_cache(maxsize=2)
def word_tokenizer(name: str) -> WordTokenizer:
    """The process' one tokenizer of an encoder.

    Raises:
        InputError: it cannot be read, or does not fit the encoder.
    """
    from transformers import AutoConfig, AutoTokenizer

    folder = encoder_folder(name)
    with reading_encoder(name, "configuration"):
        vocab_size = AutoConfig.from_pretrained(folder).vocab_size
    with reading_encoder(name, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        known = tokenizer.get_vocab()
    special = {kind: getattr(tokenizer, kind) for kind in SPECIAL_TOKENS}
    rules = {
        "knows no words": known.keys() <= set(special.values()),
        f"lacks one of {', '.join(special)}": not set(special.values()) <= known.keys(),
        f"has more words than the encoder's {vocab_size}": max(known.values(), default=0) >= vocab_size,
    }
    for wrong, holds in rules.items():
        if holds:
            raise InputError(f"encoder {name!r}: its tokenizer {wrong}; give the files that belong together")
    return WordTokenizer(tokenizer, vocab_size)

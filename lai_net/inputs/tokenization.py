"""Words to word pieces, with each word's first and last piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lai_net.encoder_files import encoder_folder


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """[CLS] pieces [SEP] of one sentence.

    Attributes:
        ids: word pieces.
        bounds: per word the index of its first and last piece; words beyond the length limit are absent.
    """

    ids: list[int]
    bounds: list[tuple[int, int]]


class WordTokenizer:
    """An encoder's tokenizer, word by word; what a word becomes is remembered for the process' life."""

    def __init__(self, name: str) -> None:
        from transformers import AutoConfig, AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(encoder_folder(name))
        self._pieces: dict[str, list[int]] = {}
        self.cls_id: int = self._tokenizer.cls_token_id
        self.sep_id: int = self._tokenizer.sep_token_id
        self.pad_id: int = self._tokenizer.pad_token_id
        self.mask_id: int = self._tokenizer.mask_token_id
        self.vocab_size: int = AutoConfig.from_pretrained(encoder_folder(name)).vocab_size
        self.entity_id: int = self.pieces("entity")[0]

    def pieces(self, word: str) -> list[int]:
        """The word's pieces; a word that vanishes in the tokenizer becomes the unknown token."""
        found = self._pieces.get(word)
        if found is None:
            tokens = self._tokenizer.tokenize(word) or [self._tokenizer.unk_token]
            found = self._pieces[word] = self._tokenizer.convert_tokens_to_ids(tokens)
        return found

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

    def annotations(self, phrases: Sequence[str]) -> TokenizedText:
        """Phrases side by side and the final [SEP] (Eq. 5); `bounds` are those of the phrases."""
        ids: list[int] = []
        bounds = []
        for phrase in phrases:
            pieces = [piece for word in phrase.split() for piece in self.pieces(word)]
            bounds.append((len(ids), len(ids) + len(pieces) - 1))
            ids.extend(pieces)
        return TokenizedText([*ids, self.sep_id], bounds)


@lru_cache(maxsize=2)
def word_tokenizer(name: str) -> WordTokenizer:
    """The process' one tokenizer of an encoder."""
    return WordTokenizer(name)

"""What `LaiNet.extract` reads and gives: a text as sentences of words, and what was found in it."""

import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, Any

from lai_net.errors import InputError
from lai_net.inputs.raw_text import Range, split_sentences
from lai_net.schema import Document, Entity, Sentence

if TYPE_CHECKING:
    from lai_net.training.task import PredictedSentence

Text = str | Sequence[str] | Sequence[Sequence[str]]
"""Raw text, cut by `lai_net.inputs.raw_text`; the words of one sentence; or the sentences of a document."""


@dataclass(frozen=True, slots=True)
class FoundEntity:
    """An entity of a text. Offsets are half-open.

    Attributes:
        start: its first word.
        end: the word after its last.
        start_char: its first character in `Extraction.text`.
        end_char: the character after its last.
        text: the characters themselves.
        type: its label.
        score: the probability of that label.
    """

    start: int
    end: int
    start_char: int
    end_char: int
    text: str
    type: str
    score: float


@dataclass(frozen=True, slots=True)
class FoundRelation:
    """A relation between two entities of one sentence, with its probability."""

    subject: FoundEntity
    object: FoundEntity
    type: str
    score: float


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was found in a text.

    Attributes:
        text: as given; of words that were given: joined by blanks.
        tokens: its words.
        sentences: half-open ranges of words.
        entities: in text order.
        relations: in the order of their sentences.
        cut: indices of the sentences that exceed what a model reads: nothing is found in their rest.
    """

    text: str
    tokens: tuple[str, ...]
    sentences: tuple[Range, ...]
    entities: tuple[FoundEntity, ...]
    relations: tuple[FoundRelation, ...]
    cut: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; a relation names its entities by their index."""
        index = {(entity.start, entity.end): number for number, entity in enumerate(self.entities)}
        return {
            "text": self.text,
            "tokens": list(self.tokens),
            "sentences": [list(bounds) for bounds in self.sentences],
            "entities": [asdict(entity) for entity in self.entities],
            "relations": [
                {
                    "subject": index[relation.subject.start, relation.subject.end],
                    "object": index[relation.object.start, relation.object.end],
                    "type": relation.type,
                    "score": relation.score,
                }
                for relation in self.relations
            ],
            "cut": list(self.cut),
        }

    def as_dygie(self, key: str) -> dict[str, Any]:
        """As a DyGIE document with predictions, which `lai score` reads; its ends are inclusive."""

        def rows(found: Iterable[tuple[int, list[Any]]]) -> list[list[list[Any]]]:
            """Sentence by sentence; each row comes with the word that says which sentence it is of."""
            by_word = list(found)
            return [[row for word, row in by_word if first <= word < end] for first, end in self.sentences]

        return {
            "doc_key": key,
            "sentences": [list(self.tokens[first:end]) for first, end in self.sentences],
            "predicted_ner": rows(
                (entity.start, [entity.start, entity.end - 1, entity.type, entity.score])
                for entity in self.entities
            ),
            "predicted_relations": rows(
                (
                    subject.start,
                    [
                        subject.start,
                        subject.end - 1,
                        target.start,
                        target.end - 1,
                        relation.type,
                        relation.score,
                    ],
                )
                for relation in self.relations
                for subject, target in [(relation.subject, relation.object)]
            ),
        }


@dataclass(frozen=True, slots=True)
class TextFrame:
    """A text before anything is found in it: character offsets of its words, word ranges of its sentences."""

    text: str
    words: tuple[Range, ...]
    sentences: tuple[Range, ...]

    @property
    def tokens(self) -> tuple[str, ...]:
        """The words."""
        return tuple(self.text[start:end] for start, end in self.words)

    @property
    def document(self) -> Document:
        """What a model reads."""
        tokens = self.tokens
        return Document("", tuple(Sentence(tokens[first:end]) for first, end in self.sentences))

    def extraction(self, found: Iterable["PredictedSentence"], cut: Iterable[int] = ()) -> Extraction:
        """What was found, sentence by sentence, with offsets of the text; `cut` is as there."""
        entities: list[FoundEntity] = []
        relations: list[FoundRelation] = []
        for (first, _), sentence in zip(self.sentences, found, strict=True):
            by_span = {entity.span: self._entity(first, entity, score) for entity, score in sentence.entities}
            entities += by_span.values()
            relations += [
                FoundRelation(by_span[item.subject.span], by_span[item.object.span], item.type, score)
                for item, score in sentence.relations
            ]
        return Extraction(
            self.text, self.tokens, self.sentences, tuple(entities), tuple(relations), tuple(cut)
        )

    def _entity(self, first: int, entity: Entity, score: float) -> FoundEntity:
        start, end = first + entity.span.start, first + entity.span.end
        start_char, end_char = self.words[start][0], self.words[end - 1][1]
        return FoundEntity(
            start, end, start_char, end_char, self.text[start_char:end_char], entity.type, score
        )


def cut_text(text: Text) -> TextFrame:
    """Cut a raw text; words and sentences that are given stay as they are.

    Raises:
        InputError: it is neither text, nor words, nor sentences of words, has an empty word, or UTF-8 cannot
            hold it.
    """
    if isinstance(text, str):
        _check_encodable(text)
        sentences = split_sentences(text)
        return TextFrame(text, tuple(chain.from_iterable(sentences)), _ranges(sentences))
    given = _given_sentences(text)
    words = list(chain.from_iterable(given))
    check_words(given, "a text")
    _check_encodable(" ".join(words))
    starts = accumulate(words, lambda start, word: start + len(word) + 1, initial=0)
    offsets = tuple((start, start + len(word)) for start, word in zip(starts, words, strict=False))
    return TextFrame(" ".join(words), offsets, _ranges(given))


def check_words(sentences: Sequence[Sequence[str]], place: str) -> None:
    """An empty word has no characters that an entity could be.

    Raises:
        InputError: there is one, at `place`.
    """
    for index, words in enumerate(sentences, start=1):
        if "" in words:
            raise InputError(f"{place}: sentence {index}: word {words.index('') + 1} is empty; leave it out")


def _ranges(sentences: Sequence[Sequence[object]]) -> tuple[Range, ...]:
    """The half-open ranges that parts of a whole cover."""
    return tuple(pairwise(accumulate(map(len, sentences), initial=0)))


def _given_sentences(text: Sequence[str] | Sequence[Sequence[str]]) -> list[list[str]]:
    """A document's sentences; words alone are one sentence, and without any there is none."""
    if isinstance(text, list | tuple):
        if not text:
            return []
        if all(isinstance(item, str) for item in text):
            return [[str(word) for word in text]]
        if all(_is_sentence(item) for item in text):
            return [list(sentence) for sentence in text]
    raise InputError(
        f"a text must be a string, a list of words or a list of lists of words, but is {reprlib.repr(text)}"
    )


def _check_encodable(text: str) -> None:
    """A lone surrogate, such as Python makes of an argument's bytes that are not UTF-8, is no character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"a text holds half a surrogate pair at character {error.start}; give it as UTF-8"
        ) from error


def _is_sentence(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(word, str) for word in value)

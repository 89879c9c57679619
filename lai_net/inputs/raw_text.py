"""Raw text to sentences of words, each word with its character offsets.

A small set of rules for English prose, close to how the public corpora are cut; text in another language, or
text that must be cut exactly as a corpus, is better given as lists of words.

* A word is a run of letters, digits and underscores. Hyphens and apostrophes inside stay (state-of-the-art,
  O'Brien), so do points and commas between digits (3.5) and the points of abbreviations (U.S., e.g., Fig.);
  a possessive 's is a word of its own, and so is every other sign.
* A sentence ends at a blank line, and after `.`, `!`, `?` or `…` (with closing quotes and brackets) before
  white space and a capital, a digit or an opening sign; but not after an abbreviation or an initial.
* Combining marks, variation selectors, joiners and other signs without a width belong to the character before
  them, emoji that are joined to one are one: decomposed text is cut as composed text is.

Every character that is no white space belongs to exactly one word, so nothing of a text is lost.
"""

import re
import unicodedata
from itertools import pairwise

Range = tuple[int, int]
"""Half-open."""

_ABBREVIATIONS = (
    "al|[Ff]igs?|[Ee]qs?|Sec|Tab|[Rr]efs?|Dr|Mrs?|Ms|Prof|St|Jr|Sr|[Vv]s|[Cc]f|[Rr]esp|[Aa]pprox|[Cc]a"
    "|Gen|Sen|Gov|Rep|Lt|Col|Capt|Sgt"
)
_BEFORE_NUMBERS = "Nos?|[Vv]ols?|pp?|Jan|Feb|Mar|Apr|Aug|Sept?|Oct|Nov|Dec"
"""What may end a sentence, but for a number that follows."""
_LETTER = r"[^\W\d_]"
_WORD = re.compile(
    rf"""
      (?:{_ABBREVIATIONS})\.                                        # Fig.
    | (?:{_BEFORE_NUMBERS})\.(?=\s*\d)                              # No. 5
    | {_LETTER}(?:\.{_LETTER})+\.?(?!\w)                            # U.S., e.g.
    | \w+(?:(?:-|['’](?!s\b)|(?<=\d)[.,](?=\d))\w+)*                # state-of-the-art, O'Brien, 3.5
    | ['’]s\b                                                       # Smith's
    | \S
    """,
    re.VERBOSE,
)
_BLANK_LINE = re.compile(r"\n\s*\n")
_ENDS = frozenset(".!?…")
_OPENING, _CLOSING = frozenset("\"'“‘([{«"), frozenset("\"'”’)]}»")
_EXTENDING = frozenset({"Mn", "Mc", "Me", "Cf"})
"""Unicode's categories of marks and format signs."""
_SKIN_TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
_ZERO_WIDTH_JOINER, _ZERO_WIDTH_SPACE = "\u200d", "\u200b"


def split_sentences(text: str) -> list[list[Range]]:
    """Cut a text.

    Returns:
        Per sentence the character offsets of its words, in order; no sentence is empty.
    """
    if text.isascii():
        return _sentences(text)
    starts = _character_starts(text)
    bases = "".join(text[start] for start in starts)
    starts.append(len(text))
    return [[(starts[first], starts[end]) for first, end in words] for words in _sentences(bases)]


def _sentences(text: str) -> list[list[Range]]:
    """The same of a text in which every sign is a character."""
    words = [match.span() for match in _WORD.finditer(text)]
    ends = [index for index in range(1, len(words)) if _is_boundary(text, words, index)]
    return [words[first:end] for first, end in pairwise([0, *ends, len(words)]) if first < end]


def _character_starts(text: str) -> list[int]:
    """Where what a reader takes for one character begins, about as Unicode's UAX 29 cuts text."""
    after_first = (index for index in range(1, len(text)) if not _extends(text[index - 1], text[index]))
    return [0, *after_first]


def _extends(before: str, sign: str) -> bool:
    """Whether a sign is part of the character that the sign before it is part of."""
    if sign.isascii() or before.isspace():
        return False
    category = unicodedata.category(sign)
    if before == _ZERO_WIDTH_JOINER and category == "So":
        return True
    return sign in _SKIN_TONES or (category in _EXTENDING and sign != _ZERO_WIDTH_SPACE)


def _is_boundary(text: str, words: list[Range], index: int) -> bool:
    """Whether a sentence begins with word `index`, which is not the first."""
    gap = text[words[index - 1][1] : words[index][0]]
    if _BLANK_LINE.search(gap):
        return True
    begins = text[words[index][0]]
    if not gap or not (begins.isupper() or begins.isdigit() or begins in _OPENING):
        return False
    last = index - 1
    while last > 0 and text[slice(*words[last])] in _CLOSING and words[last - 1][1] == words[last][0]:
        last -= 1
    sign = text[slice(*words[last])]
    return sign in _ENDS and not (sign == "." and last > 0 and _is_initial(text[slice(*words[last - 1])]))


def _is_initial(word: str) -> bool:
    return len(word) == 1 and word.isupper()

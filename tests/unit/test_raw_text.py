"""Raw text to sentences of words."""

import hashlib
import random
import unicodedata

import pytest

from lai_net.inputs.raw_text import split_sentences


def cut(text: str) -> list[str]:
    """Sentences with their words parted by bars."""
    return ["|".join(text[start:end] for start, end in sentence) for sentence in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        (" \n\t", []),
        ("Hello", ["Hello"]),
        ("It works. It does!", ["It|works|.", "It|does|!"]),
        ("Really?! (Yes.) So it is.", ["Really|?|!", "(|Yes|.|)", "So|it|is|."]),
        ('He said "no." She left.', ['He|said|"|no|.|"', "She|left|."]),
        ("The U.S. Army, e.g. Fig. 3 Then", ["The|U.S.|Army|,|e.g.|Fig.|3|Then"]),
        ("of J. Smith et al. Then", ["of|J|.|Smith|et|al.|Then"]),
        ("as fig. 3 and Eqs. 2 show, cf. Approx. 5", ["as|fig.|3|and|Eqs.|2|show|,|cf.|Approx.|5"]),
        ("No. 5 of vol. 3, pp. 4 on Jan. 7", ["No.|5|of|vol.|3|,|pp.|4|on|Jan.|7"]),
        ("He said No. She left in Dec. She", ["He|said|No|.", "She|left|in|Dec|.", "She"]),
        ("about 3.5 or 1,000, not more. 7 do", ["about|3.5|or|1,000|,|not|more|.", "7|do"]),
        ("state-of-the-art O'Brien's test's", ["state-of-the-art|O'Brien|'s|test|'s"]),
        ("one line\nwraps. no capital", ["one|line|wraps|.|no|capital"]),
        ("A title\n \nThe text", ["A|title", "The|text"]),
        ("a.b F1=2 x_y", ["a.b|F1|=|2|x_y"]),
        ("plan A.Then", ["plan|A|.|Then"]),
        ("Müller 東京 e\u0301\U0001f600", ["Müller|東京|e\u0301|\U0001f600"]),
        ("cafe\u0301-like re\u0301sume\u0301's", ["cafe\u0301-like|re\u0301sume\u0301|'s"]),
        ("E\u0301.U. of E\u0301. Zola. A\u0300 bas", ["E\u0301.U.|of|E\u0301|.|Zola|.", "A\u0300|bas"]),
        ("हिन्दी में. ภาษาไทย", ["हिन्दी|में|.|ภาษาไทย"]),
        ("می\u200cخواهم a\u200bb", ["می\u200cخواهم|a|\u200b|b"]),  # only a space without a width parts words
        ("👩\u200d🔬👍🏽❤\ufe0f1\ufe0f\u20e3!", ["👩\u200d🔬|👍🏽|❤\ufe0f|1\ufe0f\u20e3|!"]),
        ("a\u200d. \u0301b", ["a\u200d|.|\u0301|b"]),  # a mark after white space has no base
    ],
)  # fmt: skip
def test_cuts(text: str, sentences: list[str]) -> None:
    assert cut(text) == sentences


def test_every_character_but_white_space_is_in_one_word() -> None:
    text = "".join(chr(code) for code in range(0x20, 0x2600)) + " 'sx ’s 3.x U.S.A e..g."
    words = [word for sentence in split_sentences(text) for word in sentence]
    assert "".join(text[start:end] for start, end in words) == "".join(text.split())
    assert words == sorted(words)


def test_plain_text_is_cut_as_it_was_before_marks_were_kept() -> None:
    drawn = random.Random(0)
    parts = [*map(chr, range(128)), " ", " ", ".", "'s ", "Fig.", "U.S.", "e.g.", "3.5", "A"]
    text = "".join(drawn.choices(parts, k=20_000))
    digest = hashlib.sha256(repr(split_sentences(text)).encode()).hexdigest()
    assert digest == "6f57e06cd78f37664398e04f0a363b80eeed4162f48464ab6a8515450cc5c980"


def test_decomposed_text_is_cut_as_composed_text() -> None:
    composed = "Émile Zola's naïve café-crème. Ça va: Größe, Đặng Thị. Ő. Ű."
    decomposed = unicodedata.normalize("NFD", composed)
    assert len(decomposed) > len(composed)
    assert [unicodedata.normalize("NFC", sentence) for sentence in cut(decomposed)] == cut(composed)


def test_a_long_text_takes_linear_time() -> None:
    assert len(split_sentences("A b-c, d. " * 20_000)) == 20_000

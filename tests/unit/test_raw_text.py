"""Raw text to sentences of words."""

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
        ("about 3.5 or 1,000, not more. 7 do", ["about|3.5|or|1,000|,|not|more|.", "7|do"]),
        ("state-of-the-art O'Brien's test's", ["state-of-the-art|O'Brien|'s|test|'s"]),
        ("one line\nwraps. no capital", ["one|line|wraps|.|no|capital"]),
        ("A title\n \nThe text", ["A|title", "The|text"]),
        ("a.b F1=2 x_y", ["a.b|F1|=|2|x_y"]),
        ("plan A.Then", ["plan|A|.|Then"]),
        ("Müller 東京 e\u0301\U0001f600", ["Müller|東京|e|\u0301|\U0001f600"]),
    ],
)  # fmt: skip
def test_cuts(text: str, sentences: list[str]) -> None:
    assert cut(text) == sentences


def test_every_character_but_white_space_is_in_one_word() -> None:
    text = "".join(chr(code) for code in range(0x20, 0x2600)) + " 'sx ’s 3.x U.S.A e..g."
    words = [word for sentence in split_sentences(text) for word in sentence]
    assert "".join(text[start:end] for start, end in words) == "".join(text.split())
    assert words == sorted(words)


def test_a_long_text_takes_linear_time() -> None:
    assert len(split_sentences("A b-c, d. " * 20_000)) == 20_000

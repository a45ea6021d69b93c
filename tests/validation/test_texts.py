"""Oddities of single texts.

Oracle: Unicode's own categories and normal forms.
"""

import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from roberta_squad_pipeline.validation.texts import line_ends, oddities

texts = st.text(st.characters(codec="utf-8") | st.sampled_from("e\u0301\ufeff\x00\t\r\n\x85a각"))


@given(texts)
@example("plain")
@example("cafe\u0301")
@example("\u0301")
def test_oddities_are_what_the_standard_says(text: str) -> None:
    found = dict(oddities(text))
    control = [
        n for n, c in enumerate(text) if unicodedata.category(c) == "Cc" and c not in "\t\r\n"
    ]
    assert found.get("control_character") == (control[0] if control else None)
    assert ("byte_order_mark" in found) == ("\ufeff" in text)
    composed = unicodedata.normalize("NFC", text)
    assert ("not_nfc" in found) == (composed != text)
    if composed != text:
        at = found["not_nfc"]
        assert text[:at] == composed[:at]
        assert text[at : at + 1] != composed[at : at + 1]


@given(st.lists(st.sampled_from(["a", "\n", "\r\n"]), max_size=6))
def test_line_ends_are_told_apart(pieces: list[str]) -> None:
    assert line_ends("".join(pieces)) == set(pieces) - {"a"}


def test_a_return_alone_is_a_line_end() -> None:
    assert line_ends("a\rb\n") == {"\r", "\n"}

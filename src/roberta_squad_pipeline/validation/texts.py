"""Odd characters in a text."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal

TextKind = Literal["control_character", "byte_order_mark", "not_nfc"]

_BYTE_ORDER_MARK = "\ufeff"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LINE_END = re.compile("\r\n|\r|\n")


def oddities(text: str) -> Iterator[tuple[TextKind, int]]:
    """Finds characters that a passage or question should not contain.

    Tabs and line ends do not count as control characters.

    Args:
        text: Without lone surrogates.

    Yields:
        Each kind that occurs, with the index of the first such character.
    """
    if text.isascii() and text.isprintable():
        return
    if control := _CONTROL.search(text):
        yield "control_character", control.start()
    if (mark := text.find(_BYTE_ORDER_MARK)) >= 0:
        yield "byte_order_mark", mark
    if not unicodedata.is_normalized("NFC", text):
        composed = unicodedata.normalize("NFC", text)
        pairs = zip(text, composed, strict=False)
        same = min(len(text), len(composed))
        yield "not_nfc", next((n for n, (a, b) in enumerate(pairs) if a != b), same)


def line_ends(text: str) -> set[str]:
    r"""Which of ``\n``, ``\r\n`` and ``\r`` end lines in a text."""
    return set(_LINE_END.findall(text)) if "\n" in text or "\r" in text else set()

"""Finds the places of misaligned answers.

Tools count ``answer_start`` in different units: what looks like many errors is then a single one,
and converting the unit is safer than searching for each answer, which may occur at several places.
"""

import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad.faults import RawAnswer, is_aligned, nearest_occurrence
from roberta_squad_pipeline.squad.json_input import shown
from roberta_squad_pipeline.squad.paragraphs import squad_paragraphs


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit in which a tool may count ``answer_start``, instead of characters from 0.

    Args:
        name: What is counted.
        width: How many units a character takes.
        first: The number at which counting begins.
    """

    name: str
    width: Callable[[str], int]
    first: int = 0


UNITS = {
    "start_in_utf16_units": Unit("UTF-16 units", lambda c: len(c.encode("utf-16-le")) // 2),
    "start_in_bytes": Unit("bytes of UTF-8", lambda c: len(c.encode())),
    "start_without_carriage_returns": Unit("characters but \\r", lambda c: c != "\r"),
    "start_with_carriage_returns": Unit("\\n as two characters", lambda c: 1 + (c == "\n")),
    "start_from_1": Unit("characters from 1, or a byte order mark before them", lambda _: 1, 1),
    "start_without_byte_order_mark": Unit(
        "characters but byte order marks", lambda c: c != "\ufeff"
    ),
}
"""By the kind of finding that they cause."""


@dataclass(frozen=True, slots=True)
class Found:
    """The place of an answer.

    Args:
        kind: One of `UNITS`, or "misaligned_answer", "ambiguous_answer" (it occurs at several
            places, of which this is the nearest), "answer_spelled_otherwise" (it differs in white
            space, case or Unicode normal form) or "answer_not_in_passage"; None if it is aligned.
        start: In characters from 0; None if the passage does not contain it.
        text: As spelled in the passage.
    """

    kind: str | None
    start: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Units:
    """The units of ``answer_start`` in a file.

    Args:
        of_file: The unit that explains every answer of the file, if not all are aligned.
        ranked: Units that explain all answers of a passage, the most frequent first.
    """

    of_file: str | None = None
    ranked: tuple[str, ...] = ()

    def of_passage(self, context: str, answers: Sequence[RawAnswer]) -> str | None:
        """The unit that explains all answers of a passage, if not all are aligned."""
        if self.of_file is not None:
            return self.of_file
        if all(is_aligned(answer, context) for answer in answers):
            return None
        return next((unit for unit in self.ranked if _explains(unit, context, answers)), None)


def units_of(path: Path) -> Units:
    """Finds the units of ``answer_start`` in a file.

    Parts that cannot be read are skipped.

    Args:
        path: A file of any form that `read_items` reads.
    """
    of_file = set(UNITS)
    explained: Counter[str] = Counter()
    for paragraph in squad_paragraphs(path):
        if isinstance(paragraph, InputError) or (entry := paragraph.entry()).context is None:
            continue
        answers = answers_of(question["answers"] for _, question in entry.questions)
        aligned = all(is_aligned(answer, entry.context) for answer in answers)
        candidates = of_file if aligned else UNITS
        explaining = {unit for unit in candidates if _explains(unit, entry.context, answers)}
        of_file &= explaining
        if not aligned:
            explained.update(unit for unit in UNITS if unit in explaining)
    ranked = tuple(unit for unit, _ in explained.most_common())
    return Units(next((unit for unit in ranked if unit in of_file), None), ranked)


def answers_of(questions: Iterable[Iterable[RawAnswer]]) -> list[RawAnswer]:
    """All answers of some questions that have a text."""
    return [answer for answers in questions for answer in answers if answer["text"].strip()]


def find_answer(answer: RawAnswer, context: str, unit: str | None) -> Found:
    """Finds an answer in its passage.

    Args:
        answer: As it stands in the file; not blank.
        context: The passage.
        unit: The unit that explains all answers of the passage, if there is one.
    """
    text, start = answer["text"], answer["answer_start"]
    if unit is not None:
        converted = _converted(unit, context, start)
        return Found(None if converted == start else unit, converted, text)
    if is_aligned(answer, context):
        return Found(None, start, text)
    nearest = nearest_occurrence(text, context, start)
    if nearest is not None:
        once = context.find(text) == context.rfind(text)
        return Found("misaligned_answer" if once else "ambiguous_answer", nearest, text)
    alike = min(
        _spelled_otherwise(text).finditer(context),
        key=lambda match: abs(match.start() - start),
        default=None,
    )
    if alike is None:
        return Found("answer_not_in_passage", None, text)
    return Found("answer_spelled_otherwise", alike.start(), alike.group())


def _explains(unit: str, context: str, answers: Iterable[RawAnswer]) -> bool:
    return all(
        (start := _converted(unit, context, answer["answer_start"])) is not None
        and context.startswith(answer["text"], start)
        for answer in answers
    )


def _converted(unit: str, context: str, start: int) -> int | None:
    """A start in characters from 0; None if no character of the passage begins there."""
    ends = _positions(unit, context)
    character = bisect_right(ends, start) - 1
    return character if character >= 0 and ends[character] == start else None


@lru_cache(maxsize=2 * len(UNITS))
def _positions(unit: str, context: str) -> list[int]:
    """Where each character begins, in a unit; of those with the same place the last counts."""
    of = UNITS[unit]
    return list(accumulate(map(of.width, context), initial=of.first))


def _spelled_otherwise(text: str) -> re.Pattern[str]:
    words = [
        "|".join(re.escape(unicodedata.normalize(form, word)) for form in ("NFC", "NFD"))
        for word in text.split()
    ]
    return re.compile(r"\s+".join(f"(?:{word})" for word in words), re.IGNORECASE)


def misaligned_answer(answer: RawAnswer, context: str, where: str, found: Found) -> InputError:
    """The error for a misaligned answer; it names the right place.

    Args:
        answer: The answer.
        context: Its passage.
        where: The answer's file and place there.
        found: Its place in the passage.
    """
    text, start = answer["text"], answer["answer_start"]
    there = context[start : start + len(text)] if start >= 0 else ""
    hint = f"which begins at {found.start}"
    choice = "repair or drop"
    if found.start is None:
        hint, choice = "which the passage does not hold", "drop"
    elif found.kind in UNITS:
        hint += f" if answer_start counts {UNITS[found.kind].name}"
    elif found.kind == "answer_spelled_otherwise":
        hint = f"for which the passage has {shown(found.text)} at {found.start}"
    elif found.kind == "ambiguous_answer":
        hint += ", the nearest of several places"
    return InputError(
        where=where,
        got=f"answer_start {shown(start)}, where the passage says {shown(there)}",
        expected=f"the place of {shown(text)}, {hint}",
        remedy=f"Correct answer_start (characters from 0), or set data.on_misaligned to {choice}.",
    )

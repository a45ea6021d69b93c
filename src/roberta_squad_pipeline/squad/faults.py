"""Faults for which a SQuAD file can be neither trained on nor scored with, each with a message.

Reading stops at the first of them; the validation counts them all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NotRequired

from typing_extensions import TypedDict  # pydantic wants this one below Python 3.12

from roberta_squad_pipeline.squad.json_input import FileError, shown

_MISSING_KIND = "missing_kind_of_question"

OnMisaligned = Literal["error", "drop", "repair"]


class RawAnswer(TypedDict):
    """An answer as it stands in the file."""

    text: str
    answer_start: int


class RawQuestion(TypedDict):
    """A question as it stands in the file."""

    id: str
    question: str
    answers: list[RawAnswer]
    is_impossible: NotRequired[bool | None]
    plausible_answers: NotRequired[list[RawAnswer] | None]
    """In SQuAD 2.0's training file: texts that only seem to answer an unanswerable question."""


def if_only_scored(on_misaligned: OnMisaligned) -> OnMisaligned:
    """What to do with misaligned answers of questions that are scored, not trained on.

    Scores compare texts, so no file is rejected for the places of its answers.
    """
    return "drop" if on_misaligned == "error" else on_misaligned


def question_faults(entry: RawQuestion, place: str) -> Iterator[FileError]:
    """Texts that are empty or white space, and an ``is_impossible`` that contradicts the answers.

    Args:
        entry: The question.
        place: Its file and place there.
    """
    yield from blank(entry["question"], what="question", where=f"{place}.question")
    for n, answer in enumerate(entry["answers"]):
        yield from blank(
            answer["text"],
            what="answer",
            where=f"{place}.answers[{n}].text",
            otherwise='write "answers": [] if the passage does not answer the question',
        )
    flagged, count = entry.get("is_impossible"), len(entry["answers"])
    if flagged is not None and flagged == bool(count):
        yield FileError(
            kind="contradiction",
            where=place,
            got=f"is_impossible {shown(flagged)} with {count} answer{'' if count == 1 else 's'}",
            expected="is_impossible true for no answers, false for one or more",
            remedy="Correct is_impossible or the answers; plausible answers to an unanswerable "
            "question belong under plausible_answers.",
        )


def blank(
    text: str, *, what: str, where: str, otherwise: str = "remove the entry that it belongs to"
) -> Iterator[FileError]:
    """A text that is empty or white space.

    Args:
        text: The text.
        what: The name of what it should be: "passage", "question" or "answer".
        where: Its file and place there.
        otherwise: What to do if there is no such text.
    """
    if not text or text.isspace():
        yield FileError(
            kind="blank_text",
            where=where,
            got="nothing but white space" if text else "an empty text",
            expected=f"the text of the {what}",
            remedy=f"Fill in the {what}, or {otherwise}.",
        )


def is_aligned(answer: RawAnswer, context: str) -> bool:
    """Whether an answer stands in its passage where its ``answer_start`` points."""
    start = answer["answer_start"]
    # A negative start would make startswith count from the passage's end.
    return start >= 0 and context.startswith(answer["text"], start)


def nearest_occurrence(text: str, context: str, start: int) -> int | None:
    """Finds where a misaligned answer probably stands.

    Args:
        text: The answer, not empty.
        context: Its passage.
        start: Where it should begin, in characters from 0; any number.

    Returns:
        Where the exact occurrence nearest to `start` begins, the earlier one of two that are
        equally near; None if the passage does not contain the answer.
    """
    start = min(max(start, 0), len(context))
    before = context.rfind(text, 0, start + len(text))
    after = context.find(text, start)
    if before < 0 or after < 0:
        return max(before, after) if before >= 0 or after >= 0 else None
    return before if start - before <= after - start else after


def repeated_id(question_id: str, place: str, first: str) -> FileError:
    """The fault of an id that an earlier question has, too.

    Args:
        question_id: The id.
        place: The question's file and place there.
        first: The same for the question that had the id first.
    """
    return FileError(
        kind="repeated_id",
        where=place,
        got=f"the id {shown(question_id)}, which is also that of {first.rpartition(': ')[2]}",
        expected="an id that no other question has",
        remedy="Rename or remove one of the two questions.",
    )


@dataclass(slots=True)
class Kinds:
    """How many questions of each kind a file has."""

    version_2: bool = False
    """Whether the file claims to be SQuAD 2.0."""
    answerable: int = 0
    unanswerable: int = 0
    dropped_answers: int = 0
    """Misaligned answers that were dropped."""


def missing_kind(path: Path, kinds: Kinds) -> Iterator[FileError]:
    """The fault of a file that lacks a kind of question that it should have.

    Args:
        path: The file.
        kinds: The kinds that it has.
    """
    if not kinds.answerable + kinds.unanswerable + kinds.dropped_answers:
        yield no_questions(path)
    elif not kinds.answerable:
        dropped = f" ({kinds.dropped_answers} misaligned answers dropped)"
        yield FileError(
            kind=_MISSING_KIND,
            where=str(path),
            got=f"no answerable question{dropped * bool(kinds.dropped_answers)}",
            expected="at least one question with an answer in its passage",
            remedy="Add answerable questions, or correct the answers that were dropped.",
        )
    elif not kinds.unanswerable and kinds.version_2:
        yield FileError(
            kind=_MISSING_KIND,
            where=str(path),
            got="no unanswerable question",
            expected="at least one in a file of version v2.0",
            remedy='Add unanswerable questions ("answers": [], "is_impossible": true), or say that '
            'it is a SQuAD 1.1 file: "version": "1.1".',
        )


def no_questions(path: Path) -> FileError:
    """The fault of a file without questions."""
    return FileError(
        kind=_MISSING_KIND,
        where=str(path),
        got="no questions at all",
        expected="at least one question",
        remedy="Check that it is the right file and that data[…].paragraphs[…].qas is filled.",
    )

"""What makes a SQuAD file one that cannot be learned or scored with, each fault one message.

The reader stops at the first of them, the validation counts them all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NotRequired

from typing_extensions import TypedDict  # pydantic wants this one below Python 3.12

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad.json_input import shown

OnMisaligned = Literal["error", "drop", "repair"]


class RawAnswer(TypedDict):
    """An answer as the file has it."""

    text: str
    answer_start: int


class RawQuestion(TypedDict):
    """A question as the file has it."""

    id: str
    question: str
    answers: list[RawAnswer]
    is_impossible: NotRequired[bool | None]
    plausible_answers: NotRequired[list[RawAnswer] | None]
    """Of SQuAD 2.0's training file: what only seems to answer an unanswerable question."""


class RawPassage(TypedDict):
    """An entry of ``paragraphs`` as the file has it."""

    context: str
    qas: list[RawQuestion]


def if_only_scored(on_misaligned: OnMisaligned) -> OnMisaligned:
    """What to do with misaligned answers of questions that are scored and not learned from.

    Scores compare texts, so that no file is rejected for where answers stand.
    """
    return "drop" if on_misaligned == "error" else on_misaligned


def blank_texts(entry: RawQuestion, place: str) -> Iterator[InputError]:
    """Question and answers that are empty or white space.

    Args:
        entry: The question.
        place: File and place of the question in it.
    """
    yield from blank(entry["question"], what="question", where=f"{place}.question")
    for n, answer in enumerate(entry["answers"]):
        yield from blank(
            answer["text"],
            what="answer",
            where=f"{place}.answers[{n}].text",
            otherwise='write "answers": [] if the passage does not answer the question',
        )


def blank(
    text: str, *, what: str, where: str, otherwise: str = "remove the entry that it belongs to"
) -> Iterator[InputError]:
    """A text that is empty or white space.

    Args:
        text: The text.
        what: What it is the text of.
        where: File and place in it.
        otherwise: What to do if there is no such text.
    """
    if not text or text.isspace():
        yield InputError(
            where=where,
            got="nothing but white space" if text else "an empty text",
            expected=f"the text of the {what}",
            remedy=f"Fill in the {what}, or {otherwise}.",
        )


def contradiction(entry: RawQuestion, place: str) -> Iterator[InputError]:
    """A question whose ``is_impossible`` does not go with its answers.

    Args:
        entry: The question.
        place: File and place of the question in it.
    """
    flagged = entry.get("is_impossible")
    if flagged is not None and flagged == bool(entry["answers"]):
        flag = "true" if flagged else "false"
        count = len(entry["answers"])
        yield InputError(
            where=place,
            got=f"is_impossible {flag} with {count} answer{'' if count == 1 else 's'}",
            expected="is_impossible true for no answers, false for one or more",
            remedy="Correct is_impossible or the answers; plausible answers to an unanswerable "
            "question belong under plausible_answers.",
        )


def is_aligned(answer: RawAnswer, context: str) -> bool:
    """Whether an answer stands in its passage where its ``answer_start`` points."""
    start = answer["answer_start"]
    # A negative start would make startswith count from the passage's end.
    return start >= 0 and context.startswith(answer["text"], start)


def nearest_occurrence(text: str, context: str, start: int) -> int | None:
    """Where a misaligned answer probably stands.

    Args:
        text: The answer, not empty.
        context: Its passage.
        start: Where it should begin, in characters from 0; any number.

    Returns:
        The character where the exact occurrence that is nearest to `start` begins, the earlier one
        of two that are equally near; None if the passage does not hold the answer.
    """
    start = min(max(start, 0), len(context))
    before = context.rfind(text, 0, start + len(text))
    after = context.find(text, start)
    if before < 0 or after < 0:
        return max(before, after) if before >= 0 or after >= 0 else None
    return before if start - before <= after - start else after


def repeated_id(question_id: str, place: str, first: str) -> InputError:
    """Says where an id stood before.

    Args:
        question_id: The id.
        place: File and place of the question in it.
        first: The same of the question that had the id first.
    """
    return InputError(
        where=place,
        got=f"the id {shown(question_id)}, which is also that of {first.rpartition(': ')[2]}",
        expected="an id that no other question has",
        remedy="Rename or remove one of the two questions.",
    )


@dataclass(slots=True)
class Kinds:
    """What kinds of questions a file has."""

    version_2: bool = False
    """Whether the file says so."""
    answerable: int = 0
    unanswerable: int = 0
    dropped_answers: int = 0
    """Misaligned ones."""


def missing_kind(path: Path, kinds: Kinds) -> Iterator[InputError]:
    """A kind of question that a file should have.

    Args:
        path: The file.
        kinds: What it has.
    """
    if not kinds.answerable + kinds.unanswerable + kinds.dropped_answers:
        yield no_questions(path)
    elif not kinds.answerable:
        dropped = f" ({kinds.dropped_answers} misaligned answers dropped)"
        yield InputError(
            where=str(path),
            got=f"no answerable question{dropped * bool(kinds.dropped_answers)}",
            expected="at least one question with an answer in its passage",
            remedy="Add answerable questions, or correct the answers that were dropped.",
        )
    elif not kinds.unanswerable and kinds.version_2:
        yield InputError(
            where=str(path),
            got="no unanswerable question",
            expected="at least one in a file of version v2.0",
            remedy='Add unanswerable questions ("answers": [], "is_impossible": true), or say that '
            'it is a SQuAD 1.1 file: "version": "1.1".',
        )


def no_questions(path: Path) -> InputError:
    """Says that a file holds nothing to ask."""
    return InputError(
        where=str(path),
        got="no questions at all",
        expected="at least one question",
        remedy="Check that it is the right file and that data[…].paragraphs[…].qas is filled.",
    )

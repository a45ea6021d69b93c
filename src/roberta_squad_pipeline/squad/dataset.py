"""SQuAD JSON: schema, reading, checking.

The format: ``{"version": …, "data": [{"title": …, "paragraphs": [{"context": …, "qas": [{"id": …,
"question": …, "answers": [{"text": …, "answer_start": …}], "is_impossible": …}]}]}]}``, described
by Rajpurkar et al. (2016, 2018). ``answer_start`` counts characters (code points) from 0. SQuAD 1.1
has no ``is_impossible``; there as here a question without answers is unanswerable.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, NotRequired

from pydantic import FailFast, TypeAdapter
from typing_extensions import TypedDict  # pydantic wants this one below Python 3.12

from roberta_squad_pipeline.errors import InputError
from roberta_squad_pipeline.squad.json_input import read_json, shown


@dataclass(frozen=True, slots=True)
class Answer:
    """One gold answer.

    Args:
        text: The answer, a substring of its passage.
        start: Where it begins there, in characters from 0.
    """

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Question:
    """One question on a passage.

    Args:
        id: Unique in its data set.
        text: The question, as written.
        answers: The gold answers, repetitions included; none if the passage does not answer it.
    """

    id: str
    text: str
    answers: tuple[Answer, ...]

    @property
    def unanswerable(self) -> bool:
        """Whether the passage does not answer the question."""
        return not self.answers


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage with the questions on it.

    Args:
        text: The passage, as written.
        title: The title of its article; empty if the file gives none.
        questions: In file order; may be empty.
    """

    text: str
    title: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class SquadDataset:
    """A checked SQuAD file.

    Args:
        passages: In file order.
        misaligned: How many answers were dropped because they are not where they claim to be.
    """

    passages: tuple[Passage, ...]
    misaligned: int

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """All questions in file order."""
        return tuple(question for passage in self.passages for question in passage.questions)

    @property
    def answerable_count(self) -> int:
        """The number of questions that have an answer."""
        return len(self.questions) - self.unanswerable_count

    @property
    def unanswerable_count(self) -> int:
        """The number of questions that have no answer."""
        return sum(question.unanswerable for question in self.questions)

    @property
    def gold(self) -> dict[str, tuple[str, ...]]:
        """The texts of the gold answers by question id, in file order; none if unanswerable."""
        return {
            question.id: tuple(answer.text for answer in question.answers)
            for question in self.questions
        }


class _RawAnswer(TypedDict):
    text: str
    answer_start: int


class _RawQuestion(TypedDict):
    id: str
    question: str
    answers: list[_RawAnswer]
    is_impossible: NotRequired[bool]


class _RawPassage(TypedDict):
    context: str
    qas: list[_RawQuestion]


class _RawArticle(TypedDict):
    title: NotRequired[str]
    paragraphs: list[_RawPassage]


class _RawFile(TypedDict):
    version: NotRequired[object]
    data: Annotated[list[_RawArticle], FailFast()]


class _GoldAnswer(TypedDict):
    text: str


class _GoldQuestion(TypedDict):
    id: str
    answers: list[_GoldAnswer]


class _GoldPassage(TypedDict):
    qas: list[_GoldQuestion]


class _GoldArticle(TypedDict):
    paragraphs: list[_GoldPassage]


class _GoldFile(TypedDict):
    data: Annotated[list[_GoldArticle], FailFast()]


_SCHEMA: TypeAdapter[_RawFile] = TypeAdapter(_RawFile)
_GOLD_SCHEMA: TypeAdapter[_GoldFile] = TypeAdapter(_GoldFile)
_SCHEMA_REMEDY = "Give a file in the JSON format of SQuAD 1.1 or 2.0."


def read_squad(path: Path, *, on_misaligned: Literal["error", "drop"]) -> SquadDataset:
    """Reads and checks a SQuAD 1.1 or 2.0 JSON file.

    A file in which no question carries ``is_impossible`` and whose version is not 2.0 counts as
    SQuAD 1.1 and may lack unanswerable questions. Keys that the format does not know are ignored.

    Args:
        path: The file.
        on_misaligned: What to do with an answer whose text is not at its ``answer_start``:
            ``"error"`` rejects the file, ``"drop"`` drops and counts the answer, and its question
            too if no answer is left, since it must not turn into an unanswerable one.

    Returns:
        The data set.

    Raises:
        InputError: The file cannot be read, is not SQuAD JSON, or has a misaligned, empty or
            repeated part or none of a kind that it should have; the message names the place.
    """
    raw = read_json(path, _SCHEMA, remedy=_SCHEMA_REMEDY)
    passages = []
    misaligned = 0
    places: dict[str, str] = {}
    for a, article in enumerate(raw["data"]):
        for p, paragraph in enumerate(article["paragraphs"]):
            where = f"{path}: data[{a}].paragraphs[{p}]"
            context = paragraph["context"]
            _reject_blank(context, what="passage", where=f"{where}.context")
            questions = []
            for q, entry in enumerate(paragraph["qas"]):
                place = f"{where}.qas[{q}]"
                _reject_repeated_id(entry["id"], place, places)
                _check_question(entry, place)
                answers = tuple(_aligned_answers(entry, context, place, on_misaligned))
                misaligned += len(entry["answers"]) - len(answers)
                if answers or not entry["answers"]:
                    questions.append(Question(entry["id"], entry["question"], answers))
            passages.append(Passage(context, article.get("title", ""), tuple(questions)))
    dataset = SquadDataset(tuple(passages), misaligned)
    _check_kinds(path, raw, dataset)
    return dataset


def read_gold(path: Path) -> dict[str, tuple[str, ...]]:
    """Reads only what a scorer looks at: the gold answers of every question.

    Nothing else is checked: answers may be empty or misaligned, ``is_impossible`` may say anything,
    and the questions may all be of one kind.

    Args:
        path: A SQuAD 1.1 or 2.0 JSON file.

    Returns:
        The texts of the gold answers by question id, in file order; none if unanswerable.

    Raises:
        InputError: The file cannot be read, is not SQuAD JSON, repeats an id or has no questions.
    """
    raw = read_json(path, _GOLD_SCHEMA, remedy=_SCHEMA_REMEDY)
    gold: dict[str, tuple[str, ...]] = {}
    places: dict[str, str] = {}
    for a, article in enumerate(raw["data"]):
        for p, paragraph in enumerate(article["paragraphs"]):
            for q, entry in enumerate(paragraph["qas"]):
                place = f"{path}: data[{a}].paragraphs[{p}].qas[{q}]"
                _reject_repeated_id(entry["id"], place, places)
                gold[entry["id"]] = tuple(answer["text"] for answer in entry["answers"])
    if not gold:
        raise _no_questions(path)
    return gold


def _reject_blank(text: str, *, what: str, where: str) -> None:
    if not text or text.isspace():
        raise InputError(
            where=where,
            got="nothing but white space" if text else "an empty text",
            expected=f"the text of the {what}",
            remedy=f"Fill in the {what}, or remove the entry that it belongs to.",
        )


def _reject_repeated_id(question_id: str, place: str, places: dict[str, str]) -> None:
    first = places.setdefault(question_id, place)
    if first != place:
        raise InputError(
            where=place,
            got=f"the id {shown(question_id)}, which is also that of {first.rpartition(': ')[2]}",
            expected="an id that no other question has",
            remedy="Rename or remove one of the two questions.",
        )


def _check_question(entry: _RawQuestion, place: str) -> None:
    _reject_blank(entry["question"], what="question", where=f"{place}.question")
    for n, answer in enumerate(entry["answers"]):
        _reject_blank(answer["text"], what="answer", where=f"{place}.answers[{n}].text")
    if entry.get("is_impossible", not entry["answers"]) == bool(entry["answers"]):
        flag = "true" if entry["answers"] else "false"
        count = len(entry["answers"])
        raise InputError(
            where=place,
            got=f"is_impossible {flag} with {count} answer{'' if count == 1 else 's'}",
            expected="is_impossible true for no answers, false for one or more",
            remedy="Correct is_impossible or the answers; plausible answers to an unanswerable "
            "question belong under plausible_answers.",
        )


def _aligned_answers(
    entry: _RawQuestion, context: str, place: str, on_misaligned: Literal["error", "drop"]
) -> Iterator[Answer]:
    for n, raw in enumerate(entry["answers"]):
        text, start = raw["text"], raw["answer_start"]
        # A negative start would make startswith count from the passage's end.
        if start >= 0 and context.startswith(text, start):
            yield Answer(text, start)
        elif on_misaligned == "error":
            raise _misaligned(text, start, context, where=f"{place}.answers[{n}]")


def _misaligned(text: str, start: int, context: str, *, where: str) -> InputError:
    found = context[start : start + len(text)] if start >= 0 else ""
    elsewhere = context.find(text)
    hint = f"which begins at {elsewhere}" if elsewhere >= 0 else "which the passage does not hold"
    return InputError(
        where=where,
        got=f"answer_start {start}, where the passage says {shown(found)}",
        expected=f"the place of {shown(text)}, {hint}",
        remedy="Correct answer_start (characters from 0), or set data.on_misaligned to drop.",
    )


def _no_questions(path: Path) -> InputError:
    return InputError(
        where=str(path),
        got="no questions at all",
        expected="at least one question",
        remedy="Check that it is the right file and that data[…].paragraphs[…].qas is filled.",
    )


def _check_kinds(path: Path, raw: _RawFile, dataset: SquadDataset) -> None:
    if not dataset.questions and not dataset.misaligned:
        raise _no_questions(path)
    if not dataset.answerable_count:
        dropped = f" ({dataset.misaligned} misaligned answers dropped)" * bool(dataset.misaligned)
        raise InputError(
            where=str(path),
            got=f"no answerable question{dropped}",
            expected="at least one question with an answer in its passage",
            remedy="Add answerable questions, or correct the answers that were dropped.",
        )
    if not dataset.unanswerable_count and _claims_version_2(raw):
        raise InputError(
            where=str(path),
            got="no unanswerable question",
            expected="at least one in a file of version v2.0 or with is_impossible",
            remedy='Add unanswerable questions ("answers": [], "is_impossible": true), or make it '
            'a SQuAD 1.1 file: version "1.1" and no is_impossible.',
        )


def _claims_version_2(raw: _RawFile) -> bool:
    return str(raw.get("version")) in {"v2.0", "2.0"} or any(
        "is_impossible" in entry
        for article in raw["data"]
        for paragraph in article["paragraphs"]
        for entry in paragraph["qas"]
    )

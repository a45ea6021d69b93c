"""SQuAD JSON: schema, reading, checking.

The format: ``{"version": …, "data": [{"title": …, "paragraphs": [{"context": …, "qas": [{"id": …,
"question": …, "answers": [{"text": …, "answer_start": …}], "is_impossible": …}]}]}]}``, described
by Rajpurkar et al. (2016, 2018). ``answer_start`` counts characters (code points) from 0. SQuAD 1.1
has no ``is_impossible``; there as here a question without answers is unanswerable.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, NotRequired, TypeVar

import numpy as np
from pydantic import FailFast, TypeAdapter
from typing_extensions import TypedDict  # pydantic wants this one below Python 3.12

from roberta_squad_pipeline.errors import InputError
from roberta_squad_pipeline.squad.json_input import Location, json_path, shown
from roberta_squad_pipeline.squad.json_pieces import CutJson, Piece, cut_json


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
        misaligned: How many answers were dropped because they are not where they claim to be.
    """

    text: str
    title: str
    questions: tuple[Question, ...]
    misaligned: int = 0


@dataclass(frozen=True)
class SquadDataset:
    """A checked SQuAD file.

    Args:
        passages: In file order.
        misaligned: How many answers were dropped, in all passages.
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


class RawAnswer(TypedDict):
    """An answer as the file has it."""

    text: str
    answer_start: int


class RawQuestion(TypedDict):
    """A question as the file has it."""

    id: str
    question: str
    answers: list[RawAnswer]
    is_impossible: NotRequired[bool]


class RawPassage(TypedDict):
    """An entry of ``paragraphs`` as the file has it."""

    context: str
    qas: list[RawQuestion]


class _GoldArticle(TypedDict):
    paragraphs: list[Piece]


class _RawArticle(_GoldArticle):
    title: NotRequired[str]


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


class _GoldFile(TypedDict):
    data: Annotated[list[_GoldArticle], FailFast()]


RAW_PASSAGE: TypeAdapter[RawPassage] = TypeAdapter(RawPassage)
"""What an entry of ``paragraphs`` has to look like."""

_SCHEMA: TypeAdapter[_RawFile] = TypeAdapter(_RawFile)
_GOLD_PASSAGE: TypeAdapter[_GoldPassage] = TypeAdapter(_GoldPassage)
_GOLD_SCHEMA: TypeAdapter[_GoldFile] = TypeAdapter(_GoldFile)
_SCHEMA_REMEDY = "Give a file in the JSON format of SQuAD 1.1 or 2.0."
_PARAGRAPH_DEPTH = 4
"""Around an entry of ``paragraphs``: the list, its article, the list ``data``, the file."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """An entry of ``paragraphs`` that nobody has looked into yet.

    Args:
        file: Where it is.
        article: Index of its article.
        index: In its article.
        piece: Number among the file's pieces.
        content: Its JSON.
    """

    file: CutJson
    article: int
    index: int
    piece: int
    content: bytes

    @property
    def where(self) -> str:
        """File and place in it, such as ``train.json: data[3].paragraphs[7]``."""
        return f"{self.file.path}: {json_path(self.location)}"

    @property
    def location(self) -> Location:
        """Keys and indices that lead to it."""
        return "data", self.article, "paragraphs", self.index

    def validated(self, schema: TypeAdapter[T]) -> T:
        """Its content, as `RAW_PASSAGE` or another schema has it.

        Raises:
            InputError: It is not JSON or does not follow the schema.
        """
        return self.file.validated_piece(
            self.piece, self.content, schema, self.location, remedy=_SCHEMA_REMEDY
        )


def read_paragraphs(path: Path) -> Iterator[Paragraph]:
    """Reads a SQuAD file piece by piece, for whoever wants to go on after a fault.

    Only what lies around the paragraphs is held in memory, and checked.

    Args:
        path: A SQuAD 1.1 or 2.0 JSON file.

    Raises:
        InputError: The file cannot be read, is not JSON, or is not SQuAD JSON around its
            paragraphs.
    """
    file = cut_json(path, _PARAGRAPH_DEPTH)
    yield from _paragraphs(file, file.validated_skeleton(_SCHEMA, remedy=_SCHEMA_REMEDY)["data"])


def read_passages(path: Path, *, on_misaligned: Literal["error", "drop"]) -> Iterator[Passage]:
    """Reads and checks a SQuAD 1.1 or 2.0 JSON file passage by passage.

    A file in which no question carries ``is_impossible`` and whose version is not 2.0 counts as
    SQuAD 1.1 and may lack unanswerable questions. Keys that the format does not know are ignored.
    Memory grows by eight bytes a question.

    Args:
        path: The file.
        on_misaligned: What to do with an answer whose text is not at its ``answer_start``:
            ``"error"`` rejects the file, ``"drop"`` drops and counts the answer, and its question
            too if no answer is left, since it must not turn into an unanswerable one.

    Yields:
        The passages in file order.

    Raises:
        InputError: The file cannot be read, is not SQuAD JSON, or has a misaligned, empty or
            repeated part or none of a kind that it should have; the message names the place.
            Ids that are repeated and kinds that are missing are known at the file's end.
    """
    file = cut_json(path, _PARAGRAPH_DEPTH)
    raw = file.validated_skeleton(_SCHEMA, remedy=_SCHEMA_REMEDY)
    found = _Found(version_2=str(raw.get("version")) in {"v2.0", "2.0"})
    ids = _Ids()
    for paragraph in _paragraphs(file, raw["data"]):
        entry = paragraph.validated(RAW_PASSAGE)
        questions, misaligned = _questions(entry, paragraph.where, on_misaligned)
        ids.extend(question["id"] for question in entry["qas"])
        found.add(entry, questions, misaligned)
        title = raw["data"][paragraph.article].get("title", "")
        yield Passage(entry["context"], title, questions, misaligned)
    ids.reject_repeated(file, raw["data"])
    _check_kinds(path, found)


def read_squad(path: Path, *, on_misaligned: Literal["error", "drop"]) -> SquadDataset:
    """Reads and checks a SQuAD 1.1 or 2.0 JSON file, as `read_passages` does, and holds all of it.

    Raises:
        InputError: As `read_passages` does.
    """
    passages = tuple(read_passages(path, on_misaligned=on_misaligned))
    return SquadDataset(passages, sum(passage.misaligned for passage in passages))


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
    file = cut_json(path, _PARAGRAPH_DEPTH)
    articles = file.validated_skeleton(_GOLD_SCHEMA, remedy=_SCHEMA_REMEDY)["data"]
    gold: dict[str, tuple[str, ...]] = {}
    ids = _Ids()
    for paragraph in _paragraphs(file, articles):
        for entry in paragraph.validated(_GOLD_PASSAGE)["qas"]:
            gold[entry["id"]] = tuple(answer["text"] for answer in entry["answers"])
            ids.extend([entry["id"]])
    ids.reject_repeated(file, articles)
    if not gold:
        raise _no_questions(path)
    return gold


def _paragraphs(file: CutJson, articles: Sequence[_GoldArticle]) -> Iterator[Paragraph]:
    places = [
        (article, index, cut["piece"])
        for article, content in enumerate(articles)
        for index, cut in enumerate(content["paragraphs"])
    ]
    pieces = [piece for _, _, piece in places]
    # Such as lie under keys that the format does not know.
    file.check_syntax(sorted(set(range(len(file.bounds))).difference(pieces)))
    for (article, index, piece), content in zip(places, file.pieces(pieces), strict=True):
        yield Paragraph(file, article, index, piece, content)


def _questions(
    entry: RawPassage, where: str, on_misaligned: Literal["error", "drop"]
) -> tuple[tuple[Question, ...], int]:
    """The questions that are kept, and how many answers were dropped."""
    _reject_blank(entry["context"], what="passage", where=f"{where}.context")
    questions = []
    misaligned = 0
    for q, asked in enumerate(entry["qas"]):
        place = f"{where}.qas[{q}]"
        _check_question(asked, place)
        answers = tuple(_aligned_answers(asked, entry["context"], place, on_misaligned))
        misaligned += len(asked["answers"]) - len(answers)
        if answers or not asked["answers"]:
            questions.append(Question(asked["id"], asked["question"], answers))
    return tuple(questions), misaligned


class _Ids:
    """Finds repeated ids by their hashes, which take little memory."""

    def __init__(self) -> None:
        self._hashes = array("q")

    def extend(self, ids: Iterable[str]) -> None:
        self._hashes.extend(map(hash, ids))

    def reject_repeated(self, file: CutJson, articles: Sequence[_GoldArticle]) -> None:
        """Reads the file again if two hashes are the same, for the ids and their places."""
        hashes, counts = np.unique(np.array(self._hashes, np.int64), return_counts=True)
        suspects = set(hashes[counts > 1].tolist())
        if not suspects:
            return
        places: dict[str, str] = {}
        for paragraph in _paragraphs(file, articles):
            for q, entry in enumerate(paragraph.validated(_GOLD_PASSAGE)["qas"]):
                if hash(entry["id"]) in suspects:
                    _reject_repeated_id(entry["id"], f"{paragraph.where}.qas[{q}]", places)


@dataclass(slots=True)
class _Found:
    """What kinds of questions a file has."""

    version_2: bool
    """Whether the file's version or one of its questions says so."""
    answerable: int = 0
    unanswerable: int = 0
    misaligned: int = 0

    def add(self, entry: RawPassage, questions: tuple[Question, ...], misaligned: int) -> None:
        unanswerable = sum(question.unanswerable for question in questions)
        self.unanswerable += unanswerable
        self.answerable += len(questions) - unanswerable
        self.misaligned += misaligned
        self.version_2 = self.version_2 or any("is_impossible" in asked for asked in entry["qas"])


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


def _check_question(entry: RawQuestion, place: str) -> None:
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
    entry: RawQuestion, context: str, place: str, on_misaligned: Literal["error", "drop"]
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


def _check_kinds(path: Path, found: _Found) -> None:
    if not found.answerable + found.unanswerable + found.misaligned:
        raise _no_questions(path)
    if not found.answerable:
        dropped = f" ({found.misaligned} misaligned answers dropped)" * bool(found.misaligned)
        raise InputError(
            where=str(path),
            got=f"no answerable question{dropped}",
            expected="at least one question with an answer in its passage",
            remedy="Add answerable questions, or correct the answers that were dropped.",
        )
    if not found.unanswerable and found.version_2:
        raise InputError(
            where=str(path),
            got="no unanswerable question",
            expected="at least one in a file of version v2.0 or with is_impossible",
            remedy='Add unanswerable questions ("answers": [], "is_impossible": true), or make it '
            'a SQuAD 1.1 file: version "1.1" and no is_impossible.',
        )

"""SQuAD JSON: schema, reading, checking.

The format: ``{"version": …, "data": [{"title": …, "paragraphs": [{"context": …, "qas": [{"id": …,
"question": …, "answers": [{"text": …, "answer_start": …}], "is_impossible": …}]}]}]}``, described
by Rajpurkar et al. (2016, 2018). ``answer_start`` counts characters (code points) from 0. SQuAD 1.1
has no ``is_impossible``; there as here a question without answers is unanswerable.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypeVar

from pydantic import FailFast, TypeAdapter
from typing_extensions import TypedDict  # pydantic wants this one below Python 3.12

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad.faults import (
    Kinds,
    OnMisaligned,
    RawAnswer,
    RawPassage,
    RawQuestion,
    blank,
    blank_texts,
    contradiction,
    is_aligned,
    misaligned_answer,
    missing_kind,
    nearest_occurrence,
    no_questions,
    repeated_id,
)
from roberta_squad_pipeline.squad.json_input import (
    Location,
    decoded,
    json_path,
    read_utf8,
    validated,
)


@dataclass(frozen=True, slots=True)
class GoldAnswer:
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
        plausible: What only seems to answer it, if it is unanswerable and the file says so.
        misplaced: The texts of gold answers whose place in the passage is not known. They can be
            scored with, but not learned from.
    """

    id: str
    text: str
    answers: tuple[GoldAnswer, ...]
    plausible: GoldAnswer | None = None
    misplaced: tuple[str, ...] = ()

    @property
    def unanswerable(self) -> bool:
        """Whether the passage does not answer the question."""
        return not self.gold

    @property
    def gold(self) -> tuple[str, ...]:
        """The texts of all gold answers; those whose place is not known come last."""
        return (*(answer.text for answer in self.answers), *self.misplaced)

    @property
    def learnable(self) -> bool:
        """Whether it is known where its answer stands, or that there is none."""
        return bool(self.answers) or not self.misplaced


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage with the questions on it.

    Args:
        text: The passage, as written.
        title: The title of its article; empty if the file gives none.
        questions: In file order; may be empty.
        misaligned: How many answers have no place because they are not where they claim to be.
        repaired: How many answers were moved to where they are.
    """

    text: str
    title: str
    questions: tuple[Question, ...]
    misaligned: int = 0
    repaired: int = 0

    @property
    def learnable(self) -> "Passage":
        """The same without the questions that have no answer in a known place.

        They are not unanswerable ones, and must not be learned as such.
        """
        kept = tuple(question for question in self.questions if question.learnable)
        return replace(self, questions=kept)


@dataclass(frozen=True)
class SquadDataset:
    """A checked SQuAD file.

    Args:
        passages: In file order.
        misaligned: How many answers have no place, in all passages.
        repaired: How many answers were moved, in all passages.
    """

    passages: tuple[Passage, ...]
    misaligned: int
    repaired: int = 0

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
        """The texts of the gold answers by question id; none if unanswerable."""
        return {question.id: question.gold for question in self.questions}


class _GoldArticle(TypedDict):
    paragraphs: list[object]


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

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """An entry of ``paragraphs`` that nobody has looked into yet.

    Args:
        path: The file.
        article: Index of its article.
        index: In its article.
        content: As the file has it.
    """

    path: Path
    article: int
    index: int
    content: object

    @property
    def where(self) -> str:
        """File and place in it, such as ``train.json: data[3].paragraphs[7]``."""
        return f"{self.path}: {json_path(self._location)}"

    @property
    def _location(self) -> Location:
        return "data", self.article, "paragraphs", self.index

    def validated(self, schema: TypeAdapter[T]) -> T:
        """Its content, as `RAW_PASSAGE` or another schema has it.

        Raises:
            InputError: It does not follow the schema.
        """
        return validated(
            self.content, schema, path=self.path, location=self._location, remedy=_SCHEMA_REMEDY
        )


@dataclass(frozen=True, slots=True)
class SquadFile:
    """A SQuAD file whose paragraphs nobody has looked into yet; made by `open_squad`.

    Args:
        path: The file.
        marked: Whether it begins with a byte order mark.
        version: As the file has it.
        titles: Of each article; empty if the file gives none.
        paragraphs: In file order.
    """

    path: Path
    marked: bool
    version: object
    titles: tuple[str, ...]
    paragraphs: tuple[Paragraph, ...]

    @property
    def says_version_2(self) -> bool:
        """Whether it claims to have unanswerable questions."""
        return str(self.version) in {"v2.0", "2.0"}


def open_squad(path: Path) -> SquadFile:
    """Opens a SQuAD file to check it passage by passage, for whoever wants to go on after a fault.

    It is held whole, in some five times its size; what lies around the paragraphs is checked.

    Args:
        path: A SQuAD 1.1 or 2.0 JSON file.

    Raises:
        InputError: The file cannot be read, is not JSON, or is not SQuAD JSON around its
            paragraphs.
    """
    return _open(path, _SCHEMA)


def read_passages(
    path: Path, *, on_misaligned: OnMisaligned, articles: frozenset[int] | None = None
) -> Iterator[Passage]:
    """Reads and checks a SQuAD 1.1 or 2.0 JSON file passage by passage.

    A file in which no question carries ``is_impossible`` and whose version is not 2.0 counts as
    SQuAD 1.1 and may lack unanswerable questions. Keys that the format does not know are ignored.

    Args:
        path: The file.
        on_misaligned: What to do with an answer whose text is not at its ``answer_start``:
            ``"error"`` rejects the file, ``"drop"`` keeps the answer's text alone and counts it;
            ``"repair"`` moves the answer to the nearest place where its text stands, counts that
            apart, and drops its place where the passage does not hold its text.
        articles: Indices of those whose passages are wanted; all if None. The others are checked
            all the same.

    Yields:
        The passages in file order.

    Raises:
        InputError: The file cannot be read, is not SQuAD JSON, or has a misaligned, empty or
            repeated part or none of a kind that it should have; the message names the place.
            That a kind is missing is known at the file's end.
    """
    file = open_squad(path)
    kinds = Kinds(version_2=file.says_version_2)
    ids: dict[str, str] = {}
    for paragraph in file.paragraphs:
        entry = paragraph.validated(RAW_PASSAGE)
        passage = _passage(entry, paragraph.where, file.titles[paragraph.article], on_misaligned)
        _reject_repeated((question["id"] for question in entry["qas"]), paragraph, ids)
        _count_kinds(kinds, entry, passage)
        if articles is None or paragraph.article in articles:
            yield passage
    _raise_first(missing_kind(path, kinds))


def read_squad(path: Path, *, on_misaligned: OnMisaligned) -> SquadDataset:
    """Reads and checks a SQuAD 1.1 or 2.0 JSON file, as `read_passages` does, and holds all of it.

    Raises:
        InputError: As `read_passages` does.
    """
    passages = tuple(read_passages(path, on_misaligned=on_misaligned))
    return SquadDataset(
        passages,
        misaligned=sum(passage.misaligned for passage in passages),
        repaired=sum(passage.repaired for passage in passages),
    )


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
    file = _open(path, _GOLD_SCHEMA)
    gold: dict[str, tuple[str, ...]] = {}
    ids: dict[str, str] = {}
    for paragraph in file.paragraphs:
        questions = paragraph.validated(_GOLD_PASSAGE)["qas"]
        _reject_repeated((question["id"] for question in questions), paragraph, ids)
        for question in questions:
            gold[question["id"]] = tuple(answer["text"] for answer in question["answers"])
    if not gold:
        raise no_questions(path)
    return gold


def aligned(raw: RawAnswer, context: str, on_misaligned: OnMisaligned) -> GoldAnswer | None:
    """An answer at the place where its passage has it.

    Args:
        raw: As the file has it.
        context: The passage.
        on_misaligned: Whether it may be moved.

    Returns:
        None if it is misaligned and must not be moved, or cannot be.
    """
    if is_aligned(raw, context):
        return GoldAnswer(raw["text"], raw["answer_start"])
    if on_misaligned != "repair":
        return None
    start = nearest_occurrence(raw["text"], context, raw["answer_start"])
    return None if start is None else GoldAnswer(raw["text"], start)


def _open(path: Path, schema: TypeAdapter[Any]) -> SquadFile:
    content = read_utf8(path)
    text = content.removeprefix(codecs.BOM_UTF8)
    file = validated(decoded(path, text), schema, path=path, remedy=_SCHEMA_REMEDY)
    return SquadFile(
        path=path,
        marked=len(text) < len(content),
        version=file.get("version"),
        titles=tuple(article.get("title", "") for article in file["data"]),
        paragraphs=tuple(
            Paragraph(path, a, p, paragraph)
            for a, article in enumerate(file["data"])
            for p, paragraph in enumerate(article["paragraphs"])
        ),
    )


def _passage(entry: RawPassage, where: str, title: str, on_misaligned: OnMisaligned) -> Passage:
    context = entry["context"]
    _raise_first(blank(context, what="passage", where=f"{where}.context"))
    questions = []
    misaligned = repaired = 0
    for q, asked in enumerate(entry["qas"]):
        place = f"{where}.qas[{q}]"
        _raise_first(blank_texts(asked, place))
        _raise_first(contradiction(asked, place))
        answers, misplaced = [], []
        for n, raw in enumerate(asked["answers"]):
            answer = aligned(raw, context, on_misaligned)
            if answer is None and on_misaligned == "error":
                raise misaligned_answer(raw, context, f"{place}.answers[{n}]")
            if answer is None:
                misplaced.append(raw["text"])
            else:
                repaired += answer.start != raw["answer_start"]
                answers.append(answer)
        misaligned += len(misplaced)
        plausible = None if asked["answers"] else _plausible(asked, context)
        questions.append(
            Question(asked["id"], asked["question"], tuple(answers), plausible, tuple(misplaced))
        )
    return Passage(context, title, tuple(questions), misaligned, repaired)


def _plausible(asked: RawQuestion, context: str) -> GoldAnswer | None:
    """The first plausible answer that stands where it says; the others are of no use."""
    for raw in asked.get("plausible_answers") or ():
        if raw["text"].strip() and is_aligned(raw, context):
            return GoldAnswer(raw["text"], raw["answer_start"])
    return None


def _count_kinds(kinds: Kinds, entry: RawPassage, passage: Passage) -> None:
    unanswerable = sum(question.unanswerable for question in passage.questions)
    kinds.unanswerable += unanswerable
    kinds.answerable += len(passage.questions) - unanswerable
    kinds.version_2 = kinds.version_2 or any("is_impossible" in asked for asked in entry["qas"])


def _raise_first(faults: Iterator[InputError]) -> None:
    for fault in faults:
        raise fault


def _reject_repeated(ids: Iterable[str], paragraph: Paragraph, seen: dict[str, str]) -> None:
    """Raises at the first id that was seen before; `seen` takes in the others with their places."""
    for q, question_id in enumerate(ids):
        place = f"{paragraph.where}.qas[{q}]"
        if (first := seen.setdefault(question_id, place)) != place:
            raise repeated_id(question_id, place, first)

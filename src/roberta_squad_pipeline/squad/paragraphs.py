"""Passages with their questions from files of any form, and the faults in their structure."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic wants this one below Python 3.12

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad.faults import RawQuestion
from roberta_squad_pipeline.squad.forms import REMEDY, Item, SourceFile, read_items
from roberta_squad_pipeline.squad.json_input import FileError, joined, schema_faults, shown
from roberta_squad_pipeline.squad.spellings import as_squad, as_text

T = TypeVar("T")


class _Article(TypedDict):
    paragraphs: list[Any]


class _Passage(TypedDict):
    context: str
    qas: list[Any]


_ARTICLE: TypeAdapter[_Article] = TypeAdapter(_Article)
_PASSAGE: TypeAdapter[_Passage] = TypeAdapter(_Passage)
_RAW_QUESTION: TypeAdapter[RawQuestion] = TypeAdapter(RawQuestion)

_AT_ONCE = 10_000
"""The most records on one passage that are held at a time."""

_REMEDIES = {
    "answers": 'Give its answers, or "answers": [] if the passage does not answer it.',
    "answer_start": "Give the character of the passage that the answer begins at, from 0.",
    "is_impossible": "Write true or false, 1 or 0, or leave it out.",
    "id": "Give each question an id of its own: a text or a number.",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """The content of a paragraph.

    Args:
        where: Its file and place there.
        context: The passage; None if there is none, or it is not text.
        questions: The questions without faults, each with its file and place.
        without_id: File and place of the questions that had no id, and were given one.
        faults: The faults of the paragraph and its questions.
    """

    where: str
    context: str | None
    questions: tuple[tuple[str, RawQuestion], ...]
    without_id: tuple[str, ...]
    faults: tuple[FileError, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A passage with its questions, unchecked.

    Args:
        file: The file.
        place: Its place there, such as ``data[3].paragraphs[7]``.
        article: Number of its article, counted over all files.
        title: Title of its article; empty if the file gives none.
        content: As it stands in the file; records on one passage are arranged as in SQuAD.
        records: Places of its questions, if each of them is a record that repeats the passage.
    """

    file: SourceFile
    place: str
    article: int
    title: str
    content: Any
    records: tuple[str, ...] | None = None

    @property
    def where(self) -> str:
        """Its file and place there, such as ``train.json: data[3].paragraphs[7]``."""
        return f"{self.file.path}: {self.place or 'top level'}"

    @property
    def context(self) -> str | None:
        """The passage; None if there is none, or it is not text."""
        context = self.content.get("context") if isinstance(self.content, dict) else None
        return context if isinstance(context, str) else None

    def entry(self) -> Entry:
        """Checks its structure."""
        faults, questions, without_id = list(self.faults()), [], []
        for one in self.questions(_RAW_QUESTION):
            if isinstance(one, FileError):
                faults.append(one)
                continue
            where, question = one
            questions.append((where, _without_empty_answers(question)))
            place = where.removeprefix(f"{self.file.path}: ")
            if question["id"] == f"{self.file.path.name}: {place}":
                without_id.append(where)
        return Entry(self.where, self.context, tuple(questions), tuple(without_id), tuple(faults))

    def questions(self, schema: TypeAdapter[T]) -> Iterator[tuple[str, T] | FileError]:
        """Its questions by a schema, each with its file and place, or as a fault."""
        content = self.content if isinstance(self.content, dict) else {}
        asked = content.get("qas")
        for q, question in enumerate(asked if isinstance(asked, list) else ()):
            place = joined(self.place, f"qas[{q}]") if self.records is None else self.records[q]
            spelled = as_squad(question, id_if_none=f"{self.file.path.name}: {place}")
            try:
                validated = schema.validate_python(spelled, strict=True)
            except ValidationError as error:
                yield from schema_faults(error, self.file.path, place, remedy_for)
            else:
                yield f"{self.file.path}: {place}", validated

    def faults(self) -> Iterator[FileError]:
        """Its faults outside of the questions."""
        try:
            _PASSAGE.validate_python(self.content, strict=True)
        except ValidationError as error:
            yield from schema_faults(error, self.file.path, self.place, remedy_for)


def squad_paragraphs(path: Path) -> Iterator[Paragraph | InputError]:
    """Reads files passage by passage, and continues after a fault if possible.

    Consecutive records that repeat the same passage become one passage with their questions, at
    most `_AT_ONCE` of them, to limit the memory.

    Args:
        path: A file of any form that `read_items` reads.

    Yields:
        The passages in file order, and an error for each part that cannot be read.
    """
    article, last_title = -1, ""
    for _, group in groupby(read_items(path), key=_same_passage):
        first = next(group)
        if isinstance(first, InputError):
            yield first
            continue
        title = as_text(first.content.get("title")) if isinstance(first.content, dict) else None
        if not isinstance(title, str | None):
            yield _fault(first, "title", title, "a string or null", "Give a text, or leave it out.")
            title = None
        if _is_article(first.content) or not title or title != last_title:
            article += 1
        last_title = title or ""
        others = (one for one in group if isinstance(one, Item))  # noqa: B031 (the rest of it)
        repeating = chain([first], others)
        while items := list(islice(repeating, _AT_ONCE)):
            yield from _paragraphs(items, article, last_title)


def sound(found: T | InputError) -> T:
    """What was found.

    Raises:
        InputError: It is this error.
    """
    if isinstance(found, InputError):
        raise found
    return found


def _same_passage(item: Item | InputError) -> object:
    """A key that is equal for records on the same passage, and different for everything else."""
    if isinstance(item, InputError) or not _is_record(item.content):
        return object()
    context, title = item.content.get("context"), item.content.get("title")
    return (item.file, title, context) if isinstance(context, str) else object()


def _paragraphs(items: list[Item], article: int, title: str) -> Iterator[Paragraph | FileError]:
    """The paragraphs of an article, of a passage, or of records on one passage."""
    first = items[0]
    file, place, content = first.file, first.place, first.content
    if _is_article(content):
        try:
            paragraphs = _ARTICLE.validate_python(content, strict=True)["paragraphs"]
        except ValidationError as error:
            yield from schema_faults(error, file.path, place, remedy_for)
            return
        for p, paragraph in enumerate(paragraphs):
            yield Paragraph(file, joined(place, f"paragraphs[{p}]"), article, title, paragraph)
    elif _is_record(content):
        passage = content | {"qas": [item.content for item in items]}
        places = tuple(item.place for item in items)
        yield Paragraph(file, place, article, title, passage, records=places)
    elif isinstance(content, dict) and "qas" in content:
        yield Paragraph(file, place, article, title, content)
    else:
        expected = (
            "an article (paragraphs), a passage (context, qas) or a question (context, id, …)"
        )
        yield _fault(first, "", content, expected, REMEDY)


def _is_article(content: Any) -> bool:
    return isinstance(content, dict) and "paragraphs" in content


def _is_record(content: Any) -> bool:
    """Whether it is a record: a question together with its passage."""
    return (
        isinstance(content, dict)
        and content.keys().isdisjoint({"paragraphs", "qas"})
        and not content.keys().isdisjoint({"question", "answers"})
    )


def _fault(item: Item, key: str, value: Any, expected: str, remedy: str) -> FileError:
    return FileError(
        kind=f"{key or 'entry'}_of_another_type",
        where=f"{item.file.path}: {joined(item.place, key) or 'top level'}",
        got=shown(value),
        expected=expected,
        remedy=remedy,
    )


def _without_empty_answers(question: RawQuestion) -> RawQuestion:
    """Removes the empty answers that some tools give to unanswerable questions."""
    if question.get("is_impossible") and question["answers"]:
        question["answers"] = [answer for answer in question["answers"] if answer["text"].strip()]
    return question


def remedy_for(key: str) -> str:
    """The remedy for a key that is missing or has a wrong value."""
    return _REMEDIES.get(key, REMEDY)

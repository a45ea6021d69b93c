"""Questions on passages, read from files of any form and checked.

The format: ``{"version": …, "data": [{"title": …, "paragraphs": [{"context": …, "qas": [{"id": …,
"question": …, "answers": [{"text": …, "answer_start": …}], "is_impossible": …}]}]}]}``, described
by Rajpurkar et al. (2016, 2018). ``answer_start`` counts characters (code points) from 0. SQuAD 1.1
has no ``is_impossible``; there as here a question without answers is unanswerable.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict  # pydantic wants this one below Python 3.12

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad.faults import (
    Kinds,
    OnMisaligned,
    RawQuestion,
    blank,
    is_aligned,
    missing_kind,
    no_questions,
    question_faults,
    repeated_id,
)
from roberta_squad_pipeline.squad.held_out import FilePart
from roberta_squad_pipeline.squad.json_input import FileError
from roberta_squad_pipeline.squad.paragraphs import Entry, Paragraph, sound, squad_paragraphs
from roberta_squad_pipeline.squad.repair import (
    Units,
    answers_of,
    find_answer,
    misaligned_answer,
    units_of,
)

Report = Callable[..., None]
"""Takes a fault in a file: its kind and a function that describes it; by name, whether it
`stops_features`, and the `question_id` and `proposed_answer_start` if there are such."""


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """One gold answer.

    Args:
        text: The answer, a substring of its passage.
        start: Where it begins there, in characters from 0.
        written: The answer as the file spells it, if the passage spells it differently.
        where: Its file and place there.
    """

    text: str
    start: int
    written: str | None = None
    where: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Question:
    """One question on a passage.

    Args:
        id: Unique in its data set.
        text: The question, as written.
        answers: The gold answers, repetitions included; none if the passage does not answer it.
        plausible: A text that only seems to answer an unanswerable question, if the file gives one.
        misplaced: The texts of gold answers whose place in the passage is not known. They can be
            used for scoring, but not for training.
        unlabelled: Whether it is not known what answers it, or whether anything does.
        where: Its file and place there.
    """

    id: str
    text: str
    answers: tuple[GoldAnswer, ...]
    plausible: GoldAnswer | None = None
    misplaced: tuple[str, ...] = ()
    unlabelled: bool = False
    where: str = field(default="", compare=False, repr=False)

    @property
    def unanswerable(self) -> bool:
        """Whether the passage does not answer the question."""
        return not self.gold

    @property
    def gold(self) -> tuple[str, ...]:
        """The texts of all gold answers; those without a known place come last."""
        return (*(answer.written or answer.text for answer in self.answers), *self.misplaced)

    @property
    def learnable(self) -> bool:
        """Whether the place of an answer is known, or that there is no answer."""
        return bool(self.answers) or not self.misplaced


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage with the questions on it.

    Args:
        text: The passage, as written.
        title: The title of its article; empty if the file gives none.
        questions: In file order; may be empty.
        misaligned: How many answers have no known place, since they are not at ``answer_start``.
        repaired: How many answers were moved to their place.
    """

    text: str
    title: str
    questions: tuple[Question, ...]
    misaligned: int = 0
    repaired: int = 0

    @property
    def learnable(self) -> "Passage":
        """The same without the questions whose answers have no known place.

        These are not unanswerable, and must not be trained on as such.
        """
        kept = tuple(question for question in self.questions if question.learnable)
        return replace(self, questions=kept)


@dataclass(frozen=True)
class SquadDataset:
    """A checked SQuAD file.

    Args:
        passages: In file order.
    """

    passages: tuple[Passage, ...]

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """All questions in file order."""
        return tuple(question for passage in self.passages for question in passage.questions)

    @property
    def gold(self) -> dict[str, tuple[str, ...]]:
        """The texts of the gold answers by question id; none if unanswerable."""
        return {question.id: question.gold for question in self.questions}


class AskedQuestion(TypedDict):
    """A question that may lack answers, as it stands in the file."""

    id: str
    question: str


class _GoldAnswer(TypedDict):
    text: str


class _GoldQuestion(TypedDict):
    id: str
    answers: list[_GoldAnswer]


ASKED_QUESTION: TypeAdapter[AskedQuestion] = TypeAdapter(AskedQuestion)
_GOLD_QUESTION: TypeAdapter[_GoldQuestion] = TypeAdapter(_GoldQuestion)


def read_passages(
    path: Path, *, on_misaligned: OnMisaligned, articles: frozenset[int] | None = None
) -> Iterator[Passage]:
    """Reads and checks a file of any form that `read_items` reads, passage by passage.

    A file whose version is not 2.0 may lack unanswerable questions. Unknown keys are ignored.

    Args:
        path: The file.
        on_misaligned: What to do with an answer whose text is not at its ``answer_start``:
            ``"error"`` rejects the file. ``"drop"`` keeps the answer's text without a place, and
            counts it. ``"repair"`` finds the unit in which the file, or else the passage, counts
            ``answer_start``, and moves the answer accordingly, or else to the nearest place where
            its text stands; it counts these apart, and drops the place where the passage does not
            contain the text.
        articles: Indices of the articles whose passages are wanted; None for all. The others are
            checked, too.

    Yields:
        The passages in file order.

    Raises:
        InputError: The file cannot be read, is not SQuAD JSON, or has a misaligned, empty or
            repeated part, or lacks a kind of question; the message names the place. A missing kind
            is only known at the end of the file.
    """
    units = units_of(path) if on_misaligned == "repair" else Units()
    kinds = Kinds()
    for paragraph, _, passage in checked_passages(path, on_misaligned, _stop, lambda: units):
        unanswerable = sum(question.unanswerable for question in passage.questions)
        kinds.unanswerable += unanswerable
        kinds.answerable += len(passage.questions) - unanswerable
        kinds.version_2 = kinds.version_2 or paragraph.file.says_version_2
        if articles is None or paragraph.article in articles:
            yield passage
    for fault in missing_kind(path, kinds):
        raise fault


def checked_passages(
    path: Path, on_misaligned: OnMisaligned, report: Report, units: Callable[[], Units]
) -> Iterator[tuple[Paragraph, Entry, Passage]]:
    """Reads a file passage by passage, and reports each fault in it.

    Args:
        path: See `read_passages`.
        on_misaligned: See `read_passages`.
        report: What it does not raise for is left out of the passages.
        units: Finds the units of ``answer_start``; called if answers are misaligned.

    Yields:
        The passages in file order, each also as it stands in the file.
    """

    def tell(fault: InputError, question_id: str | None = None) -> None:
        kind = fault.kind if isinstance(fault, FileError) else "unreadable"
        report(kind, lambda: fault, stops_features=True, question_id=question_id)

    ids: dict[str, str] = {}
    for paragraph in squad_paragraphs(path):
        if isinstance(paragraph, InputError):
            tell(paragraph)
            continue
        entry = paragraph.entry()
        for fault in entry.faults:
            tell(fault)
        if entry.context is not None:
            for fault in blank(entry.context, what="passage", where=f"{entry.where}.context"):
                tell(fault)
        for where, asked in entry.questions:
            for fault in question_faults(asked, where):
                tell(fault, asked["id"])
            if (first := ids.setdefault(asked["id"], where)) != where:
                tell(repeated_id(asked["id"], where, first), asked["id"])
        yield paragraph, entry, _passage(entry, paragraph.title, on_misaligned, report, units)


def _stop(
    kind: str, describe: Callable[[], InputError], *, stops_features: bool, **about: Any
) -> None:
    if stops_features:
        raise describe()


def read_training(
    files: Mapping[str, Mapping[str, Any]], on_misaligned: OnMisaligned, part: FilePart | None
) -> Iterator[Passage]:
    """Reads what a reader is trained on: questions with known answers, then unlabelled ones.

    Args:
        files: By split, each with its path: `train`, and `unlabelled` if there is one.
        on_misaligned: See `read_passages`.
        part: Which articles of `train`; None stands for all.

    Raises:
        InputError: As `read_passages` and `read_unlabelled` do.
    """
    passages = read_passages(
        Path(files["train"]["path"]),
        on_misaligned=on_misaligned,
        articles=part.articles if part else None,
    )
    yield from (passage.learnable for passage in passages)
    if "unlabelled" in files:
        yield from read_unlabelled(Path(files["unlabelled"]["path"]))


def read_unlabelled(path: Path) -> Iterator[Passage]:
    """Reads passages with questions and no answers, passage by passage, whatever else is there.

    Args:
        path: A file of any form that `read_items` reads.

    Raises:
        InputError: The file cannot be read, a text is missing or blank, or there is no question.
    """
    asked = 0
    for paragraph in map(sound, squad_paragraphs(path)):
        for fault in paragraph.faults():
            raise fault
        context = paragraph.content["context"]
        placed = list(map(sound, paragraph.questions(ASKED_QUESTION)))
        texts = [(f"{paragraph.where}.context", "passage", context)]
        texts += [(f"{where}.question", "question", one["question"]) for where, one in placed]
        for where, what, text in texts:
            for fault in blank(text, what=what, where=where):
                raise fault
        asked += len(placed)
        questions = (Question(one["id"], one["question"], (), unlabelled=True) for _, one in placed)
        yield Passage(context, paragraph.title, tuple(questions))
    if not asked:
        raise no_questions(path)


def read_squad(path: Path, *, on_misaligned: OnMisaligned) -> SquadDataset:
    """Reads and checks a whole file as `read_passages` does.

    Raises:
        InputError: As `read_passages` does.
    """
    return SquadDataset(tuple(read_passages(path, on_misaligned=on_misaligned)))


def read_gold(path: Path) -> dict[str, tuple[str, ...]]:
    """Reads only what a scorer needs: the gold answers of every question.

    Nothing else is checked: answers may be empty or misaligned, ``is_impossible`` may say anything,
    and the questions may all be of one kind.

    Args:
        path: A file of any form that `read_items` reads.

    Returns:
        The texts of the gold answers by question id, in file order; none if unanswerable.

    Raises:
        InputError: The file cannot be read, is not SQuAD JSON, repeats an id or has no questions.
    """
    gold: dict[str, tuple[str, ...]] = {}
    ids: dict[str, str] = {}
    for paragraph in map(sound, squad_paragraphs(path)):
        for where, asked in map(sound, paragraph.questions(_GOLD_QUESTION)):
            if (first := ids.setdefault(asked["id"], where)) != where:
                raise repeated_id(asked["id"], where, first)
            gold[asked["id"]] = tuple(answer["text"] for answer in asked["answers"])
    if not gold:
        raise no_questions(path)
    return gold


def _passage(
    entry: Entry,
    title: str,
    on_misaligned: OnMisaligned,
    report: Report,
    units: Callable[[], Units],
) -> Passage:
    context = entry.context or ""
    gold = answers_of(asked["answers"] for _, asked in entry.questions)
    unit = None
    if on_misaligned == "repair" or not all(is_aligned(answer, context) for answer in gold):
        unit = units().of_passage(context, gold)
    questions = []
    misaligned = repaired = 0
    for place, asked in entry.questions:
        answers, misplaced = [], []
        for n, raw in enumerate(asked["answers"]):
            if not (context and raw["text"].strip()):
                continue  # a fault already
            where = f"{place}.answers[{n}]"
            keeps_its_place = on_misaligned != "repair" and is_aligned(raw, context)
            found = find_answer(raw, context, None if keeps_its_place else unit)
            if found.kind is not None:
                report(
                    found.kind,
                    partial(misaligned_answer, raw, context, where, found),
                    stops_features=on_misaligned == "error",
                    question_id=asked["id"],
                    proposed_answer_start=found.start,
                )
            if found.start is None or (found.kind is not None and on_misaligned != "repair"):
                misplaced.append(raw["text"])
            else:
                repaired += found.kind is not None
                written = raw["text"] if raw["text"] != found.text else None
                answers.append(GoldAnswer(found.text, found.start, written, where))
        misaligned += len(misplaced)
        plausible = None if asked["answers"] else _plausible(asked, context)
        questions.append(
            Question(
                asked["id"],
                asked["question"],
                tuple(answers),
                plausible,
                tuple(misplaced),
                where=place,
            )
        )
    return Passage(context, title, tuple(questions), misaligned, repaired)


def _plausible(asked: RawQuestion, context: str) -> GoldAnswer | None:
    """The first plausible answer at its ``answer_start``; the others cannot be used."""
    for raw in asked.get("plausible_answers") or ():
        if raw["text"].strip() and is_aligned(raw, context):
            return GoldAnswer(raw["text"], raw["answer_start"])
    return None

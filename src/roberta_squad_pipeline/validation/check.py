"""Looks through SQuAD files for everything that is wrong or odd in them.

Faults are what reading a file rejects, found by the same rules. Oddities are reported since they
cost scores or mislead.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.evaluation.scoring import normalise
from roberta_squad_pipeline.squad.dataset import Passage, Question, checked_passages
from roberta_squad_pipeline.squad.faults import (
    Kinds,
    OnMisaligned,
    RawAnswer,
    if_only_scored,
    missing_kind,
)
from roberta_squad_pipeline.squad.forms import files_of
from roberta_squad_pipeline.squad.json_input import shown
from roberta_squad_pipeline.squad.paragraphs import Entry, Paragraph, squad_paragraphs
from roberta_squad_pipeline.squad.repair import Units, units_of
from roberta_squad_pipeline.validation.report import (
    ENORMOUS_CHARACTERS,
    Counts,
    FileReport,
    Findings,
    ValidationReport,
)
from roberta_squad_pipeline.validation.tokens import InTokens, TokenLimits

_BYTE_ORDER_MARK = "\ufeff"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LINE_END = re.compile("\r\n|\r|\n")


def validate_files(
    paths: Mapping[str, Path], *, on_misaligned: OnMisaligned, limits: TokenLimits
) -> ValidationReport:
    """Checks the files of a run, each of their passages, and which passages they share.

    One file is held in memory at a time.

    Args:
        paths: By split; a passage that an earlier split has, too, is leaked, and so is one of
            `unlabelled`. Nothing else is checked there before it is read, since it has only texts.
        on_misaligned: What happens to misaligned answers of train.
        limits: The limits of windows, questions and answers in tokens.
    """
    reports: dict[str, FileReport] = {}
    earlier: dict[str, frozenset[int]] = {}
    for split, path in paths.items():
        if split == "unlabelled":
            continue
        learned = split == "train"
        mending = on_misaligned if learned else if_only_scored(on_misaligned)
        check = _Check(path, mending, limits, learned=learned)
        check.look_through()
        for other, passages in earlier.items():
            check.find_leaks(other, passages)
        reports[split] = check.report()
        earlier[split] = check.passages()
        # More questions on passages of train are no leak.
        if learned and "unlabelled" in paths:
            earlier["unlabelled"] = _passages_of(paths["unlabelled"])
    return ValidationReport(files=reports)


def _passages_of(path: Path) -> frozenset[int]:
    """Hashes of all passages that can be read."""
    texts = (one.context for one in squad_paragraphs(path) if isinstance(one, Paragraph))
    return frozenset(_hash(text) for text in texts if text is not None)


def _hash(passage: str) -> int:
    # White space often differs between copies of a passage.
    return hash(" ".join(passage.split()))


def oddities(text: str) -> Iterator[tuple[str, int]]:
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


class _Check:
    """The check of one file, with its findings so far."""

    def __init__(
        self, path: Path, on_misaligned: OnMisaligned, limits: TokenLimits, *, learned: bool
    ) -> None:
        self._path = path
        self._learned = learned
        self._on_misaligned = on_misaligned
        self._limits = limits
        self._findings = Findings()
        self._counts = Counts()
        self._tokens = InTokens(limits, self._counts, self._findings)
        self._kinds = Kinds()
        self._kinds_are_known = True
        self._line_end: set[str] = set()
        # The place of the first occurrence; texts are kept as hashes, which take less memory.
        self._asked: dict[int, str] = {}
        self._passages: list[tuple[int, str, str]] = []

    def look_through(self) -> None:
        """Reads the file and checks each of its passages."""
        article, file = -1, None
        for paragraph, entry, passage in checked_passages(
            self._path, self._on_misaligned, self._report, lambda: self._units
        ):
            self._counts.articles += paragraph.article != article
            if paragraph.file is not file and paragraph.file.marked:
                self._findings.odd(
                    "byte_order_mark", str(paragraph.file.path), "one at the beginning of the file"
                )
            self._kinds.version_2 = self._kinds.version_2 or paragraph.file.says_version_2
            article, file = paragraph.article, paragraph.file
            self._check_passage(entry, passage)
        self._tokens.measure()
        enough = self._limits.windows.settings_for(self._tokens.longest_question)
        self._findings.set_remedy(
            "question_cut", f"Set {enough}, or shorten the questions; what is cut is never read."
        )
        for missing in missing_kind(self._path, self._kinds) if self._kinds_are_known else ():
            self._report(missing.kind, lambda missing=missing: missing, stops_features=True)  # type: ignore[misc]

    def find_leaks(self, other: str, passages: frozenset[int]) -> None:
        """Finds the passages that an earlier split has, too."""
        for passage, where, quote in self._passages:
            if passage in passages:
                self._findings.odd("leaked_passage", where, f"{quote}, which {other} has, too")

    def passages(self) -> frozenset[int]:
        """Hashes of all passages."""
        return frozenset(passage for passage, _, _ in self._passages)

    @property
    def _size(self) -> int:
        try:
            return sum(file.stat().st_size for file in files_of(self._path) if file.is_file())
        except InputError:  # a finding already
            return 0

    def report(self) -> FileReport:
        """The findings and counts."""
        return FileReport(
            path=str(self._path),
            size_bytes=self._size,
            counts=self._counts,
            findings=self._findings.listed(),
        )

    def _check_passage(self, entry: Entry, passage: Passage) -> None:
        for where in entry.without_id:
            self._findings.odd("no_id", where, "no id")
        number = None if entry.context is None else self._check_context(entry, entry.context)
        for (where, asked), question in zip(entry.questions, passage.questions, strict=True):
            if number is not None:
                self._find_repeats(question, number)
            self._check_text(question.text, f"{where}.question", question.id)
            self._check_answers(asked["answers"], question)
        self._counts.questions += len(entry.questions)
        if passage.text.strip():
            # Questions whose answers have no known place are not trained on.
            self._tokens.add(
                f"{entry.where}.context", passage.learnable if self._learned else passage
            )

    def _check_context(self, entry: Entry, context: str) -> int:
        """Returns a hash of the passage."""
        where = f"{entry.where}.context"
        counts = self._counts
        counts.passages += 1
        counts.passages_without_questions += not entry.questions
        counts.longest_passage = max(counts.longest_passage, len(context))
        passage = _hash(context)
        self._passages.append((passage, where, shown(context)))
        if len(context) > ENORMOUS_CHARACTERS:
            self._findings.odd("enormous_passage", where, f"{len(context):,} characters")
        self._check_text(context, where, None)
        return passage

    @cached_property
    def _units(self) -> Units:
        # Most files are aligned, and need no second look.
        return units_of(self._path)

    def _check_answers(self, answers: Sequence[RawAnswer], question: Question) -> None:
        self._counts.answers += len(answers)
        self._counts.answerable += bool(answers)
        self._counts.unanswerable += not answers
        for n, raw in enumerate(answers):
            if raw["text"].strip() and not normalise(raw["text"]):
                where = f"{question.where}.answers[{n}]"
                self._findings.odd("answer_scores_nothing", where, shown(raw["text"]), question.id)
        dropped = len(question.misplaced)
        self._kinds.unanswerable += not answers
        self._kinds.answerable += len(answers) > (dropped if self._learned else 0)
        self._kinds.dropped_answers += dropped

    def _check_text(self, text: str, where: str, question_id: str | None) -> None:
        for kind, character in oddities(text):
            around = text[max(0, character - 10) : character + 20]
            got = f"{shown(text[character])} as character {character}, in {shown(around)}"
            self._findings.odd(kind, where, got, question_id)
        ends = line_ends(text)
        if ends - self._line_end:
            if self._line_end or len(ends) > 1:
                names = " and ".join(sorted(map(shown, ends | self._line_end)))
                self._findings.odd("mixed_line_ends", where, f"{names} in one file", question_id)
            self._line_end |= ends

    def _find_repeats(self, question: Question, passage: int) -> None:
        key = hash((passage, question.text))
        if (first := self._asked.setdefault(key, question.where)) != question.where:
            got = f"{shown(question.text)}, which is also asked at {first.rpartition(': ')[2]}"
            self._findings.odd("repeated_question", question.where, got, question.id)

    def _report(
        self, kind: str, describe: Callable[[], InputError], *, stops_features: bool, **about: Any
    ) -> None:
        # What cannot be read may be of the kind that seems to be missing.
        self._kinds_are_known &= not stops_features or kind == "repeated_id"
        self._findings.add(kind, describe, stops_features=stops_features, **about)

"""Looks through SQuAD files for all that is wrong or odd in them.

What the reader of SQuAD files rejects is found with the reader's own rules. The rest is odd, and
told because it costs scores or misleads.
"""

from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.evaluation.scoring import normalise
from roberta_squad_pipeline.squad.dataset import (
    RAW_PASSAGE,
    Paragraph,
    SquadFile,
    aligned,
    open_squad,
)
from roberta_squad_pipeline.squad.faults import (
    Kinds,
    OnMisaligned,
    RawPassage,
    RawQuestion,
    blank,
    blank_texts,
    contradiction,
    is_aligned,
    misaligned_answer,
    missing_kind,
    nearest_occurrence,
    repeated_id,
)
from roberta_squad_pipeline.squad.json_input import shown
from roberta_squad_pipeline.validation.repeats import (
    HASH_CODE,
    Hashes,
    also_in,
    repeats,
)
from roberta_squad_pipeline.validation.report import (
    PLACES_SHOWN,
    Counts,
    FileReport,
    Findings,
    ValidationReport,
)
from roberta_squad_pipeline.validation.texts import line_ends, oddities
from roberta_squad_pipeline.validation.tokens import InTokens, PlacedAnswer, TokenLimits

ENORMOUS_CHARACTERS = 50_000
"""More than ten times the longest passage of SQuAD."""

_BATCH_CHARACTERS = 1_000_000
"""Of passages that are tokenised together."""

_EXPECTED = {
    "control_character": (
        "no control characters but tabs and line ends",
        "Remove them, and move the answer_start of the answers after them.",
    ),
    "byte_order_mark": (
        "no byte-order mark",
        "Remove it; inside a passage it counts as a character of answer_start.",
    ),
    "not_nfc": (
        "composed characters (Unicode's form NFC)",
        "Normalise the whole file to NFC and find each answer_start again; tokenizers and scorers "
        "take composed and decomposed characters for different ones.",
    ),
    "mixed_line_ends": (
        "one kind of line end in all texts of the file",
        "Write all of them as \\n, and move the answer_start of the answers after them.",
    ),
    "enormous_passage": (
        f"at most {ENORMOUS_CHARACTERS:,} characters",
        "Cut it into passages of a few paragraphs; each question on it goes over all windows.",
    ),
    "repeated_question": (
        "each question once on the same passage",
        "Remove one of the two, or give one question all the answers.",
    ),
    "leaked_passage": (
        "passages that the other file does not have",
        "Remove it from one of the files; scores on a passage that was trained on are too good.",
    ),
    "answer_scores_nothing": (
        "an answer of which case, English articles and ASCII punctuation are not all",
        "Give more of the passage as the answer; the scorer leaves out an answer like this.",
    ),
    "no_token": (
        "passages of at least one token",
        "Take this passage out, or use an encoder whose tokenizer knows its characters.",
    ),
    "answer_without_token": (
        "an answer that has a token",
        "Give another answer, or use an encoder whose tokenizer knows its characters; the question "
        "is trained as unanswerable.",
    ),
    "answer_too_long": (
        "at most inference.max_answer_tokens tokens",
        "Raise inference.max_answer_tokens, or shorten the answer; it is never predicted whole.",
    ),
    "answer_beyond_windows": (
        "a window that holds the answer whole",
        "Lower features.stride, raise features.max_tokens, or shorten the answer; the question is "
        "trained as unanswerable in each of its windows.",
    ),
}
"""What is expected instead of each oddity, and what to do about it."""


def validate_files(
    paths: Mapping[str, Path], *, on_misaligned: OnMisaligned, limits: TokenLimits
) -> ValidationReport:
    """Checks the files of a run, each passage of them, and what they have in common.

    One file is held at a time.

    Args:
        paths: By split; a passage that an earlier one has, too, is leaked.
        on_misaligned: Whether misaligned answers stop the features.
        limits: What answers are measured with.
    """
    reports: dict[str, FileReport] = {}
    earlier: dict[str, Hashes] = {}
    for split, path in paths.items():
        check = _Check(path, on_misaligned, limits)
        check.look_through()
        for other, passages in earlier.items():
            check.find_leaks(other, passages)
        reports[split] = check.report()
        earlier[split] = check.passages
    return ValidationReport(files=reports)


class _Check:
    """One file, and what was found in it so far."""

    def __init__(self, path: Path, on_misaligned: OnMisaligned, limits: TokenLimits) -> None:
        self._path = path
        self._on_misaligned = on_misaligned
        self._tokens = InTokens(limits)
        self._findings = Findings()
        self._counts = Counts()
        self._kinds = Kinds(version_2=False)
        self._line_end: set[str] = set()
        self._file: SquadFile | None = None
        # Hashes of passages, ids, and questions with their passages.
        self.passages: Hashes = array(HASH_CODE)
        self._ids: Hashes = array(HASH_CODE)
        self._asked: Hashes = array(HASH_CODE)
        # Of each passage that could be read: its number in the file, and its first question's.
        self._numbers = array("q")
        self._first_question = array("q")

    def look_through(self) -> None:
        """Reads the file once, and again what little is needed to name repeated things."""
        try:
            self._file = open_squad(self._path)
        except InputError as fault:
            self._stop("unreadable", fault)
            return
        if self._file.marked:
            self._odd("byte_order_mark", str(self._path), "one at the beginning of the file")
        self._kinds.version_2 = self._file.says_version_2
        self._counts.articles = len(self._file.titles)
        whole = True
        for number, paragraph in enumerate(self._file.paragraphs):
            try:
                entry = paragraph.validated(RAW_PASSAGE)
            except InputError as fault:
                self._stop("not_squad_json", fault)
                whole = False
            else:
                self._check_passage(number, paragraph, entry)
                if self._tokens.characters > _BATCH_CHARACTERS:
                    self._measure()
        self._measure()
        self._find_repeats(self._file)
        # A file that was read in part may hold the missing kind where it could not be read.
        for missing in missing_kind(self._path, self._kinds) if whole else ():
            self._stop("missing_kind_of_question", missing)

    def find_leaks(self, other: str, passages: Hashes) -> None:
        """Finds the passages that another split has, too."""
        if (file := self._file) is None:
            return
        leaked = also_in(self.passages, passages)
        for passage in leaked[:PLACES_SHOWN].tolist():
            where, entry = self._passage_at(file, passage)
            got = f"{shown(entry['context'])}, which {other} has, too"
            self._odd("leaked_passage", f"{where}.context", got)
        self._findings.count_more("leaked_passage", len(leaked) - PLACES_SHOWN)

    def report(self) -> FileReport:
        """What was found."""
        return FileReport(
            path=str(self._path),
            size_bytes=self._path.stat().st_size if self._path.is_file() else 0,
            counts=self._counts,
            findings=self._findings.listed(),
        )

    def _check_passage(self, number: int, paragraph: Paragraph, entry: RawPassage) -> None:
        context, questions = entry["context"], entry["qas"]
        counts = self._counts
        counts.passages += 1
        counts.passages_without_questions += not questions
        counts.longest_passage = max(counts.longest_passage, len(context))
        self._numbers.append(number)
        self._first_question.append(counts.questions)
        # White space often differs between copies of a passage.
        passage = hash(" ".join(context.split()))
        self.passages.append(passage)
        where = paragraph.where
        for fault in blank(context, what="passage", where=f"{where}.context"):
            self._stop("blank_text", fault)
        if len(context) > ENORMOUS_CHARACTERS:
            self._odd("enormous_passage", f"{where}.context", f"{len(context):,} characters")
        self._check_text(context, lambda: f"{where}.context", None)
        placed: list[PlacedAnswer] = []
        for q, question in enumerate(questions):
            self._ids.append(hash(question["id"]))
            self._asked.append(hash((passage, question["question"])))
            placed += self._check_question(question, context, f"{where}.qas[{q}]")
        counts.questions += len(questions)
        if context.strip():
            self._tokens.add(f"{where}.context", context, placed)

    def _check_question(
        self, question: RawQuestion, context: str, place: str
    ) -> Iterator[PlacedAnswer]:
        """Yields the answers that stand in the passage."""
        question_id, answers = question["id"], question["answers"]
        self._counts.answers += len(answers)
        self._counts.answerable += bool(answers)
        self._counts.unanswerable += not answers
        self._kinds.version_2 = self._kinds.version_2 or "is_impossible" in question
        for fault in blank_texts(question, place):
            self._stop("blank_text", fault, question_id)
        for fault in contradiction(question, place):
            self._stop("contradiction", fault, question_id)
        self._check_text(question["question"], lambda: f"{place}.question", question_id)
        dropped = 0
        for n, raw in enumerate(answers):
            where = f"{place}.answers[{n}]"
            if not is_aligned(raw, context):
                nearest = nearest_occurrence(raw["text"], context, raw["answer_start"])
                self._findings.add(
                    "answer_not_in_passage" if nearest is None else "misaligned_answer",
                    lambda raw=raw, where=where: misaligned_answer(raw, context, where),  # type: ignore[misc]
                    stops_features=self._on_misaligned == "error",
                    question_id=question_id,
                    proposed_answer_start=nearest,
                )
            answer = aligned(raw, context, self._on_misaligned)
            dropped += answer is None
            if not raw["text"].strip():
                continue
            if not normalise(raw["text"]):
                self._odd("answer_scores_nothing", where, shown(raw["text"]), question_id)
            if answer is not None:
                yield PlacedAnswer(where, question_id, question["question"], answer)
        kept = self._on_misaligned == "error" or len(answers) > dropped
        self._kinds.unanswerable += not answers
        self._kinds.answerable += bool(answers) and kept
        self._kinds.dropped_answers += dropped

    def _check_text(self, text: str, where: Callable[[], str], question_id: str | None) -> None:
        for kind, character in oddities(text):
            around = text[max(0, character - 10) : character + 20]
            got = f"{shown(text[character])} as character {character}, in {shown(around)}"
            self._odd(kind, where(), got, question_id)
        ends = line_ends(text)
        if ends - self._line_end:
            if self._line_end or len(ends) > 1:
                names = " and ".join(sorted(map(shown, ends | self._line_end)))
                self._odd("mixed_line_ends", where(), f"{names} in one file", question_id)
            self._line_end |= ends

    def _measure(self) -> None:
        for fault in self._tokens.measured():
            self._odd(fault.kind, fault.where, fault.got, fault.question_id)

    def _find_repeats(self, file: SquadFile) -> None:
        for kind, hashes in (("repeated_id", self._ids), ("repeated_question", self._asked)):
            found = repeats(hashes)
            for item, first in found[:PLACES_SHOWN].tolist():
                where, question = self._question_at(file, item)
                first_where, _ = self._question_at(file, first)
                if kind == "repeated_id":
                    self._stop(kind, repeated_id(question["id"], where, first_where))
                else:
                    before = first_where.rpartition(": ")[2]
                    got = f"{shown(question['question'])}, which is also asked at {before}"
                    self._odd(kind, where, got, question["id"])
            self._findings.count_more(kind, len(found) - PLACES_SHOWN)

    def _question_at(self, file: SquadFile, question: int) -> tuple[str, RawQuestion]:
        """Place and content of a question, by its number among those that were read."""
        passage = int(np.searchsorted(self._first_question, question, side="right")) - 1
        where, entry = self._passage_at(file, passage)
        q = question - self._first_question[passage]
        return f"{where}.qas[{q}]", entry["qas"][q]

    def _passage_at(self, file: SquadFile, passage: int) -> tuple[str, RawPassage]:
        """Place and content of a passage, by its number among those that were read."""
        paragraph = file.paragraphs[self._numbers[passage]]
        return paragraph.where, paragraph.validated(RAW_PASSAGE)

    def _stop(self, kind: str, fault: InputError, question_id: str | None = None) -> None:
        self._findings.add(kind, lambda: fault, stops_features=True, question_id=question_id)

    def _odd(self, kind: str, where: str, got: str, question_id: str | None = None) -> None:
        expected, remedy = _EXPECTED[kind]
        self._findings.add(
            kind,
            lambda: InputError(where=where, got=got, expected=expected, remedy=remedy),
            stops_features=kind == "no_token",
            question_id=question_id,
        )

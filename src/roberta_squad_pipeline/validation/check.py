"""Looks through SQuAD files for all that is wrong or odd in them.

What the reader of SQuAD files rejects is found with the reader's own rules. The rest is odd, and
told because it costs scores or misleads.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.evaluation.scoring import normalise
from roberta_squad_pipeline.squad.dataset import (
    RAW_PASSAGE,
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
from roberta_squad_pipeline.validation.report import (
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
    earlier: dict[str, frozenset[int]] = {}
    for split, path in paths.items():
        # What is scored, not learned from, needs no place of its answers.
        check = _Check(path, on_misaligned, limits, learned=split == "train")
        check.look_through()
        for other, passages in earlier.items():
            check.find_leaks(other, passages)
        reports[split] = check.report()
        earlier[split] = check.passages()
    return ValidationReport(files=reports)


class _Check:
    """One file, and what was found in it so far."""

    def __init__(
        self, path: Path, on_misaligned: OnMisaligned, limits: TokenLimits, *, learned: bool
    ) -> None:
        self._path = path
        self._learned = learned
        self._on_misaligned = on_misaligned
        self._tokens = InTokens(limits)
        self._findings = Findings()
        self._counts = Counts()
        self._kinds = Kinds(version_2=False)
        self._line_end: set[str] = set()
        # The place where each was met first; texts by their hashes, which take less memory.
        self._ids: dict[str, str] = {}
        self._asked: dict[int, str] = {}
        self._passages: list[tuple[int, str, str]] = []

    def look_through(self) -> None:
        """Reads the file and checks each passage of it."""
        try:
            file = open_squad(self._path)
        except InputError as fault:
            self._stop("unreadable", fault)
            return
        if file.marked:
            self._odd("byte_order_mark", str(self._path), "one at the beginning of the file")
        self._kinds.version_2 = file.says_version_2
        self._counts.articles = len(file.titles)
        whole = True
        for paragraph in file.paragraphs:
            try:
                entry = paragraph.validated(RAW_PASSAGE)
            except InputError as fault:
                self._stop("not_squad_json", fault)
                whole = False
            else:
                self._check_passage(paragraph.where, entry)
                if self._tokens.characters > _BATCH_CHARACTERS:
                    self._measure()
        self._measure()
        # A file that was read in part may hold the missing kind where it could not be read.
        for missing in missing_kind(self._path, self._kinds) if whole else ():
            self._stop("missing_kind_of_question", missing)

    def find_leaks(self, other: str, passages: frozenset[int]) -> None:
        """Finds the passages that another split has, too."""
        for passage, where, quote in self._passages:
            if passage in passages:
                self._odd("leaked_passage", where, f"{quote}, which {other} has, too")

    def passages(self) -> frozenset[int]:
        """Hashes of all passages."""
        return frozenset(passage for passage, _, _ in self._passages)

    def report(self) -> FileReport:
        """What was found."""
        return FileReport(
            path=str(self._path),
            size_bytes=self._path.stat().st_size if self._path.is_file() else 0,
            counts=self._counts,
            findings=self._findings.listed(),
        )

    def _check_passage(self, where: str, entry: RawPassage) -> None:
        context, questions = entry["context"], entry["qas"]
        counts = self._counts
        counts.passages += 1
        counts.passages_without_questions += not questions
        counts.longest_passage = max(counts.longest_passage, len(context))
        # White space often differs between copies of a passage.
        passage = hash(" ".join(context.split()))
        self._passages.append((passage, f"{where}.context", shown(context)))
        for fault in blank(context, what="passage", where=f"{where}.context"):
            self._stop("blank_text", fault)
        if len(context) > ENORMOUS_CHARACTERS:
            self._odd("enormous_passage", f"{where}.context", f"{len(context):,} characters")
        self._check_text(context, lambda: f"{where}.context", None)
        placed: list[PlacedAnswer] = []
        for q, question in enumerate(questions):
            place = f"{where}.qas[{q}]"
            self._find_repeats(question, passage, place)
            placed += self._check_question(question, context, place)
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
        kept = not self._learned or self._on_misaligned == "error" or len(answers) > dropped
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

    def _find_repeats(self, question: RawQuestion, passage: int, place: str) -> None:
        question_id, text = question["id"], question["question"]
        if (first := self._ids.setdefault(question_id, place)) != place:
            self._stop("repeated_id", repeated_id(question_id, place, first))
        if (first := self._asked.setdefault(hash((passage, text)), place)) != place:
            got = f"{shown(text)}, which is also asked at {first.rpartition(': ')[2]}"
            self._odd("repeated_question", place, got, question_id)

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

"""The result of a validation: counts and findings per file, as JSON and as Markdown.

Faults are described by whoever reads files; what is said about oddities stands here.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from typing import Literal

from pydantic import BaseModel

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.common.tables import table

FORMAT_VERSION: Literal[2] = 2
PLACES_SHOWN = 5
"""Of each kind of finding; the rest is counted."""
ENORMOUS_CHARACTERS = 50_000
"""More than ten times the longest passage of SQuAD."""

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
        "composed characters (Unicode's form NFC, not NFD)",
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
    "no_id": (
        "an id that no other question has",
        "Nothing: its file and place serve as its id. Give it one if you need to find it again.",
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
        "an answer that is more than English articles and ASCII punctuation",
        "Give more of the passage as the answer; the scorer ignores an answer like this.",
    ),
    "no_token": (
        "passages of at least one token",
        "Remove this passage, or use an encoder whose tokenizer knows its characters.",
    ),
    "answer_without_token": (
        "an answer that has a token",
        "Give another answer, or use an encoder whose tokenizer knows its characters; the question "
        "is trained as unanswerable.",
    ),
    "question_cut": (
        "at most features.max_question_tokens tokens",
        "",  # known once the longest is
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
"""For each oddity, what is expected instead, and what to do about it."""


class Place(StrictModel):
    """One place of a finding."""

    where: str
    """File, and the way through its JSON, such as ``train.json: data[3].paragraphs[7].qas[2]``."""
    question_id: str | None
    """The question that it concerns, if there is one."""
    got: str
    """What stands there, in a few words."""
    expected: str
    """What should stand there."""
    proposed_answer_start: int | None
    """Where a misaligned answer probably begins, and is moved to by data.on_misaligned=repair."""


class Finding(BaseModel):
    """All that was found of one kind in one file."""

    kind: str
    stops_features: bool
    """Whether no features can be built from a file with it."""
    count: int = 0
    places: list[Place] = []
    """The first `PLACES_SHOWN` of them, in file order."""
    remedy: str
    """What to do about the first of them."""


@dataclass(slots=True)
class Counts:
    """What a file holds, in numbers; articles that are not SQuAD JSON do not count."""

    articles: int = 0
    passages: int = 0
    passages_without_questions: int = 0
    questions: int = 0
    answerable: int = 0
    unanswerable: int = 0
    answers: int = 0
    longest_passage: int = 0
    """In characters."""
    windows: int = 0
    """Windows of the questions; in train, only of those that can be learned from."""
    labelled_windows: int = 0
    """Windows that hold a whole gold answer."""
    labelled_windows_of_several_answers: int = 0
    """Of these, the windows whose question has several gold answers in different places."""


class FileReport(StrictModel):
    """What was found in one file."""

    path: str
    size_bytes: int
    counts: Counts
    findings: tuple[Finding, ...]
    """In the order in which their kinds first occurred."""


class ValidationReport(StrictModel):
    """What was found in the files of a run."""

    format_version: Literal[2] = FORMAT_VERSION
    files: dict[str, FileReport]
    """By split: train and dev."""


class Findings:
    """Collects the findings in a file: a count per kind, and the first places of each."""

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}

    def add(
        self,
        kind: str,
        describe: Callable[[], InputError],
        *,
        stops_features: bool,
        question_id: str | None = None,
        proposed_answer_start: int | None = None,
    ) -> None:
        """Counts one more; it is described only if it is among the first of its kind."""
        finding = self._found.get(kind)
        if finding is None or len(finding.places) < PLACES_SHOWN:
            fault = describe()
            if finding is None:
                finding = self._found[kind] = Finding(
                    kind=kind, stops_features=stops_features, remedy=fault.remedy
                )
            place = Place(
                where=fault.where,
                question_id=question_id,
                got=fault.got,
                expected=fault.expected,
                proposed_answer_start=proposed_answer_start,
            )
            finding.places.append(place)
        finding.count += 1

    def odd(self, kind: str, where: str, got: str, question_id: str | None = None) -> None:
        """Counts one more oddity; `where` is its file and place there."""
        expected, remedy = _EXPECTED[kind]
        self.add(
            kind,
            lambda: InputError(where=where, got=got, expected=expected, remedy=remedy),
            stops_features=kind == "no_token",
            question_id=question_id,
        )

    def set_remedy(self, kind: str, remedy: str) -> None:
        """Sets what to do about a kind, if there are any of it."""
        if kind in self._found:
            self._found[kind].remedy = remedy

    def listed(self) -> tuple[Finding, ...]:
        """One finding per kind, those that stop the features first."""
        return tuple(sorted(self._found.values(), key=lambda finding: not finding.stops_features))


def stopping(report: ValidationReport) -> Iterator[Finding]:
    """The findings that stop the features, train first."""
    for file in report.files.values():
        yield from (finding for finding in file.findings if finding.stops_features)


def summary(findings: Iterable[Finding]) -> str:
    """Kinds and counts in one line."""
    return ", ".join(f"{_title(finding.kind)} ({finding.count})" for finding in findings)


def to_markdown(report: ValidationReport) -> str:
    """The report as two tables and a list of places."""
    lines = ["# Validation", "", _counts_table(report), "", *_shares(report), ""]
    if not any(file.findings for file in report.files.values()):
        return "\n".join([*lines, "Nothing was found.", ""])
    lines.append(_findings_table(report))
    for split, file in report.files.items():
        for finding in file.findings:
            lines += ["", f"## {split}: {_title(finding.kind)} ({finding.count})", ""]
            lines += [_place_line(place) for place in finding.places]
            rest = finding.count - len(finding.places)
            lines += [f"- and {rest} more"] * (rest > 0)
            lines += ["", _inert(finding.remedy)]
    return "\n".join([*lines, ""])


def _counts_table(report: ValidationReport) -> str:
    rows = [
        (split, _code(file.path), file.size_bytes, *astuple(file.counts))
        for split, file in report.files.items()
    ]
    return table(
        ("split", "file", "bytes", *(_title(field.name) for field in fields(Counts))), rows
    )


def _shares(report: ValidationReport) -> Iterator[str]:
    for split, file in report.files.items():
        counts = file.counts
        share = counts.labelled_windows / max(counts.windows, 1)
        yield (
            f"- {split}: {share:.1%} of {counts.windows} windows hold a gold answer whole, "
            f"{counts.labelled_windows_of_several_answers} of them one of several"
        )


def _findings_table(report: ValidationReport) -> str:
    rows = [
        (
            split,
            _title(finding.kind),
            finding.count,
            "yes" if finding.stops_features else "no",
            _code(finding.places[0].where),
        )
        for split, file in report.files.items()
        for finding in file.findings
    ]
    return table(("split", "finding", "count", "stops features", "first place"), rows)


def _place_line(place: Place) -> str:
    asked = f", question {_code(place.question_id)}" if place.question_id is not None else ""
    return (
        f"- {_code(place.where)}{asked}: got {_code(place.got)}; expected {_code(place.expected)}"
    )


def _title(kind: str) -> str:
    return kind.replace("_", " ")


def _code(text: str) -> str:
    return f"`{_inert(text)}`"


def _inert(text: str) -> str:
    """A text that neither leaves its line or cell nor means anything to a terminal or a browser."""
    return "".join(
        character if character.isprintable() and character not in "`|<>&" else _escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    return repr(character)[1:-1] if not character.isprintable() else f"\\x{ord(character):02x}"

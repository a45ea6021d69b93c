"""What a validation says: counts and findings of each file, as JSON and as Markdown."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from typing import Literal

from pydantic import BaseModel

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.markdown import table
from roberta_squad_pipeline.common.strict import StrictModel

FORMAT_VERSION: Literal[2] = 2
PLACES_SHOWN = 5
"""Of each kind of finding; the rest is counted."""


class Place(StrictModel):
    """One place where something was found."""

    where: str
    """File, and the way through its JSON, such as ``train.json: data[3].paragraphs[7].qas[2]``."""
    question_id: str | None
    """Of the question that it concerns, if it is about one."""
    got: str
    """What stands there, cut to a few words."""
    expected: str
    """What should stand there."""
    proposed_answer_start: int | None
    """Where a misaligned answer probably begins: what data.on_misaligned=repair makes of it."""


class Finding(BaseModel):
    """All that was found of one kind in one file."""

    kind: str
    stops_features: bool
    """Whether features cannot be built from the file as long as it is there."""
    count: int
    places: list[Place]
    """The first `PLACES_SHOWN` of them, in file order."""
    remedy: str
    """What to do about it, for the first of them."""


@dataclass(slots=True)
class Counts:
    """How much a file holds; articles that are not SQuAD JSON do not count."""

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
    """In which the questions will be read; of train, without those that cannot be learned from."""
    labelled_windows: int = 0
    """Those that hold a gold answer whole."""
    labelled_windows_of_several_answers: int = 0
    """Those of them whose question has several gold answers in different places."""


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
    """Gathers what is found in a file, counted by kind, with the first places of each."""

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
        """Counts one more, and has it described if it is among the first of its kind."""
        known = self._found.get(kind)
        if known is not None and len(known.places) >= PLACES_SHOWN:
            known.count += 1
            return
        fault = describe()
        place = Place(
            where=fault.where,
            question_id=question_id,
            got=fault.got,
            expected=fault.expected,
            proposed_answer_start=proposed_answer_start,
        )
        if known is not None:
            known.count += 1
            known.places.append(place)
        else:
            self._found[kind] = Finding(
                kind=kind,
                stops_features=stops_features,
                count=1,
                places=[place],
                remedy=fault.remedy,
            )

    def set_remedy(self, kind: str, remedy: str) -> None:
        """Says what to do about all of a kind, if there are any."""
        if kind in self._found:
            self._found[kind].remedy = remedy

    def listed(self) -> tuple[Finding, ...]:
        """One finding a kind, those that stop the features first."""
        return tuple(sorted(self._found.values(), key=lambda finding: not finding.stops_features))


def stopping(report: ValidationReport) -> Iterator[Finding]:
    """The findings that features cannot be built with, train first."""
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

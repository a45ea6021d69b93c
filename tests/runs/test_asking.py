"""`kedro ask`: what is typed, and what is shown. Oracle: the passage itself."""

import builtins
import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.inference.answering import Answer
from roberta_squad_pipeline.inference.prediction import Candidate
from roberta_squad_pipeline.runs.asking import converse, shown

PASSAGE = "The Krearkock Bridge crosses the Shilgel."


def answer(text: str | None, passage: str = PASSAGE) -> Answer:
    start = passage.index("Shilgel")
    best = Candidate("Shilgel", start, start + len("Shilgel"), 3.0)
    return Answer(text, 0.875, 0.0625, -2.0, (best,), 0)


class Reader:
    """Says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def answer(self, question: str, passage: str) -> Answer:
        self.asked.append((question, passage))
        return answer("Shilgel")


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    left: Iterator[str] = iter(lines)

    def read(prompt: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(builtins, "input", read)


def piped() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=40)


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=200)


def told(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("console", [piped(), terminal()])
def test_passage_and_questions_are_typed(monkeypatch: pytest.MonkeyPatch, console: Console) -> None:
    typed(monkeypatch, "The Krearkock Bridge", "crosses the Shilgel.", "", "Which?", "", "What?")
    reader = Reader()
    converse(reader, None, console)  # type: ignore[arg-type]
    passage = "The Krearkock Bridge\ncrosses the Shilgel."
    assert reader.asked == [("Which?", passage), ("What?", passage)]
    assert told(console).count("88% right") == 2


def test_passage_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "Which?")
    reader, console = Reader(), piped()
    converse(reader, PASSAGE, console)  # type: ignore[arg-type]
    assert reader.asked == [("Which?", PASSAGE)]
    assert told(console) == (
        "Shilgel (88% right, 6% that there is no answer)\n"
        "The Krearkock Bridge crosses the [[Shilgel]].\n"
    )


def test_byte_order_marks_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a passage that is piped in, and from questions."""
    typed(monkeypatch, "\ufeffThe Shilgel.", "", "\ufeffWhich?")
    reader = Reader()
    converse(reader, None, piped())  # type: ignore[arg-type]
    assert reader.asked == [("Which?", "The Shilgel.")]


def test_no_passage(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch)
    with pytest.raises(InputError, match="--passage-file"):
        converse(Reader(), None, piped())  # type: ignore[arg-type]


def test_no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question without an empty line before it would be taken for the passage's last line."""
    typed(monkeypatch, "The Shilgel.", "Which?")
    with pytest.raises(InputError, match="after the passage and an empty line"):
        converse(Reader(), None, piped())  # type: ignore[arg-type]


def test_span_is_marked_by_style_in_a_terminal() -> None:
    console = terminal()
    console.print(shown(answer("Shilgel"), PASSAGE, console))
    assert told(console).startswith("\x1b[1mShilgel\x1b[0m (88% right, ")
    assert "crosses the \x1b[1;7mShilgel\x1b[0m." in told(console)


def test_abstaining_still_shows_the_best_span() -> None:
    said = shown(answer(None), PASSAGE, piped()).plain
    assert said.startswith("no answer (6%); the best span would be Shilgel (88% right)\n")
    assert "[[Shilgel]]" in said


def test_long_passage_is_cut_around_the_span() -> None:
    passage = "a" * 500 + " Shilgel " + "b" * 500
    lines = shown(answer("Shilgel", passage), passage, piped()).plain.splitlines()
    assert lines[1] == "… " + "a" * 199 + " [[Shilgel]] " + "b" * 199 + " …"

"""`kedro ask`: questions from a terminal or a pipe, and answers marked in their passage."""

import json
from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from roberta_squad_pipeline.common.errors import InputError

if TYPE_CHECKING:
    from roberta_squad_pipeline.api import Reader
    from roberta_squad_pipeline.inference.answering import Answer

_AROUND = 200
"""Characters that are shown of a passage on either side of a span."""
_MARKED = "bold reverse"


def converse(
    reader: "Reader", passage: str | None, console: Console, *, as_json: bool = False
) -> None:
    """Answers every question that is typed or piped in, one per line.

    Args:
        reader: Who answers.
        passage: None if it is typed first, up to an empty line.
        console: Where to show answers.
        as_json: Whether an answer is shown as a JSON object on a line of its own.

    Raises:
        InputError: There is no passage or no question.
    """
    if passage is None:
        if console.is_terminal:
            console.print("The passage, and an empty line after it:")
        passage = "\n".join(takewhile(str.strip, _typed("")))
    if not passage.strip():
        raise InputError(
            where="passage",
            got="nothing",
            expected="a text that may hold the answer",
            remedy="Type it, or give --passage or --passage-file.",
        )
    asked = False
    for question in _typed("\n? " if console.is_terminal else ""):
        if question.strip():
            asked = True
            answer = reader.answer(question, passage)
            said = _line(question, answer, reader) if as_json else shown(answer, passage, console)
            console.print(said, soft_wrap=True)
    if not asked:
        raise InputError(
            where="questions",
            got="none",
            expected="one per line, after the passage and an empty line",
            remedy="Give them so, or the passage with --passage or --passage-file.",
        )


def _typed(prompt: str) -> Iterator[str]:
    while True:
        try:
            # Windows' editors begin a file with a byte-order mark, and so does what is piped in.
            yield input(prompt).removeprefix("\ufeff")
        except EOFError:
            return


def _line(question: str, answer: "Answer", reader: "Reader") -> Text:
    from roberta_squad_pipeline.inference.answering import as_row

    row = as_row(answer, reader.trained.calibration.abstains_above)
    return Text(json.dumps({"question": question} | row, ensure_ascii=False))


def shown(answer: "Answer", passage: str, console: Console) -> Text:
    """An answer, its probabilities, and its span marked where it stands.

    Args:
        answer: To a question to the passage.
        passage: Of any length; what lies around the span is shown.
        console: Marks are brackets where it has no styles.
    """
    best = answer.best
    if answer.text is None:
        headline = Text(f"no answer ({answer.no_answer_probability:.0%}); the best span would be ")
    else:
        headline = Text()
    said = Text.assemble((best.text, "bold"), f" ({answer.answer_probability:.0%} right")
    if answer.text is not None:
        said += Text(f", {answer.no_answer_probability:.0%} that there is no answer")
    first = max(best.char_start - _AROUND, 0)
    last = best.char_end + _AROUND
    before = ("… " if first else "") + passage[first : best.char_start]
    after = passage[best.char_end : last] + (" …" if last < len(passage) else "")
    span = Text(best.text, _MARKED) if console.is_terminal else Text(f"[[{best.text}]]")
    return headline + said + Text(")\n" + before) + span + Text(after)

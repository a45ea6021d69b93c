"""F1 of groups of questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from roberta_squad_pipeline.common.arrays import Float64Array, IntArray
from roberta_squad_pipeline.evaluation.uncertainty import interval_of_mean

if TYPE_CHECKING:
    import pandas as pd

_ANSWER_WORDS = (1, 2, 3, 4, 6, 10)
_PASSAGE_WORDS = (1, 50, 100, 150, 200, 300)
_WINDOWS = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class Slice:
    """Questions that have something in common."""

    name: str
    f1: float
    """Mean in per cent, at the report's threshold."""
    interval: tuple[float, float]
    """95 % over questions."""
    count: int


def slices_of(questions: "pd.DataFrame") -> dict[str, list[Slice]]:
    """F1 by what may make a question hard.

    Args:
        questions: See `judged`.

    Returns:
        By what the questions are sorted by; groups without questions are left out.
    """
    lengths = _ranges(questions["answer_words"], _ANSWER_WORDS, unit="word")
    by = {
        "question word": (questions["question_word"].tolist(), None),
        "answer length": (
            [text if text else "no answer" for text in lengths],
            [*_names(_ANSWER_WORDS, "word"), "no answer"],
        ),
        "passage length": (
            _ranges(questions["passage_words"], _PASSAGE_WORDS, unit="word"),
            _names(_PASSAGE_WORDS, "word"),
        ),
        "number of windows": (
            _ranges(questions["windows"], _WINDOWS, unit="window"),
            _names(_WINDOWS, "window"),
        ),
    }
    f1, passages = (questions[name].to_numpy() for name in ("scored_f1", "passage_number"))
    return {title: _slices(names, order, f1, passages) for title, (names, order) in by.items()}


def _slices(
    names: Sequence[str],
    order: Sequence[str] | None,
    f1: Float64Array,
    passages: IntArray,
) -> list[Slice]:
    of_question = np.array(names)
    present, counts = np.unique(of_question, return_counts=True)
    if order is None:
        # Without an order of their own, the most frequent come first.
        order = [str(name) for name in present[np.argsort(-counts, kind="stable")]]
    found = []
    for name in order:
        inside = of_question == name
        if inside.any():
            low, high = interval_of_mean(f1[inside], passages[inside])
            mean = float(100 * f1[inside].mean())
            found.append(Slice(name, mean, (low, high), int(inside.sum())))
    return found


def _names(firsts: Sequence[int], unit: str) -> list[str]:
    """What ranges are called that begin at these numbers and end before the next one."""
    lasts = [following - 1 for following in firsts[1:]]
    closed = [
        f"{first} {unit}{'s' * (first > 1)}" if first == last else f"{first} to {last} {unit}s"
        for first, last in zip(firsts, lasts, strict=False)
    ]
    return [*closed, f"{firsts[-1]} {unit}s or more"]


def _ranges(values: "pd.Series[int]", firsts: Sequence[int], unit: str) -> list[str]:
    """The range that each value is in; empty below the first."""
    names = ["", *_names(firsts, unit)]
    return [names[place] for place in np.searchsorted(firsts, values.to_numpy(), side="right")]

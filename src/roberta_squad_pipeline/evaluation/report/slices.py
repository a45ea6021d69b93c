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


def groups_of(questions: "pd.DataFrame") -> "dict[str, pd.Categorical[str]]":
    """Sorts questions by what may make them hard.

    Args:
        questions: See `judged`.

    Returns:
        By what they are sorted by: each question's group, and all groups that occur, in order.
    """
    import pandas as pd

    lengths = _ranges(questions["answer_words"], _ANSWER_WORDS, unit="word")
    words = questions["question_word"]
    # These have no order of their own: the most frequent come first.
    most_frequent = words.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    by: dict[str, tuple[list[str], list[str]]] = {
        "question word": (words.tolist(), most_frequent.index.tolist()),
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
    return {
        title: pd.Categorical(names, order).remove_unused_categories()
        for title, (names, order) in by.items()
    }


def slices_of(questions: "pd.DataFrame") -> dict[str, list[Slice]]:
    """F1 of each of these groups.

    Args:
        questions: See `judged`.
    """
    f1, passages = (questions[name].to_numpy() for name in ("scored_f1", "passage_number"))
    return {title: _slices(groups, f1, passages) for title, groups in groups_of(questions).items()}


def _slices(groups: "pd.Categorical[str]", f1: Float64Array, passages: IntArray) -> list[Slice]:
    found = []
    for code, name in enumerate(groups.categories):
        inside = groups.codes == code
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

"""F1 of groups of questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from roberta_squad_pipeline.common.arrays import Float64Array, IntArray
from roberta_squad_pipeline.evaluation.uncertainty import interval_of_mean

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
    """95 % confidence interval over questions."""
    count: int


def groups_of(questions: pd.DataFrame) -> "dict[str, pd.Categorical[Any]]":
    """Groups questions by what may make them hard.

    Args:
        questions: See `judged`.

    Returns:
        By the name of the grouping: each question's group; the categories are those that occur.
    """
    words = questions["question_word"]
    # These have no order of their own: the most frequent come first.
    most_frequent = words.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    lengths = _ranges(questions["answer_words"], _ANSWER_WORDS, unit="word")
    by = {
        "question word": pd.Categorical(words, most_frequent.index),
        "answer length": lengths.add_categories(["no answer"]).fillna("no answer"),
        "passage length": _ranges(questions["passage_words"], _PASSAGE_WORDS, unit="word"),
        "number of windows": _ranges(questions["windows"], _WINDOWS, unit="window"),
    }
    return {title: groups.remove_unused_categories() for title, groups in by.items()}


def slices_of(questions: pd.DataFrame) -> dict[str, list[Slice]]:
    """Computes the F1 of each of these groups.

    Args:
        questions: See `judged`.
    """
    f1, passages = (questions[name].to_numpy() for name in ("scored_f1", "passage_number"))
    return {title: _slices(groups, f1, passages) for title, groups in groups_of(questions).items()}


def _slices(groups: "pd.Categorical[Any]", f1: Float64Array, passages: IntArray) -> list[Slice]:
    found = []
    for code, name in enumerate(groups.categories):
        inside = groups.codes == code
        low, high = interval_of_mean(f1[inside], passages[inside])
        mean = float(100 * f1[inside].mean())
        found.append(Slice(name, mean, (low, high), int(inside.sum())))
    return found


def _ranges(values: "pd.Series[int]", firsts: Sequence[int], unit: str) -> "pd.Categorical[Any]":
    """The range that each value is in: from one of these numbers to below the next one."""
    names = [
        f"{first} {unit}{'s' * (first > 1)}"
        if after == first + 1
        else f"{first} to {after - 1} {unit}s"
        for first, after in pairwise(firsts)
    ]
    names.append(f"{firsts[-1]} {unit}s or more")
    return pd.cut(values.to_numpy(), [*firsts, np.inf], right=False, labels=names)

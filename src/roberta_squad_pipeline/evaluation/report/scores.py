"""The scores that the report shows, with confidence intervals: the scorer's, and of groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from roberta_squad_pipeline.common.arrays import Float64Array, IntArray
from roberta_squad_pipeline.evaluation.config import NO_ANSWER_THRESHOLD
from roberta_squad_pipeline.evaluation.uncertainty import interval_of_mean

_AT = f"abstaining above the threshold {NO_ANSWER_THRESHOLD:g}"
_MEANINGS = {
    "exact": f"equal to a gold answer, {_AT}",
    "f1": f"word overlap with a gold answer, {_AT}",
    "total": "questions",
    "HasAns_exact": "the same, of answerable questions",
    "HasAns_f1": "the same, of answerable questions",
    "HasAns_total": "answerable questions",
    "NoAns_exact": "unanswerable questions that were abstained from",
    "NoAns_f1": "the same as NoAns_exact, by definition",
    "NoAns_total": "unanswerable questions",
    "best_exact": "at the threshold that is best for these very questions, so optimistic",
    "best_exact_thresh": "that threshold",
    "best_f1": "at the threshold that is best for these very questions, so optimistic",
    "best_f1_thresh": "that threshold",
}
_ANSWER_WORDS = (1, 2, 3, 4, 6, 10)
_PASSAGE_WORDS = (1, 50, 100, 150, 200, 300)
_WINDOWS = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class Score:
    """One figure."""

    name: str
    value: float
    interval: Sequence[float] | None
    """95 % confidence interval over questions; None for counts and thresholds."""
    meaning: str


@dataclass(frozen=True, slots=True)
class Slice:
    """Questions that have something in common."""

    name: str
    f1: float
    """Mean in per cent, at the report's threshold."""
    interval: Sequence[float]
    """95 % confidence interval over questions."""
    count: int


def official_scores(
    questions: pd.DataFrame, metrics: Mapping[str, float], crossfit: Mapping[str, Any]
) -> list[Score]:
    """Explains the figures of `squad_report`, in its order.

    Args:
        questions: See `judged`.
        metrics: See `squad_report`.
        crossfit: See `cross_fitted_report`, which has the intervals of the best ones.
    """
    answerable = questions["answerable"].to_numpy()
    kinds = {"HasAns": answerable, "NoAns": ~answerable}
    scores = []
    for name, value in metrics.items():
        kind, _, measure = name.rpartition("_")
        interval = crossfit.get(f"{name}_interval") if kind == "best" else None
        if measure in {"exact", "f1"} and kind != "best":
            inside = kinds.get(kind, np.ones_like(answerable))
            interval = interval_of_mean(
                questions[f"scored_{measure}"].to_numpy()[inside],
                questions["passage_number"].to_numpy()[inside],
            )
        scores.append(Score(name, value, interval, _MEANINGS[name]))
    return scores


def cross_fitted_scores(crossfit: Mapping[str, Any]) -> list[Score]:
    """The scores that one may report; none if the data set cannot be halved."""
    return [
        Score(
            f"cross-fitted {name}",
            crossfit[name],
            crossfit[f"{name}_interval"],
            "at thresholds that were chosen on the other half of the passages, "
            + " and ".join(_threshold(t) for t in crossfit[f"{name}_thresholds"]),
        )
        for name in ("exact", "f1")
        if name in crossfit
    ]


def _threshold(threshold: float | None) -> str:
    return "abstain always" if threshold is None else f"{threshold:.3f}"


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
        interval = interval_of_mean(f1[inside], passages[inside])
        found.append(Slice(name, float(100 * f1[inside].mean()), interval, int(inside.sum())))
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

"""The scorer's 13 figures, each with its confidence interval."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from roberta_squad_pipeline.evaluation.config import NO_ANSWER_THRESHOLD
from roberta_squad_pipeline.evaluation.uncertainty import interval_of_mean


@dataclass(frozen=True, slots=True)
class Score:
    """One figure."""

    name: str
    value: float
    interval: tuple[float, float] | None
    """95 % confidence interval over questions; None for counts and thresholds."""
    meaning: str


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
        ends = (interval[0], interval[1]) if interval else None
        scores.append(Score(name, value, ends, _MEANINGS[name]))
    return scores


def cross_fitted_scores(crossfit: Mapping[str, Any]) -> list[Score]:
    """The scores that one may report; none if the data set cannot be halved."""
    return [
        Score(
            f"cross-fitted {name}",
            crossfit[name],
            tuple(crossfit[f"{name}_interval"]),
            "at thresholds that were chosen on the other half of the passages, "
            + " and ".join(_threshold(t) for t in crossfit[f"{name}_thresholds"]),
        )
        for name in ("exact", "f1")
        if name in crossfit
    ]


def _threshold(threshold: float | None) -> str:
    return "abstain always" if threshold is None else f"{threshold:.3f}"

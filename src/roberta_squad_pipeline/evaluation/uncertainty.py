"""How far a score can be trusted: cross-fitted thresholds and bootstrap intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roberta_squad_pipeline.common.arrays import Float64Array
from roberta_squad_pipeline.evaluation.no_answer import ScoresFittedOn
from roberta_squad_pipeline.evaluation.scoring import (
    QuestionScores,
    score_questions,
    scores_in_order,
)
from roberta_squad_pipeline.evaluation.thresholds import best_threshold
from roberta_squad_pipeline.squad.dataset import SquadDataset

_CONFIDENCE = 0.95
_RESAMPLES = 2000
_SEED = 0


def cross_fitted_report(
    dataset: SquadDataset,
    predictions: Mapping[str, str],
    no_answer_scores: Mapping[str, float],
    scores_fitted_on: ScoresFittedOn | None = None,
) -> dict[str, Any]:
    """Scores at thresholds that were chosen on other passages than they are applied to.

    The threshold is chosen on one half of the passages and applied to the other, both ways. One
    that is chosen on the questions it is scored on, as `best_exact` and `best_f1` are, is
    optimistic; these are not.

    Args:
        dataset: The gold answers.
        predictions: The predicted text by question id, for every question.
        no_answer_scores: High = unanswerable, by question id, for every question.
        scores_fitted_on: Where the no-answer scores were fitted themselves: they are fitted on the
            same half as the threshold.

    Returns:
        `total` questions, `first_half` of them in the first half; and, unless a half is empty, for
        `exact` and `f1` each: the cross-fitted score, its 95 % interval over questions, the
        thresholds applied to both halves (None abstains everywhere); and `best`, the optimistic
        score, with its interval. All scores are in per cent.
    """
    scores = score_questions(dataset.gold, predictions)
    odds = scores_in_order(scores.ids, no_answer_scores)
    first_half = in_first_half(dataset)
    report: dict[str, Any] = {"total": len(odds), "first_half": int(first_half.sum())}
    if first_half.all() or not first_half.any():
        return report
    for name, values in (("exact", scores.exact), ("f1", scores.f1)):
        fitted, thresholds = _cross_fit(
            scores, values, scores_fitted_on or (lambda _: odds), first_half
        )
        best = scores_at_best(scores, values, odds)
        report |= {
            name: float(100 * fitted.mean()),
            f"{name}_interval": bootstrap_interval(fitted),
            f"{name}_thresholds": [t if np.isfinite(t) else None for t in thresholds],
            f"best_{name}": float(100 * best.mean()),
            f"best_{name}_interval": bootstrap_interval(best),
        }
    return report


def scores_at_best(
    scores: QuestionScores, values: Float64Array, odds: Float64Array
) -> Float64Array:
    """What each question scores at the threshold that is best for all of them.

    Args:
        scores: The questions.
        values: `scores.exact` or `scores.f1`. Shape: (questions,)
        odds: No-answer scores, high = unanswerable. Shape: (questions,)

    Returns:
        0 to 1. Shape: (questions,)
    """
    everything = np.ones(len(values), np.bool_)
    return _at(_chosen_on(everything, scores, values, odds), scores, values, odds)


def bootstrap_interval(values: Float64Array) -> list[float]:
    """The percentile bootstrap's 95 % interval of a mean over questions.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Args:
        values: One per question, 0 to 1. Shape: (questions,)

    Returns:
        Lower and upper end, in per cent.
    """
    rng = np.random.default_rng(_SEED)
    means = [rng.choice(values, len(values)).mean() for _ in range(_RESAMPLES)]
    tail = 50 * (1 - _CONFIDENCE)
    return [float(end) for end in np.percentile(100 * np.array(means), [tail, 100 - tail])]


def in_first_half(dataset: SquadDataset) -> NDArray[np.bool_]:
    """Whether each question's passage is in the first half of a random split of the passages.

    Whole passages go to a half, since questions to one passage resemble each other.

    Returns:
        In the order of the data set. Shape: (questions,)
    """
    drawn = np.random.default_rng(_SEED).permutation(len(dataset.passages))
    is_first = drawn < len(dataset.passages) // 2
    return np.repeat(is_first, [len(passage.questions) for passage in dataset.passages])


def _cross_fit(
    scores: QuestionScores,
    values: Float64Array,
    scores_fitted_on: ScoresFittedOn,
    first_half: NDArray[np.bool_],
) -> tuple[Float64Array, list[float]]:
    applied, thresholds = [], []
    for half in (~first_half, first_half):
        odds = scores_fitted_on(half)
        thresholds.append(_chosen_on(half, scores, values, odds))
        applied.append(_at(thresholds[-1], scores, values, odds))
    return np.where(first_half, *applied), thresholds


def _chosen_on(
    half: NDArray[np.bool_], scores: QuestionScores, values: Float64Array, odds: Float64Array
) -> float:
    chosen = best_threshold(
        values[half],
        odds[half],
        answerable=scores.answerable[half],
        answered=scores.answered[half],
    )
    return chosen.threshold if chosen.answers else -np.inf


def _at(
    threshold: float, scores: QuestionScores, values: Float64Array, odds: Float64Array
) -> Float64Array:
    # Abstaining is right exactly where there is no answer.
    return np.where(odds > threshold, ~scores.answerable, values).astype(np.float64)

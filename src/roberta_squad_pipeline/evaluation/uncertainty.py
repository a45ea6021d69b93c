"""How far a score can be trusted: cross-fitted thresholds and bootstrap intervals."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roberta_squad_pipeline.common.arrays import Float64Array, IntArray
from roberta_squad_pipeline.evaluation.no_answer import ScoresFittedOn
from roberta_squad_pipeline.evaluation.scoring import QuestionScores

_CONFIDENCE = 0.95
_RESAMPLES = 2000
_SEED = 0


def cross_fitted_report(
    scores: QuestionScores,
    odds: Float64Array,
    first_half: NDArray[np.bool_],
    scores_fitted_on: ScoresFittedOn | None = None,
) -> dict[str, Any]:
    """Scores at thresholds that were chosen on other passages than they are applied to.

    The threshold is chosen on one half of the passages and applied to the other, both ways. One
    that is chosen on the questions it is scored on, as `best_exact` and `best_f1` are, is
    optimistic; these are not.

    Args:
        scores: Of every question.
        odds: No-answer scores, high = unanswerable. Shape: (questions,)
        first_half: See `in_first_half`. Shape: (questions,)
        scores_fitted_on: Where the no-answer scores were fitted themselves: they are fitted on the
            same half as the threshold.

    Returns:
        `total` questions, `first_half` of them in the first half; and, unless a half is empty, for
        `exact` and `f1` each: the cross-fitted score, its 95 % interval over questions, the
        thresholds applied to both halves (None abstains everywhere); and `best`, the optimistic
        score, with its interval. All scores are in per cent.
    """
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
    return scores.at(threshold_of(scores, values, odds), values, odds)


def threshold_of(scores: QuestionScores, values: Float64Array, odds: Float64Array) -> float:
    """The best threshold; below all scores where it is best to abstain everywhere.

    Args:
        scores: The questions.
        values: `scores.exact` or `scores.f1`. Shape: (questions,)
        odds: No-answer scores, high = unanswerable. Shape: (questions,)
    """
    best = scores.best_threshold(values, odds)
    return best.threshold if best.answers else -np.inf


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


def in_first_half(passages: IntArray) -> NDArray[np.bool_]:
    """Whether each question's passage is in the first half of a random split of the passages.

    Whole passages go to a half, since questions to one passage resemble each other.

    Args:
        passages: Number of each question's passage. Shape: (questions,)

    Returns:
        Shape: (questions,)
    """
    numbers, place = np.unique(passages, return_inverse=True)
    drawn = np.random.default_rng(_SEED).permutation(len(numbers))
    return np.asarray(drawn[place] < len(numbers) // 2)


def _cross_fit(
    scores: QuestionScores,
    values: Float64Array,
    scores_fitted_on: ScoresFittedOn,
    first_half: NDArray[np.bool_],
) -> tuple[Float64Array, list[float]]:
    applied, thresholds = [], []
    for half in (~first_half, first_half):
        odds = scores_fitted_on(half)
        thresholds.append(threshold_of(scores.of(half), values[half], odds[half]))
        applied.append(scores.at(thresholds[-1], values, odds))
    return np.where(first_half, *applied), thresholds

"""How reliable a score is: cross-fitted thresholds and confidence intervals."""

import math
from typing import Any

import numpy as np
from scipy.special import stdtrit

from roberta_squad_pipeline.common.arrays import BoolArray, Float64Array, IntArray
from roberta_squad_pipeline.evaluation.no_answer import ScoresFittedOn
from roberta_squad_pipeline.evaluation.scoring import QuestionScores

_QUANTILE = 1.959964
"""Of the normal distribution, for 95 % between it and its negative."""
_ALIKE, _ALIKE_FREEDOM = 0.05, 16
"""Correlation of the scores of one passage's questions that is expected before any is seen, and the
degrees of freedom of this guess. 41 readers of real passages show -0.11 to 0.08
(benchmarks/results/coverage_cpu_2026-11-27.md)."""
_SEED = 0


def cross_fitted_report(
    scores: QuestionScores,
    odds: Float64Array,
    passages: IntArray,
    scores_fitted_on: ScoresFittedOn | None = None,
) -> dict[str, Any]:
    """Computes scores at thresholds that were chosen on other passages than they are applied to.

    The threshold is chosen on one half of the passages and applied to the other, both ways. Scores
    at a threshold that was chosen on the same questions, as `best_exact` and `best_f1` are, are
    optimistic; these are not.

    Args:
        scores: The scores of every question.
        odds: No-answer scores, high = unanswerable. Shape: (questions,)
        passages: Number of each question's passage. Shape: (questions,)
        scores_fitted_on: Given if the no-answer scores themselves were fitted: they are then fitted
            on the same half as the threshold.

    Returns:
        `total` questions, `first_half` of them in the first half; and, unless a half is empty, for
        `exact` and `f1` each: the cross-fitted score, its 95 % interval over questions, the
        thresholds applied to both halves (None abstains everywhere); and `best`, the optimistic
        score, with its interval. All scores are in per cent.
    """
    first_half = in_first_half(passages)
    report: dict[str, Any] = {"total": len(odds), "first_half": int(first_half.sum())}
    if first_half.all() or not first_half.any():
        return report
    for name, values in (("exact", scores.exact), ("f1", scores.f1)):
        fitted, thresholds = _cross_fit(
            scores, values, scores_fitted_on or (lambda _: odds), first_half
        )
        best = scores.at(scores.best_threshold(values, odds).threshold, values, odds)
        report |= {
            name: float(100 * fitted.mean()),
            f"{name}_interval": interval_of_mean(fitted, passages),
            f"{name}_thresholds": [t if np.isfinite(t) else None for t in thresholds],
            f"best_{name}": float(100 * best.mean()),
            f"best_{name}_interval": interval_of_mean(best, passages),
        }
    return report


def interval_of_mean(values: Float64Array, passages: IntArray) -> list[float]:
    """Computes a 95 % confidence interval for a mean over any number of questions.

    This is Wilson's interval with an effective sample size: the number of independent questions,
    each right or wrong, whose mean would vary as much as that of these questions, which may be
    partly right and depend on each other within a passage. Few passages say little of how much, so
    the variance is moderated by what is expected beforehand. The interval stays within 0 to 100;
    with five right out of five it still reaches below 100.

    Sources: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927);
    with an effective sample size: Franco et al., "Comparative Study of Confidence Intervals for
    Proportions in Complex Sample Surveys" (2019); the moderated variance and its degrees of
    freedom: Smyth, "Linear Models and Empirical Bayes Methods for Assessing Differential Expression
    in Microarray Experiments" (2004); the variance of alike questions: Kish, Survey Sampling
    (1965), section 5.4.

    Args:
        values: One value per question, 0 to 1. Shape: (questions,)
        passages: Number of each question's passage. Shape: (questions,)

    Returns:
        Lower and upper end, in per cent.
    """
    questions, mean = len(values), float(values.mean())
    _, place, sizes = np.unique(passages, return_inverse=True, return_counts=True)
    off = values - mean
    # A few values may be equal by chance, so one of the greatest possible variance is added.
    variance = (float(off @ off) + mean * (1 - mean)) / (questions + 1) / questions
    quantile, fewer = _QUANTILE, 1.0
    if len(sizes) < questions:
        freedom = _ALIKE_FREEDOM + len(sizes) - 1
        quantile = float(stdtrit(freedom, 0.975))
        fewer = 1 + _ALIKE * (float(sizes @ sizes) / questions - 1)
        of_passages = np.bincount(place, off)
        seen = len(sizes) * float(of_passages @ of_passages) / questions**2
        variance = max(variance, (_ALIKE_FREEDOM * fewer * variance + seen) / freedom)
    effective = mean * (1 - mean) / variance if variance > 0 else questions / fewer
    added = quantile**2 / effective
    centre = (mean + added / 2) / (1 + added)
    half = math.sqrt(added * (mean * (1 - mean) + added / 4)) / (1 + added)
    return [float(100 * max(centre - half, 0.0)), float(100 * min(centre + half, 1.0))]


def in_first_half(passages: IntArray) -> BoolArray:
    """Says whether each question's passage is in the first half of a random split of the passages.

    The split keeps passages whole, since questions on one passage resemble each other.

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
    first_half: BoolArray,
) -> tuple[Float64Array, list[float]]:
    applied, thresholds = [], []
    for half in (~first_half, first_half):
        odds = scores_fitted_on(half)
        thresholds.append(scores.of(half).best_threshold(values[half], odds[half]).threshold)
        applied.append(scores.at(thresholds[-1], values, odds))
    return np.where(first_half, *applied), thresholds

"""A reader's scores at every threshold on the no-answer score."""

from dataclasses import dataclass

import numpy as np

from roberta_squad_pipeline.common.arrays import BoolArray, Float64Array, IndexArray

_NEARLY_ALL = 0.98
_HARDLY_ANY = 0.05


@dataclass(frozen=True, slots=True)
class ThresholdCurve:
    """Mean scores over the threshold, from abstaining everywhere to answering everything."""

    thresholds: Float64Array
    """Rising; between two of them nothing changes. The first is below all no-answer scores. Shape:
    (thresholds,)"""
    scores: Float64Array
    """In per cent. Shape: (thresholds,)"""


def threshold_curve(
    values: Float64Array, no_answer_scores: Float64Array, answerable: BoolArray
) -> ThresholdCurve:
    """Computes the mean score at every threshold that makes a difference.

    Args:
        values: The score of each question's predicted answer, 0 to 1. Shape: (questions,)
        no_answer_scores: High = unanswerable; finite. Shape: (questions,)
        answerable: Whether the question has a gold answer. Shape: (questions,)

    Raises:
        ValueError: There are no questions.
    """
    order, last = _by_threshold(no_answer_scores)
    # A question that is answered no longer counts as abstained from.
    gains = np.cumsum((values - ~answerable)[order])[last]
    totals = np.count_nonzero(~answerable) + np.concatenate([[0.0], gains])
    thresholds = no_answer_scores[order][last]
    return ThresholdCurve(
        np.concatenate([[np.nextafter(thresholds[0], -np.inf)], thresholds]),
        100 * totals / len(values),
    )


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """Precision over recall as the threshold rises."""

    recall: Float64Array
    """From 0 upwards, at most 1. Shape: (thresholds + 1,)"""
    precision: Float64Array
    """0 to 1. Shape: (thresholds + 1,)"""
    average_precision: float
    """Area under the step curve, 0 to 1."""


def precision_recall(
    values: Float64Array, no_answer_scores: Float64Array, answerable: BoolArray
) -> PrecisionRecall:
    """Computes the precision-recall curve of the official SQuAD 2.0 scorer.

    At a threshold, precision is the mean score of the questions that are answered, where an
    unanswerable one scores 0; recall is the sum of the same scores divided by the number of
    answerable questions. With a score of 1 for every answerable question, the curve shows how well
    the no-answer score separates the two kinds (the official "oracle").

    Args:
        values: The score of each question's predicted answer, 0 to 1. Shape: (questions,)
        no_answer_scores: High = unanswerable; finite. Shape: (questions,)
        answerable: Whether each question has a gold answer; at least one has. Shape: (questions,)

    Raises:
        ValueError: There are no questions.
    """
    order, last = _by_threshold(no_answer_scores)
    found = np.cumsum(np.where(answerable, values, 0.0)[order])[last]
    precision = np.concatenate([[1.0], found / (last + 1)])
    recall = np.concatenate([[0.0], found / np.count_nonzero(answerable)])
    average = float(np.sum(precision[1:] * np.diff(recall)))
    return PrecisionRecall(recall, precision, average)


def no_answer_auc(no_answer_scores: Float64Array, answerable: BoolArray) -> float | None:
    """Computes the area under the ROC curve of the no-answer score.

    It is the share of pairs of an unanswerable and an answerable question in which the former has
    the higher score; equal scores count half (Hanley & McNeil, 1982).

    Args:
        no_answer_scores: High = unanswerable; finite. Shape: (questions,)
        answerable: Whether the question has a gold answer. Shape: (questions,)

    Returns:
        0 to 1, 0.5 for scores without information; None if there is only one kind of question.
    """
    positives = np.count_nonzero(~answerable)
    negatives = len(answerable) - positives
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(no_answer_scores, return_inverse=True, return_counts=True)
    # Equal scores share the mean of their ranks.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    pairs_won = ranks[~answerable].sum() - positives * (positives + 1) / 2
    return float(pairs_won / (positives * negatives))


def abstains_too_much(abstained: float, answerable: float) -> bool:
    """Whether a reader is useless because it answers next to nothing.

    This is so if it abstains on 98 % or more of the questions although more than 5 % have an
    answer.

    Args:
        abstained: Share of the questions that it abstains on at its threshold, 0 to 1.
        answerable: Share of the questions that have an answer, 0 to 1.
    """
    return abstained >= _NEARLY_ALL and answerable > _HARDLY_ANY


def _by_threshold(no_answer_scores: Float64Array) -> tuple[IndexArray, IndexArray]:
    """Questions by rising score, and the places after which a threshold can separate them."""
    if not len(no_answer_scores):
        raise ValueError("got no questions; expected at least one to draw a curve of")
    order = np.argsort(no_answer_scores, kind="stable")
    ordered = no_answer_scores[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    return order, last

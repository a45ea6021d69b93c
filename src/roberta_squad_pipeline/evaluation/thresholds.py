"""The threshold on the no-answer score that would have scored best on a data set."""

from dataclasses import dataclass

import numpy as np

from roberta_squad_pipeline.common.arrays import BoolArray, Float64Array

_NEARLY_ALL = 0.98
_HARDLY_ANY = 0.05


@dataclass(frozen=True, slots=True)
class BestThreshold:
    """The outcome of a threshold search.

    Args:
        score: The best mean score, in per cent.
        threshold: Questions with a no-answer score above it are taken as unanswerable.
        answers: How many questions are answered; 0 means to abstain everywhere, which the official
            threshold, 0 in this case, does not show.
    """

    score: float
    threshold: float
    answers: int


def best_threshold(
    scores: Float64Array,
    no_answer_scores: Float64Array,
    *,
    answerable: BoolArray,
    answered: BoolArray,
) -> BestThreshold:
    """Searches for the threshold as the official SQuAD 2.0 scorer does.

    It starts from abstaining everywhere, at threshold 0, and moves the threshold up through the
    no-answer scores, one question at a time. That question then counts with its answer: an
    answerable one gains its score, an unanswerable one loses its point if it was answered. The
    first of several equal maxima wins. Among questions with equal no-answer scores the given order
    decides, and a maximum may lie between them although no threshold can separate them; the
    official figures include such maxima, so these do, too.

    Args:
        scores: The score of each question's predicted answer, 0 to 1. Shape: (questions,)
        no_answer_scores: High = unanswerable; finite. Shape: (questions,)
        answerable: Whether the question has a gold answer. Shape: (questions,)
        answered: Whether the predicted text is not empty. Shape: (questions,)

    Returns:
        The best mean score and the threshold that reaches it.

    Raises:
        ValueError: There are no questions.
    """
    if not len(scores):
        raise ValueError("got no questions; expected at least one to search a threshold on")
    order = np.argsort(no_answer_scores, kind="stable")
    gains = np.where(answerable, scores, -answered.astype(np.float64))[order]
    abstaining = np.count_nonzero(~answerable)
    # A running sum from the left, like the official one, so that equal totals stay equal in
    # floating point and the first of them is found.
    totals = np.cumsum(np.concatenate(([abstaining], gains)))
    best = int(np.argmax(totals))
    threshold = 0.0 if best == 0 else float(no_answer_scores[order[best - 1]])
    return BestThreshold(float(100.0 * totals[best] / len(scores)), threshold, answers=best)


def abstains_too_much(abstained: float, answerable: float) -> bool:
    """Whether a reader is useless because it answers next to nothing.

    This is so if it abstains on 98 % or more of the questions although more than 5 % have an
    answer.

    Args:
        abstained: Share of the questions that it abstains on at its threshold, 0 to 1.
        answerable: Share of the questions that have an answer, 0 to 1.
    """
    return abstained >= _NEARLY_ALL and answerable > _HARDLY_ANY

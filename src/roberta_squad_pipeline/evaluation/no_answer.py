"""One no-answer score per question, made of a reader's two logits.

The answerability head gives one logit. The span head gives another: how much higher its start and
end logits are at ``<s>`` than at the best span. Both are high if there seems to be no answer.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from roberta_squad_pipeline.common.arrays import BoolArray, Float64Array
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.evaluation.config import NullScore
from roberta_squad_pipeline.evaluation.logistic import fit_logistic

ScoresFittedOn = Callable[[BoolArray], Float64Array]
"""Takes a mask of questions to fit weights on, and returns the no-answer scores of all questions.
Shapes: (questions,)"""


class NoAnswerWeights(StrictModel):
    """The weights of the two logits in the no-answer score, itself a logit."""

    head: float
    span: float
    intercept: float

    def scores(self, head: ArrayLike, span: ArrayLike) -> Float64Array:
        """Computes no-answer scores.

        Args:
            head: The answerability head's logits. Shape: (questions,)
            span: The span head's logits. Shape: (questions,)

        Returns:
            High means unanswerable. Shape: (questions,)
        """
        # No product with 0, since a window of few tokens may have an infinite logit.
        combined = self.head * np.asarray(head, np.float64) + self.intercept
        return combined + self.span * np.asarray(span, np.float64) if self.span else combined


HEAD_ALONE = NoAnswerWeights(head=1.0, span=0.0, intercept=0.0)
"""Also where nothing was fitted: trained with `no_answer_span_weight` 0, the span head's logit is
far below 0 with and without an answer."""


@dataclass(frozen=True, slots=True)
class NoAnswerLogits:
    """The two logits of every question, in the data set's order."""

    head: Float64Array
    """Shape: (questions,)"""
    span: Float64Array
    """Shape: (questions,)"""
    unanswerable: BoolArray
    """Whether there is in fact no answer. Shape: (questions,)"""
    rule: NullScore

    def weights_fitted_on(self, questions: BoolArray) -> NoAnswerWeights:
        """Fits weights with which the score is the log-odds that there is no answer.

        Only the rule `combined` is fitted; with the others the head's own logit is the score.

        Args:
            questions: Mask of the questions to fit on. Shape: (questions,)
        """
        unanswerable = self.unanswerable[questions]
        if self.rule != "combined" or unanswerable.all() or not unanswerable.any():
            return HEAD_ALONE
        inputs = np.column_stack([self.head, self.span])[questions]
        (head, span), intercept = fit_logistic(inputs, unanswerable)
        return NoAnswerWeights(head=head, span=span, intercept=intercept)

    def scores_fitted_on(self, questions: BoolArray) -> Float64Array:
        """No-answer scores of all questions: see `ScoresFittedOn`. Shape: (questions,)."""
        return self.weights_fitted_on(questions).scores(self.head, self.span)

"""From scores to probabilities: Platt scaling, and how reliable the probabilities are.

Sources: Platt, "Probabilistic Outputs for Support Vector Machines" (1999), for the sigmoid;
Niculescu-Mizil & Caruana, "Predicting Good Probabilities with Supervised Learning" (2005),
for reliability bins; Guo et al., "On Calibration of Modern Neural Networks" (2017), for the
expected calibration error.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from roberta_squad_pipeline.common.arrays import BoolArray, Float64Array
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.evaluation.logistic import fit_logistic, sigmoid
from roberta_squad_pipeline.evaluation.no_answer import NoAnswerWeights, ScoresFittedOn
from roberta_squad_pipeline.evaluation.scoring import QuestionScores

_BINS = 10
_FEWEST = 100
"""The fewest questions that two sigmoids and a threshold are fitted on: with fewer, a handful of
them would decide the threshold."""


class PlattScale(StrictModel):
    """Turns a score into a probability: 1 / (1 + exp(-(slope · score + intercept)))."""

    slope: float
    intercept: float

    def probability(self, scores: ArrayLike) -> Float64Array:
        """The probability for each score, 0 to 1. Shape: that of `scores`."""
        return sigmoid(self.slope * np.asarray(scores, np.float64) + self.intercept)


class ReliabilityBin(StrictModel):
    """Questions with about the same predicted probability."""

    confidence: float
    """Mean predicted probability, 0 to 1."""
    share_right: float
    """Share of the questions for which the prediction came true, 0 to 1."""
    count: int


class Reliability(StrictModel):
    """How reliable predicted probabilities are."""

    bins: tuple[ReliabilityBin, ...]
    """Ten bins of equal width from 0 to 1, without empty ones."""
    expected_calibration_error: float
    """Mean distance between confidence and share, weighted by count, 0 to 1."""


class Calibration(StrictModel):
    """A reader's threshold and probabilities, as fitted on a data set."""

    threshold: float | None
    """No-answer score above which the reader abstains, chosen for the best F1; None if it always
    abstains."""
    always_answers: bool = False
    """Whether the reader ignores the threshold: each question of the data has an answer, as in
    SQuAD 1.1."""
    uncalibrated: str | None = None
    """Why threshold and probabilities were not fitted; None if they were."""
    no_answer: PlattScale
    """From the no-answer score to the probability that the passage has no answer."""
    answer: PlattScale
    """From the margin of the best span to the probability that it is an exact match, if the passage
    has an answer."""
    no_answer_reliability: Reliability | None
    """Reliability of the probability that there is no answer; None if it cannot be cross-fitted."""
    answer_reliability: Reliability | None
    """Reliability of the probability that the best span is right, over all questions."""

    @property
    def abstains_above(self) -> float:
        """The threshold as a number, infinite if the reader always answers or always abstains.

        It is not saved like this, since JSON has no infinite numbers.
        """
        if self.always_answers:
            return np.inf
        return -np.inf if self.threshold is None else self.threshold

    def probabilities(
        self, no_answer_scores: ArrayLike, margins: ArrayLike
    ) -> tuple[Float64Array, Float64Array]:
        """Computes the probabilities for some questions.

        Args:
            no_answer_scores: High = unanswerable. Shape: (questions,)
            margins: See `span_margin`. Shape: (questions,)

        Returns:
            The probability that the passage has no answer, and the probability that it has one and
            the best span is right. The rest to 1 is the probability that another span is right.
            Shapes: (questions,)
        """
        no_answer = self.no_answer.probability(no_answer_scores)
        return no_answer, (1 - no_answer) * self.answer.probability(margins)


class Tuning(StrictModel):
    """Turns a reader's logits into scores and probabilities."""

    no_answer_weights: NoAnswerWeights
    """The weights of the reader's two logits in its no-answer score."""
    calibration: Calibration


UNCALIBRATED = Calibration(
    threshold=0.0,
    no_answer=PlattScale(slope=1.0, intercept=0.0),
    answer=PlattScale(slope=1.0, intercept=0.0),
    no_answer_reliability=None,
    answer_reliability=None,
    uncalibrated="the reader was never evaluated",
)
"""For a reader that was never evaluated: its logits as they are, and the recipe's threshold, 0, at
which the logit of such a reader is undecided."""


def span_margin(span_scores: Sequence[float]) -> float:
    """Computes the log-odds of the best span against the others that were kept.

    Args:
        span_scores: Start logit plus end logit of a question's best spans, best first.

    Returns:
        best - log Σ exp(others); 0 if there are no others.
    """
    best, others = span_scores[0], np.asarray(span_scores[1:], np.float64)
    return float(best - np.logaddexp.reduce(others)) if len(others) else 0.0


def span_probabilities(
    span_scores: Sequence[float], margin: float, *, right: float, otherwise: float
) -> list[float]:
    """Computes for each of a question's best spans the probability that it is right.

    The best span has its calibrated probability; the probability of all other spans is divided
    among them in proportion to exp(score).

    Args:
        span_scores: Scores of the spans, best first; there may be lower ones that are not given.
        margin: See `span_margin`; of all spans, those not given included.
        right: The probability that the best span is right.
        otherwise: The probability that another one is.
    """
    scores = np.asarray(span_scores, np.float64)
    others = otherwise * np.exp(scores[1:] - (scores[0] - margin))
    return [right, *others.tolist()]


def fit_platt(scores: ArrayLike, positive: BoolArray) -> PlattScale:
    """Fits the sigmoid with the greatest likelihood.

    It stays finite if a score separates the two kinds, or if there is only one kind; without any
    examples its probability is one half.

    Args:
        scores: Finite. Shape: (examples,)
        positive: The labels. Shape: (examples,)
    """
    inputs = np.asarray(scores, np.float64)[:, None]
    (slope,), intercept = fit_logistic(inputs, positive)
    return PlattScale(slope=slope, intercept=intercept)


def reliability(probabilities: Float64Array, happened: BoolArray) -> Reliability:
    """Compares probabilities with outcomes.

    Args:
        probabilities: 0 to 1. Shape: (questions,)
        happened: Whether each prediction came true. Shape: (questions,)
    """
    place = np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
    bins = []
    for number in np.unique(place):
        inside = place == number
        confidence, right = float(probabilities[inside].mean()), float(happened[inside].mean())
        count = int(inside.sum())
        bins.append(ReliabilityBin(confidence=confidence, share_right=right, count=count))
    distance = sum(one.count * abs(one.confidence - one.share_right) for one in bins)
    return Reliability(bins=tuple(bins), expected_calibration_error=distance / len(happened))


def calibrate(
    scores: QuestionScores,
    odds: Float64Array,
    margins: Float64Array,
    first_half: BoolArray,
    scores_fitted_on: ScoresFittedOn | None = None,
) -> Calibration:
    """Fits both probabilities and the threshold on a data set's predictions.

    The reliability is measured with probabilities that were fitted on one half of the passages and
    applied to the other, both ways. If the data are unfit for calibration, the scores stay as they
    are, and `uncalibrated` says why.

    Args:
        scores: The scores of every question.
        odds: No-answer scores, high = unanswerable. Shape: (questions,)
        margins: See `span_margin`. Shape: (questions,)
        first_half: See `in_first_half`. Shape: (questions,)
        scores_fitted_on: Given if the no-answer scores themselves were fitted on these questions.
    """
    everything = np.ones(len(odds), np.bool_)
    fitted = _fit(everything, scores, odds, margins)
    unfit = unfit_to_calibrate(scores.answerable) or _upside_down(fitted)
    if unfit is not None:
        always = bool(scores.answerable.all())
        raw = UNCALIBRATED.model_copy(update={"uncalibrated": unfit, "always_answers": always})
        return held_against(raw, scores, odds, margins)
    best = scores.best_threshold(scores.f1, odds).threshold
    fitted = fitted.model_copy(update={"threshold": best if np.isfinite(best) else None})
    if first_half.all() or not first_half.any():
        return fitted
    odds_of = scores_fitted_on or (lambda _: odds)
    halves = [
        _fit(half, scores, odds_of(half), margins).probabilities(odds_of(half), margins)
        for half in (~first_half, first_half)
    ]
    no_answer, answer = (np.where(first_half, *both) for both in zip(*halves, strict=True))
    return _with_reliability(fitted, scores, no_answer, answer)


def held_against(
    calibration: Calibration, scores: QuestionScores, odds: Float64Array, margins: Float64Array
) -> Calibration:
    """Adds the reliability of a calibration on questions that it was not fitted on.

    Args:
        calibration: Fitted on other questions, or not at all.
        scores: The scores of every question.
        odds: No-answer scores, high = unanswerable. Shape: (questions,)
        margins: See `span_margin`. Shape: (questions,)
    """
    return _with_reliability(calibration, scores, *calibration.probabilities(odds, margins))


def _with_reliability(
    calibration: Calibration, scores: QuestionScores, no_answer: Float64Array, answer: Float64Array
) -> Calibration:
    return calibration.model_copy(
        update={
            "no_answer_reliability": reliability(no_answer, ~scores.answerable),
            "answer_reliability": reliability(answer, _right(scores)),
        }
    )


def unfit_to_calibrate(answerable: BoolArray) -> str | None:
    """Says why no calibration can be fitted on some questions; None if it can.

    Args:
        answerable: Whether each question has an answer. Shape: (questions,)
    """
    if answerable.all():
        return "every question has an answer"
    if not answerable.any():
        return "no question has an answer"
    if len(answerable) < _FEWEST:
        return f"{len(answerable)} questions are fewer than {_FEWEST}"
    return None


def _upside_down(fitted: Calibration) -> str | None:
    if fitted.no_answer.slope < 0:
        return "questions with higher no-answer scores have an answer more often"
    if fitted.answer.slope < 0:
        return "spans that the reader is surer of are right less often"
    return None


def _right(scores: QuestionScores) -> BoolArray:
    return scores.answerable & scores.exact.astype(np.bool_)


def _fit(
    half: BoolArray, scores: QuestionScores, odds: Float64Array, margins: Float64Array
) -> Calibration:
    asked = half & scores.answerable
    return UNCALIBRATED.model_copy(
        update={
            "no_answer": fit_platt(odds[half], ~scores.answerable[half]),
            "answer": fit_platt(margins[asked], _right(scores)[asked]),
            "uncalibrated": None,
        }
    )

"""One no-answer score of two logits.

Oracle: what the logits were drawn with, and the rules in words.
"""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from roberta_squad_pipeline.evaluation.no_answer import HEAD_ALONE, NoAnswerLogits, NullScore

QUESTIONS = 4000
ALL = np.ones(QUESTIONS, np.bool_)


def drawn(rule: NullScore, seed: int = 0) -> NoAnswerLogits:
    """Two logits that know of the answer independently, the head less well than the span."""
    rng = np.random.default_rng(seed)
    unanswerable = rng.random(QUESTIONS) < 0.5
    sign = np.where(unanswerable, 1.0, -1.0)
    head, span = (weight * sign + rng.normal(size=QUESTIONS) for weight in (0.25, 0.75))
    return NoAnswerLogits(head, 4 * span, unanswerable, rule)


def test_the_head_alone_is_not_touched() -> None:
    for rule in ("best_span", "min_window"):
        logits = drawn(rule)
        assert logits.weights_fitted_on(ALL) == HEAD_ALONE
        np.testing.assert_array_equal(logits.scores_fitted_on(ALL), logits.head)


def test_an_infinite_span_logit_does_not_reach_the_head_s_score() -> None:
    assert HEAD_ALONE.scores([1.5], [-np.inf]).tolist() == [1.5]


def test_combined_scores_tell_more_than_either_logit() -> None:
    """Normal densities of the same spread: the log-odds are 2 · 0.25 · head + 2 · 0.75 · span."""
    logits = drawn("combined")
    weights = logits.weights_fitted_on(ALL)
    assert weights.head == pytest.approx(0.5, abs=0.15)
    assert weights.span == pytest.approx(1.5 / 4, abs=0.05)
    assert weights.intercept == pytest.approx(0, abs=0.15)
    auc = {
        name: roc_auc_score(logits.unanswerable, scores)
        for name, scores in (
            ("head", logits.head),
            ("span", logits.span),
            ("combined", logits.scores_fitted_on(ALL)),
        )
    }
    assert auc["combined"] > auc["span"] > auc["head"]


def test_weights_come_from_the_questions_of_the_mask_alone() -> None:
    """Of the other half every label is turned over, which must not be noticed."""
    logits, first = drawn("combined"), np.arange(QUESTIONS) < QUESTIONS // 2
    other = np.where(first, logits.unanswerable, ~logits.unanswerable)
    turned = NoAnswerLogits(logits.head, logits.span, other, "combined")
    assert turned.weights_fitted_on(first) == logits.weights_fitted_on(first)
    assert turned.weights_fitted_on(~first) != logits.weights_fitted_on(~first)


def test_one_kind_of_question_fits_nothing() -> None:
    """The span head's logit stays out: what it is around depends on how the reader was trained."""
    logits = drawn("combined")
    only = logits.unanswerable
    assert logits.weights_fitted_on(only) == HEAD_ALONE

"""From scores to probabilities.

Oracles: the published definition minimised by scipy; probabilities that the data was drawn with;
closed forms where there is one.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from roberta_squad_pipeline.evaluation.calibration import (
    UNCALIBRATED,
    PlattScale,
    calibrate,
    fit_platt,
    reliability,
    span_margin,
)
from roberta_squad_pipeline.evaluation.scoring import QuestionScores, report_of

examples = st.lists(st.tuples(st.integers(-60, 60), st.booleans()), max_size=30)


def smoothed_cross_entropy(
    weights: tuple[float, float], scores: np.ndarray, positive: np.ndarray
) -> float:
    """Platt (1999), equations 1 and 2, word for word."""
    yes, no = positive.sum(), (~positive).sum()
    total = 0.0
    for score, kind in zip(scores, positive, strict=True):
        target = (yes + 1) / (yes + 2) if kind else 1 / (no + 2)
        p = 1 / (1 + np.exp(-(weights[0] * score + weights[1])))
        p = min(max(p, 1e-300), 1 - 1e-16)
        total -= target * np.log(p) + (1 - target) * np.log(1 - p)
    return float(total)


@settings(max_examples=30)
@given(examples)
def test_no_other_sigmoid_is_better(rows: list[tuple[int, bool]]) -> None:
    """Separable data, one kind alone, equal scores and no example at all among them."""
    scores = np.array([score / 4 for score, _ in rows])
    positive = np.array([kind for _, kind in rows], np.bool_)
    fitted = fit_platt(scores, positive)
    assert np.isfinite([fitted.slope, fitted.intercept]).all()
    loss = smoothed_cross_entropy((fitted.slope, fitted.intercept), scores, positive)
    best = minimize(smoothed_cross_entropy, (0.0, 0.0), (scores, positive), method="Nelder-Mead")
    assert loss <= best.fun + 1e-6 * max(1, len(rows))


def test_probabilities_that_the_data_was_drawn_with_are_found() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(3, 5, 40_000)
    truth = PlattScale(slope=0.7, intercept=-1.5)
    happened = rng.random(len(scores)) < truth.probability(scores)
    fitted = fit_platt(scores, happened)
    assert fitted.slope == pytest.approx(0.7, abs=0.03)
    assert fitted.intercept == pytest.approx(-1.5, abs=0.08)
    # 10 bins of 4,000 questions: a share is known to about 0.008.
    assert reliability(fitted.probability(scores), happened).expected_calibration_error < 0.01


@pytest.mark.parametrize("kind", [True, False])
def test_one_kind_alone(kind: bool) -> None:
    """Oracle: Platt's target itself, (n + 1) / (n + 2), whatever the score."""
    fitted = fit_platt([1.0, 2.0, 5.0], np.full(3, kind))
    expected = 4 / 5 if kind else 1 / 5
    assert fitted.probability([-100.0, 100.0]) == pytest.approx([expected, expected])


def test_extreme_scores() -> None:
    """Oracle: order; a probability is never less for a higher score, and stays in 0 to 1."""
    scores = np.array([-1e30, -1e3, 0.0, 1e3, 1e30])
    fitted = fit_platt(scores, np.array([False, False, True, True, True]))
    p = fitted.probability(scores)
    assert (np.diff(p) >= 0).all()
    assert ((p >= 0) & (p <= 1)).all()
    assert PlattScale(slope=1, intercept=0).probability([-1e6, 0, 1e6]).tolist() == [0, 0.5, 1]


def test_margin_is_the_log_odds_of_the_softmax() -> None:
    scores = [4.0, 3.0, 1.0]
    p = np.exp(4) / np.exp(scores).sum()
    assert span_margin(scores) == pytest.approx(np.log(p / (1 - p)))
    assert span_margin([4.0]) == 0
    assert span_margin([1e4, -1e4]) == 2e4


def test_reliability_by_hand() -> None:
    found = reliability(
        np.array([0.0, 0.04, 0.26, 0.95, 1.0]), np.array([False, True, False, True, True])
    )
    assert [(b.count, b.share_right) for b in found.bins] == [(2, 0.5), (1, 0), (2, 1)]
    assert [b.confidence for b in found.bins] == pytest.approx([0.02, 0.26, 0.975])
    assert found.expected_calibration_error == pytest.approx((2 * 0.48 + 0.26 + 2 * 0.025) / 5)


def asked(answerable: np.ndarray, right: np.ndarray) -> QuestionScores:
    """Questions whose predicted span is a gold answer or shares no word with one."""
    scored = (answerable & right).astype(np.float64)
    return QuestionScores(
        tuple(map(str, range(len(right)))),
        exact=scored,
        f1=scored,
        answerable=answerable,
        answered=np.ones(len(right), np.bool_),
    )


def drawn(passages: int) -> tuple[QuestionScores, np.ndarray, np.ndarray, np.ndarray]:
    """Ten questions per passage; scores and margins say truly how likely what they stand for is.

    Returns:
        The questions, their no-answer scores, their margins, and who is in the first half.
    """
    rng = np.random.default_rng(1)
    count = 10 * passages
    odds, margins = rng.normal(0, 2, (2, count))
    answerable = rng.random(count) > 1 / (1 + np.exp(-2 * odds))
    right = rng.random(count) < 1 / (1 + np.exp(-(margins + 1)))
    return asked(answerable, right), odds, margins, np.arange(count) < count // 2


def test_both_probabilities_hold_on_other_passages() -> None:
    """Oracle: the sigmoids that the data was drawn with, and the official report's threshold."""
    scores, odds, margins, first = drawn(1000)
    found = calibrate(scores, odds, margins, first)
    assert found.no_answer.slope == pytest.approx(2, abs=0.15)
    assert found.no_answer.intercept == pytest.approx(0, abs=0.1)
    assert found.answer.slope == pytest.approx(1, abs=0.1)
    assert found.answer.intercept == pytest.approx(1, abs=0.1)
    assert found.threshold == report_of(scores, odds, 0.0)["best_f1_thresh"]
    for held in (found.no_answer_reliability, found.answer_reliability):
        assert held is not None
        assert sum(one.count for one in held.bins) == 10_000
        assert held.expected_calibration_error < 0.02
    no_answer, answer = found.probabilities([0.0], [-1.0])
    assert (no_answer[0], answer[0]) == pytest.approx((0.5, 0.25), abs=0.02)


def test_equal_scores_go_by_the_order_of_the_official_threshold() -> None:
    """Oracle: the official report, for scores that are rounded as 16-bit ones are."""
    scores, odds, margins, first = drawn(20)
    for order in (np.argsort(odds), np.argsort(-odds)):
        rounded = np.round(odds[order]) / 2
        found = calibrate(scores.of(order), rounded, margins[order], first)
        assert found.threshold == report_of(scores.of(order), rounded, 0.0)["best_f1_thresh"]


def test_one_passage_cannot_be_halved() -> None:
    scores, odds, margins, _ = drawn(20)
    found = calibrate(scores, odds, margins, np.ones(200, np.bool_))
    assert found.uncalibrated is None
    assert found.no_answer_reliability is found.answer_reliability is None


@pytest.mark.parametrize(
    ("passages", "answerable", "turned", "why"),
    [
        (9, None, 1, "90 questions are fewer than 100"),
        (20, True, 1, "every question has an answer"),
        (20, False, 1, "no question has an answer"),
        (20, None, -1, "questions with higher no-answer scores have an answer more often"),
    ],
)
def test_data_that_tell_nothing_leave_the_logits_as_they_are(
    passages: int, answerable: bool | None, turned: int, why: str
) -> None:
    """Oracle: the logistic function of the scores, and counting."""
    scores, odds, margins, first = drawn(passages)
    if answerable is not None:
        scores = asked(np.full(len(odds), answerable), scores.exact > 0)
    found = calibrate(scores, turned * odds, margins, first)
    assert found.uncalibrated == why
    assert found.threshold == 0.0
    assert found.probabilities([2.0], [0.0])[0] == pytest.approx(1 / (1 + np.exp(-2)))
    assert found.abstains_above == (np.inf if answerable else 0.0)
    assert found.no_answer_reliability is not None
    expected = reliability(1 / (1 + np.exp(-turned * odds)), ~scores.answerable)
    assert found.no_answer_reliability.expected_calibration_error == pytest.approx(
        expected.expected_calibration_error
    )


def test_spans_that_are_right_less_often_the_surer_the_reader_is() -> None:
    scores, odds, margins, first = drawn(100)
    found = calibrate(scores, odds, -margins, first)
    assert found.uncalibrated == "spans that the reader is surer of are right less often"


def test_a_hundred_questions_are_enough() -> None:
    scores, odds, margins, first = drawn(10)
    assert calibrate(scores, odds, margins, first).uncalibrated is None


def test_a_reader_may_always_abstain() -> None:
    assert UNCALIBRATED.model_copy(update={"threshold": None}).abstains_above == -np.inf


def test_a_reader_that_was_not_evaluated() -> None:
    """Oracle: the logistic function, which training fits."""
    no_answer, answer = UNCALIBRATED.probabilities([0.0, 2.0], [0.0, 1.0])
    assert no_answer == pytest.approx([0.5, 1 / (1 + np.exp(-2))])
    assert answer == pytest.approx([0.25, (1 - no_answer[1]) / (1 + np.exp(-1))])


def test_reliability_at_the_ends() -> None:
    """Certainty belongs to the last of ten bins, and what is next to it to the one before."""
    found = reliability(np.array([0.0, 0.85, 0.95, 1.0]), np.array([False, True, True, True]))
    assert [(one.confidence, one.count) for one in found.bins] == [
        (0.0, 1),
        (pytest.approx(0.85), 1),
        (pytest.approx(0.975), 2),
    ]


def test_each_half_is_judged_by_what_was_fitted_on_the_other() -> None:
    """Oracle: both fits made here, on two halves in which the same scores mean the opposite."""
    first = np.repeat([True, False], 80)
    odds = np.arange(160.0) % 8
    found = calibrate(asked(~first, ~first), odds, np.ones(160), first)
    scores = odds[:80]
    never, always = (fit_platt(scores, np.full(80, kind)) for kind in (False, True))
    # The first half has no answers and is judged by the fit on the other, which always has one.
    expected = reliability(
        np.concatenate([never.probability(scores), always.probability(scores)]),
        first,
    )
    assert found.no_answer_reliability is not None
    assert found.no_answer_reliability.expected_calibration_error == pytest.approx(
        expected.expected_calibration_error
    )
    assert found.no_answer_reliability.expected_calibration_error > 0.5

"""Logistic regression with smoothed targets.

Oracle: the published definition minimised by scipy.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from roberta_squad_pipeline.evaluation.logistic import fit_logistic, sigmoid

rows = st.lists(
    st.tuples(st.integers(-20, 20), st.integers(-20, 20), st.booleans()), min_size=1, max_size=30
)


def smoothed_cross_entropy(weights: np.ndarray, inputs: np.ndarray, positive: np.ndarray) -> float:
    """Platt (1999), equations 1 and 2, for any number of inputs."""
    yes, no = positive.sum(), (~positive).sum()
    target = np.where(positive, (yes + 1) / (yes + 2), 1 / (no + 2))
    logits = inputs @ weights[:-1] + weights[-1]
    return float(np.sum(np.logaddexp(0, logits) - target * logits))


@settings(max_examples=40)
@given(rows)
def test_no_other_weights_are_better(drawn: list[tuple[int, int, bool]]) -> None:
    """Separable data, one kind alone, and inputs that are the same among them."""
    inputs = np.array([row[:2] for row in drawn], np.float64) / 4
    positive = np.array([row[2] for row in drawn])
    weights, intercept = fit_logistic(inputs, positive)
    reached = smoothed_cross_entropy(np.array([*weights, intercept]), inputs, positive)
    best = minimize(smoothed_cross_entropy, np.zeros(3), args=(inputs, positive), method="BFGS")
    assert reached <= best.fun + 1e-6


def test_it_finds_what_the_data_were_drawn_with() -> None:
    """20,000 draws: each weight to about three standard errors."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(20_000, 2))
    positive = rng.random(20_000) < sigmoid(1.5 * inputs[:, 0] - 0.5 * inputs[:, 1] + 0.25)
    weights, intercept = fit_logistic(inputs, positive)
    assert [*weights, intercept] == pytest.approx([1.5, -0.5, 0.25], abs=0.08)


logits = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=100)
@given(st.lists(st.tuples(logits, logits, st.booleans()), max_size=8))
def test_of_finite_inputs_all_is_finite(drawn: list[tuple[float, float, bool]]) -> None:
    """Of any size that a logit can have, down to the least and up to the greatest."""
    inputs = np.array([row[:2] for row in drawn], np.float64).reshape(-1, 2)
    weights, intercept = fit_logistic(inputs, np.array([row[2] for row in drawn], np.bool_))
    assert np.isfinite([*weights, intercept]).all()

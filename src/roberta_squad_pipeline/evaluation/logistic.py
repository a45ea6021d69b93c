"""Logistic regression with smoothed targets.

Source: Platt, "Probabilistic Outputs for Support Vector Machines" (1999), for the targets.
"""

import numpy as np
from scipy.optimize import minimize

from roberta_squad_pipeline.common.arrays import BoolArray, Float64Array

_ROUNDING = 1e-12
"""Relative to an input's mean: a smaller spread is rounding."""
_FLAT = 1e-9
"""Gradient at which the minimum counts as reached."""


def fit_logistic(inputs: Float64Array, positive: BoolArray) -> tuple[list[float], float]:
    """Fits log-odds that are linear in the inputs, with the greatest likelihood.

    Platt's targets, (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2) instead of 1 and 0, keep the result finite
    if an input separates the two kinds or there is only one kind.

    Args:
        inputs: Finite. Shape: (examples, inputs)
        positive: The labels. Shape: (examples,)

    Returns:
        A weight per input, and the intercept.
    """
    positives = np.count_nonzero(positive)
    negatives = len(positive) - positives
    target = np.where(positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # Scaled by their spread, inputs of any size are fitted in a few steps.
    mean = inputs.mean(0) if len(inputs) else np.zeros(inputs.shape[1])
    spread = inputs.std(0) if len(inputs) else np.ones(inputs.shape[1])
    # Rounding gives inputs that are all the same a small spread.
    spread[spread <= _ROUNDING * np.abs(mean)] = 1.0
    scaled = np.column_stack([(inputs - mean) / spread, np.ones(len(inputs))])
    start = np.zeros(scaled.shape[1])
    start[-1] = np.log((positives + 1) / (negatives + 1))
    fitted = _minimum(scaled, target, start) if len(inputs) else start
    weights = fitted[:-1] / spread
    return weights.tolist(), float(fitted[-1] - weights @ mean)


def _minimum(inputs: Float64Array, target: Float64Array, start: Float64Array) -> Float64Array:
    """The weights with the lowest cross-entropy, found by Newton steps in a trust region."""

    def loss(weights: Float64Array) -> float:
        logits = inputs @ weights
        return float(np.mean(np.logaddexp(0, logits) - target * logits))

    def gradient(weights: Float64Array) -> Float64Array:
        return inputs.T @ (sigmoid(inputs @ weights) - target) / len(target)

    def curvature(weights: Float64Array) -> Float64Array:
        predicted = sigmoid(inputs @ weights)
        return (inputs.T * (predicted * (1 - predicted))) @ inputs / len(target)

    found = minimize(
        loss,
        start,
        method="trust-exact",
        jac=gradient,
        hess=curvature,
        options={"gtol": _FLAT},
    )
    return np.asarray(found.x, np.float64)


def sigmoid(logits: Float64Array) -> Float64Array:
    """1 / (1 + exp(-logits)), of any size. Shape: that of `logits`."""
    # The hyperbolic tangent does not overflow.
    return 0.5 * (1 + np.tanh(logits / 2))

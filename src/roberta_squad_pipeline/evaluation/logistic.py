"""Logistic regression with smoothed targets.

Sources: Platt, "Probabilistic Outputs for Support Vector Machines" (1999), for the targets; Lin,
Lin & Weng, "A Note on Platt's Probabilistic Outputs" (2007), for the Newton steps.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_NEWTON_STEPS = 100
_FLAT = 1e-9  # of the mean gradient: there the minimum is reached
_SHORTEST_STEP = 1e-10


def fit_logistic(inputs: FloatArray, positive: NDArray[np.bool_]) -> tuple[list[float], float]:
    """Fits log-odds that are linear in the inputs, with the greatest likelihood.

    Platt's targets, (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2) for 1 and 0, keep it finite where an input
    separates the two kinds or there is one kind only.

    Args:
        inputs: Finite. Shape: (examples, inputs)
        positive: What is to be predicted. Shape: (examples,)

    Returns:
        A weight per input, and the intercept.
    """
    positives = np.count_nonzero(positive)
    negatives = len(positive) - positives
    target = np.where(positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # In units of their spread, inputs of any size are fitted in a few steps.
    mean = inputs.mean(0) if len(inputs) else np.zeros(inputs.shape[1])
    spread = inputs.std(0) if len(inputs) else np.ones(inputs.shape[1])
    spread[spread == 0] = 1.0
    scaled = np.column_stack([(inputs - mean) / spread, np.ones(len(inputs))])
    start = np.zeros(scaled.shape[1])
    start[-1] = np.log((positives + 1) / (negatives + 1))
    fitted = _newton(scaled, target, start)
    weights = fitted[:-1] / spread
    return weights.tolist(), float(fitted[-1] - weights @ mean)


def _newton(inputs: FloatArray, target: FloatArray, weights: FloatArray) -> FloatArray:
    """Minimises the cross-entropy, in steps that are halved until they lead downhill."""
    loss = _cross_entropy(inputs @ weights, target)
    for _ in range(_NEWTON_STEPS):
        predicted = sigmoid(inputs @ weights)
        gradient = inputs.T @ (predicted - target)
        if np.abs(gradient).max(initial=0.0) <= _FLAT * len(target):
            break
        # What is added keeps the curvature invertible where all scores are the same.
        curvature = (inputs.T * (predicted * (1 - predicted))) @ inputs + 1e-12 * np.eye(
            len(weights)
        )
        direction = -np.linalg.solve(curvature, gradient)
        step = 1.0
        while step >= _SHORTEST_STEP:
            tried = weights + step * direction
            reached = _cross_entropy(inputs @ tried, target)
            if reached < loss + 1e-4 * step * (gradient @ direction):
                weights, loss = tried, reached
                break
            step /= 2
        else:
            break
    return weights


def _cross_entropy(logits: FloatArray, target: FloatArray) -> float:
    return float(np.sum(np.logaddexp(0, logits) - target * logits))


def sigmoid(logits: FloatArray) -> FloatArray:
    """1 / (1 + exp(-logits)), of any size. Shape: that of `logits`."""
    # Through the hyperbolic tangent nothing overflows.
    return 0.5 * (1 + np.tanh(logits / 2))

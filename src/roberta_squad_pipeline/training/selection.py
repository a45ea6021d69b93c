"""Finds the best evaluation, the end of patience, and whether scores were still rising."""

from collections.abc import Sequence

import numpy as np

from roberta_squad_pipeline.training.records import EvaluationRecord

_FEWEST = 3
"""The fewest evaluations for which a slope has a standard error."""
_STANDARD_ERRORS = 2.0


def best_evaluation(evaluations: Sequence[EvaluationRecord]) -> EvaluationRecord:
    """The evaluation with the highest criterion; of equal ones, the first.

    Args:
        evaluations: In the order of the updates; at least one.
    """
    return max(evaluations, key=lambda evaluation: evaluation.criterion)


def out_of_patience(evaluations: Sequence[EvaluationRecord], patience: int | None) -> bool:
    """Whether there was no new best in the last `patience` evaluations or more.

    Args:
        evaluations: In the order of the updates.
        patience: Number of evaluations; None never runs out.
    """
    if patience is None or not evaluations:
        return False
    best = evaluations.index(best_evaluation(evaluations))
    return len(evaluations) - 1 - best >= patience


def still_rising(evaluations: Sequence[EvaluationRecord]) -> bool:
    """Whether more updates would probably have made a better reader.

    This is assumed if the last evaluation is the best, and a straight line fitted to the last third
    of the evaluations, but at least three, has a slope of more than twice its standard error. With
    fewer than three evaluations the result is False.

    Args:
        evaluations: In the order of the updates.
    """
    if len(evaluations) < _FEWEST or best_evaluation(evaluations) is not evaluations[-1]:
        return False
    last = evaluations[-max(_FEWEST, len(evaluations) // 3) :]
    updates = np.array([evaluation.update for evaluation in last], np.float64)
    scores = np.array([evaluation.criterion for evaluation in last])
    updates -= updates.mean()
    spread = updates @ updates
    slope = updates @ scores / spread
    rest = scores - scores.mean() - slope * updates
    error = np.sqrt(rest @ rest / (len(last) - 2) / spread)
    return bool(slope > _STANDARD_ERRORS * error)

"""Which evaluation was the best, when training ends early, and whether it ended too early."""

from collections.abc import Sequence

import numpy as np

from roberta_squad_pipeline.training.records import EvaluationRecord

_FEWEST = 3
"""Evaluations that a slope with an error of its own can be drawn through."""
_STANDARD_ERRORS = 2.0


def best_evaluation(evaluations: Sequence[EvaluationRecord]) -> EvaluationRecord:
    """The one with the highest criterion; of equal ones the first.

    Args:
        evaluations: In the order of the updates; at least one.
    """
    return max(evaluations, key=lambda evaluation: evaluation.criterion)


def out_of_patience(evaluations: Sequence[EvaluationRecord], patience: int | None) -> bool:
    """Whether the last `patience` evaluations, or more, brought no new best.

    Args:
        evaluations: In the order of the updates.
        patience: How many; None never runs out.
    """
    if patience is None or not evaluations:
        return False
    best = evaluations.index(best_evaluation(evaluations))
    return len(evaluations) - 1 - best >= patience


def still_rising(evaluations: Sequence[EvaluationRecord]) -> bool:
    """Whether more updates would probably have made a better reader.

    That is so if the last evaluation is the best, and the straight line of least squares through
    the last third of the evaluations, at least three, rises by more than twice the standard error
    of its slope. With fewer than three evaluations it is False.

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

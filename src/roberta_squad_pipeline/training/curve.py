"""What a run's updates and evaluations say: the best, the end of patience, the curve."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from scipy.stats import linregress

from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.learning_rates import lr_multiplier
from roberta_squad_pipeline.training.records import EvaluationRecord, UpdateRecord

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
    line = linregress(
        [evaluation.update for evaluation in last], [evaluation.criterion for evaluation in last]
    )
    return bool(line.slope > _STANDARD_ERRORS * line.stderr)


def training_curve(
    records: Sequence[UpdateRecord],
    evaluations: Sequence[EvaluationRecord],
    peak_rates: Mapping[str, float],
    config: TrainingConfig,
) -> dict[str, Any]:
    """Collects the loss, the learning rates and the validation scores of a run.

    A layer's learning rate at an update is its peak times the update's multiplier, so one list of
    peaks and one of multipliers are enough.

    Args:
        records: Records of all updates.
        evaluations: Records of all evaluations, if there were any.
        peak_rates: Peak learning rates by layer, from the embeddings up.
        config: The recipe.

    Returns:
        `update` (from 1), `loss` and `lr_multiplier`, each with one entry per update;
        `peak_rates`; `validation` with the fields of `EvaluationRecord` except its time, each with
        one entry per evaluation; and `kept_update`, the update whose weights the reader has.
    """
    kept = best_evaluation(evaluations) if config.keep == "best" else records[-1]
    return {
        "update": [record.update for record in records],
        "loss": [record.loss for record in records],
        "lr_multiplier": [lr_multiplier(record.update, config) for record in records],
        "peak_rates": dict(peak_rates),
        "validation": {
            field.name: [getattr(evaluation, field.name) for evaluation in evaluations]
            for field in fields(EvaluationRecord)
            if field.name != "seconds"
        },
        "kept_update": kept.update,
    }

"""The record of a run's updates and evaluations, for figures."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.learning_rates import lr_multiplier
from roberta_squad_pipeline.training.records import EvaluationRecord, UpdateRecord
from roberta_squad_pipeline.training.selection import best_evaluation


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

"""Records of updates and evaluations, and what they say: the best, the end, the curve."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pydantic import TypeAdapter

from roberta_squad_pipeline.training.config import TrainingConfig

_FEWEST = 3
"""The fewest evaluations for which a slope has a standard error."""
_STANDARD_ERRORS = 2.0


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """The record of one update."""

    update: int
    """Counted from 1."""
    loss: float
    """Mean over the windows of the update."""
    lr_highest: float
    """Learning rate of the heads."""
    lr_lowest: float
    """Learning rate of the embeddings."""
    windows: int
    loss_scale: float
    """1 unless precision is fp16."""
    seconds: float
    """Wall time of the update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What a reader scores on the validation questions."""

    exact: float
    """Exact matches in per cent, if it abstains above a no-answer score of 0."""
    f1: float
    """F1 in per cent, if it abstains above a no-answer score of 0."""
    answerable_f1: float | None
    """F1 of the answerable questions in per cent, if the reader always answers; None if there are
    none."""
    best_f1: float
    """F1 in per cent at the best threshold for these questions."""
    no_answer_auc: float | None
    """How well the no-answer score separates the two kinds of questions, 0 to 1; None if there is
    only one kind."""

    @property
    def criterion(self) -> float:
        """The score that `training.keep`, `training.patience` and a soup use: higher is better.

        For a reader that is trained on little data, best F1 alone is a poor measure: it stays close
        to the score for abstaining on every question. The F1 of answerable questions alone ignores
        abstaining. The criterion is the mean of both, in per cent.
        """
        if self.answerable_f1 is None:
            return self.best_f1
        return (self.best_f1 + self.answerable_f1) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRecord(Scores):
    """The scores of a reader on the validation questions while it was trained."""

    update: int
    """The update after which it was scored."""
    loss: float
    """Mean over the validation windows."""
    seconds: float
    """Wall time of the evaluation."""


Record = UpdateRecord | EvaluationRecord

RECORDS: TypeAdapter[list[Record]] = TypeAdapter(list[Record])
"""Reads and writes records as JSON, numbers exactly; the two kinds have different fields."""


def evaluations_of(records: Iterable[Record]) -> list[EvaluationRecord]:
    """The evaluations among a run's records."""
    return [record for record in records if isinstance(record, EvaluationRecord)]


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
    # It takes half a second to load.
    from scipy.stats import linregress

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
    from roberta_squad_pipeline.training.learning_rates import lr_multiplier

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

"""Records of updates and evaluations, as they are reported, logged and saved."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import TypeAdapter


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

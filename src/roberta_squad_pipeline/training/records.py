"""What each update and each evaluation did, as it is told, logged and kept."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """What one update did."""

    update: int
    """Counted from 1."""
    loss: float
    """Mean over the update's windows."""
    lr_highest: float
    """Learning rate of the heads."""
    lr_lowest: float
    """Learning rate of the embeddings."""
    windows: int
    loss_scale: float
    """1 unless precision is fp16."""
    seconds: float
    """Wall time of the update."""


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """What a reader scored on the validation questions while it was trained."""

    update: int
    """After which it was scored."""
    loss: float
    """Mean over the validation windows."""
    exact: float
    """Exact matches in per cent, abstaining above a no-answer score of 0."""
    f1: float
    """F1 in per cent, abstaining likewise."""
    answerable_f1: float | None
    """F1 of the answerable questions if the reader always answers, in per cent; None where there
    are none."""
    best_f1: float
    """At the threshold that is best for these questions, in per cent."""
    no_answer_auc: float | None
    """How well the no-answer score tells the two kinds of question apart, 0 to 1; None where there
    is only one kind."""
    seconds: float
    """Wall time of the evaluation."""

    @property
    def criterion(self) -> float:
        """What `training.keep` and `training.patience` go by: higher is better.

        Best F1 alone is a poor measure of a reader that is trained on few data: it stays close to
        what abstaining on every question scores. The F1 of answerable questions alone says nothing
        about abstaining. The criterion is the mean of both, in per cent.
        """
        if self.answerable_f1 is None:
            return self.best_f1
        return (self.best_f1 + self.answerable_f1) / 2


Record = TypeVar("Record", UpdateRecord, EvaluationRecord)


def write_records(records: Iterable[UpdateRecord | EvaluationRecord], path: Path) -> None:
    """Writes one JSON object per line; numbers are read back exactly as they were."""
    path.write_text("".join(json.dumps(asdict(record)) + "\n" for record in records))


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """Reads what `write_records` wrote of records of one kind."""
    return [kind(**json.loads(line)) for line in path.read_text().splitlines()]

"""Tracked runs with the scores of each question, for comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roberta_squad_pipeline.common.arrays import BoolArray, Float64Array, IntArray
from roberta_squad_pipeline.evaluation.questions import scores_of
from roberta_squad_pipeline.tracking.store import FinishedRun, load_questions
from roberta_squad_pipeline.tracking.tracker import Journal


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """A run with the scores of each question at the threshold that is best for its F1."""

    run: FinishedRun
    questions: pd.DataFrame
    """See `judged`."""
    f1: Float64Array
    """0 to 1. Shape: (questions,)"""
    right: BoolArray
    """Whether the answer is an exact match, or abstaining is right. Shape: (questions,)"""
    answers: NDArray[np.object_]
    """The answers; empty if it abstains. Shape: (questions,)"""
    members: tuple[FinishedRun, ...] = ()
    """The runs that trained the members of an ensemble."""

    @property
    def best_f1(self) -> float:
        """In per cent."""
        return float(100 * self.f1.mean())

    @property
    def passages(self) -> IntArray:
        """Number of each question's passage. Shape: (questions,)."""
        return self.questions["passage_number"].to_numpy()

    def setting(self, name: str) -> str:
        """A setting of the training, resolved if it was left open; empty if unknown."""
        params = self.run.params
        return params.get(f"trained_with.{name}", params.get(f"training.{name}", ""))


def measured_run(run: FinishedRun, questions: pd.DataFrame) -> MeasuredRun:
    """Scores the questions of a run at its best threshold.

    Args:
        run: The run.
        questions: See `judged`.
    """
    scores, odds = scores_of(questions), questions["no_answer_score"].to_numpy()
    threshold = scores.best_threshold(scores.f1, odds).threshold
    f1, exact = (scores.at(threshold, values, odds) for values in (scores.f1, scores.exact))
    answers = np.where(odds > threshold, "", questions["predicted"].to_numpy())
    return MeasuredRun(run, questions, f1, exact == 1, answers)


def load_measured(journal: Journal, runs: Sequence[FinishedRun]) -> list[MeasuredRun]:
    """Fetches the scores of each question from MLflow; runs that kept none are left out."""
    tables = ((run, load_questions(journal, run.run_id)) for run in runs)
    return [measured_run(run, table) for run, table in tables if table is not None]

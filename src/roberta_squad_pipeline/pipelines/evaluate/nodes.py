"""Scores predictions."""

from pathlib import Path
from typing import Any

from roberta_squad_pipeline.errors import InputError
from roberta_squad_pipeline.parameters import DataConfig
from roberta_squad_pipeline.squad.dataset import read_squad
from roberta_squad_pipeline.squad.scoring import squad_report

NO_ANSWER_THRESHOLD = 0.0
"""The recipe's: a no-answer score is a logit, and 0 is where the reader is undecided."""


def score_predictions(
    files: dict[str, dict[str, Any]],
    data: DataConfig,
    predictions: dict[str, str],
    null_odds: dict[str, float],
) -> dict[str, float | int]:
    """The official scorer's report on the dev file.

    Raises:
        InputError: A question has no prediction.
    """
    path = Path(files["dev"]["path"])
    dataset = read_squad(path, on_misaligned=data.on_misaligned)
    missing = next((question for question in dataset.gold if question not in predictions), None)
    if missing is not None:
        raise InputError(
            where="predictions.json",
            got=f"no prediction for question {missing} of {path}",
            expected="one for each question",
            remedy="These predictions are of another file: kedro run --pipelines "
            "features,inference,evaluate, with the same --params.",
        )
    return squad_report(
        dataset.gold, predictions, no_answer_scores=null_odds, threshold=NO_ANSWER_THRESHOLD
    )

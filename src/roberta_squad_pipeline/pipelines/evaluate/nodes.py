"""Scores predictions."""

from pathlib import Path
from typing import Any

from roberta_squad_pipeline import __version__
from roberta_squad_pipeline.errors import InputError
from roberta_squad_pipeline.parameters import DataConfig
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.reader.evaluation import Evaluation
from roberta_squad_pipeline.squad.calibration import calibrate
from roberta_squad_pipeline.squad.dataset import SquadDataset, read_squad
from roberta_squad_pipeline.squad.scoring import squad_report
from roberta_squad_pipeline.squad.uncertainty import cross_fitted_report

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
    gold = _predicted_dataset(files, data, predictions).gold
    return squad_report(
        gold, predictions, no_answer_scores=null_odds, threshold=NO_ANSWER_THRESHOLD
    )


def cross_fit_threshold(
    files: dict[str, dict[str, Any]],
    data: DataConfig,
    predictions: dict[str, str],
    null_odds: dict[str, float],
) -> dict[str, Any]:
    """Scores at a threshold that one may report, with the intervals of these and the best ones.

    Raises:
        InputError: A question has no prediction.
    """
    dataset = _predicted_dataset(files, data, predictions)
    return cross_fitted_report(dataset, predictions, null_odds)


def evaluate_reader(
    files: dict[str, dict[str, Any]],
    data: DataConfig,
    inference: InferenceConfig,
    predictions: dict[str, str],
    null_odds: dict[str, float],
    nbest: dict[str, list[dict[str, Any]]],
    metrics: dict[str, float | int],
    metrics_crossfit: dict[str, Any],
) -> dict[str, Any]:
    """What the reader's folder keeps: scores, the tuned threshold, calibrated probabilities.

    Raises:
        InputError: A question has no prediction.
    """
    dataset = _predicted_dataset(files, data, predictions)
    span_scores = {question: [span["score"] for span in spans] for question, spans in nbest.items()}
    evaluation = Evaluation(
        version=__version__,
        data=files["dev"]["path"],
        data_sha256=files["dev"]["sha256"],
        questions=len(dataset.gold),
        inference=inference,
        scores=metrics,
        cross_fitted_f1=metrics_crossfit.get("f1"),
        calibration=calibrate(dataset, predictions, null_odds, span_scores),
    )
    return evaluation.model_dump(mode="json")


def _predicted_dataset(
    files: dict[str, dict[str, Any]], data: DataConfig, predictions: dict[str, str]
) -> SquadDataset:
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
    return dataset

"""Scores predictions."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline import __version__
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.reader.config import (
    NO_ANSWER_THRESHOLD,
    InferenceConfig,
    InferenceParameters,
)
from roberta_squad_pipeline.runs.parameters import DataConfig
from roberta_squad_pipeline.tracking.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from roberta_squad_pipeline.evaluation.no_answer import NoAnswerLogits
    from roberta_squad_pipeline.features.file import Features
    from roberta_squad_pipeline.squad.dataset import SquadDataset
else:
    # Kedro resolves the hints of its nodes, which must load nothing heavy.
    Features = Any

_logger = logging.getLogger(__name__)

_NULL_SCORES = {
    "best_span": "best span's window",
    "min_window": "lowest window",
    "combined": "best span's window and of its span logits, with fitted weights",
}


def score_no_answer(
    files: dict[str, dict[str, Any]],
    data: DataConfig,
    inference: InferenceParameters,
    no_answer_logits: dict[str, dict[str, float]],
) -> dict[str, Any]:
    """One no-answer score per question.

    Returns:
        `scores` (id → score, high = no answer) and `weights`, with which they were made.

    Raises:
        InputError: A question has no logits.
    """
    import numpy as np

    gold = _predicted_dataset(files, data, no_answer_logits).gold
    logits = _logits(gold, no_answer_logits, inference)
    weights = logits.weights_fitted_on(np.ones(len(gold), np.bool_))
    scores = weights.scores(logits.head, logits.span)
    by_question = dict(zip(gold, scores.tolist(), strict=True))
    return {
        # In the order of the predictions, by which the scorer decides between equal ones.
        "scores": {question: by_question[question] for question in no_answer_logits},
        "weights": weights.model_dump(),
    }


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
    from roberta_squad_pipeline.evaluation.scoring import squad_report

    gold = _predicted_dataset(files, data, predictions).gold
    return squad_report(
        gold, predictions, no_answer_scores=null_odds, threshold=NO_ANSWER_THRESHOLD
    )


def cross_fit_threshold(
    files: dict[str, dict[str, Any]],
    data: DataConfig,
    predictions: dict[str, str],
    null_odds: dict[str, float],
    inference: InferenceParameters,
    no_answer_logits: dict[str, dict[str, float]],
) -> dict[str, Any]:
    """Scores at a threshold that one may report, with the intervals of these and the best ones.

    Raises:
        InputError: A question has no prediction.
    """
    from roberta_squad_pipeline.evaluation.uncertainty import cross_fitted_report

    dataset = _predicted_dataset(files, data, predictions)
    logits = _logits(dataset.gold, no_answer_logits, inference)
    return cross_fitted_report(dataset, predictions, null_odds, logits.scores_fitted_on)


def evaluate_reader(
    files: dict[str, dict[str, Any]],
    data: DataConfig,
    inference: InferenceParameters,
    answered_with: dict[str, str],
    predictions: dict[str, str],
    null_odds: dict[str, float],
    no_answer_logits: dict[str, dict[str, float]],
    no_answer_weights: dict[str, float],
    nbest: dict[str, list[dict[str, Any]]],
    metrics: dict[str, float | int],
    metrics_crossfit: dict[str, Any],
    curve: dict[str, Any] | None,
    tracker: Tracker,
) -> dict[str, Any]:
    """What the reader's folder keeps: scores, the tuned threshold, calibrated probabilities.

    A reader that abstains on nearly all questions is warned of.

    Raises:
        InputError: A question has no prediction.
    """
    from roberta_squad_pipeline.evaluation.calibration import calibrate
    from roberta_squad_pipeline.evaluation.no_answer import NoAnswerWeights
    from roberta_squad_pipeline.evaluation.thresholds import abstained_share, abstains_too_much
    from roberta_squad_pipeline.reader.evaluation import Evaluation

    dataset = _predicted_dataset(files, data, predictions)
    span_scores = {question: [span["score"] for span in spans] for question, spans in nbest.items()}
    calibration = calibrate(
        dataset,
        predictions,
        null_odds,
        span_scores,
        _logits(dataset.gold, no_answer_logits, inference).scores_fitted_on,
    )
    abstained = abstained_share(null_odds.values(), calibration.threshold)
    if abstains_too_much(abstained, dataset.answerable_count / len(dataset.questions)):
        _logger.warning(
            "at its best threshold the reader abstains on %.1f %% of the dev questions, of which "
            "%.1f %% have an answer: its F1 is little more than what abstaining scores. Train it "
            "longer, at another learning rate, or from another encoder.",
            100 * abstained,
            100 * dataset.answerable_count / len(dataset.questions),
        )
        tracker.set_tag("warning.abstains", f"{abstained:.1%} of the dev questions")
    evaluation = Evaluation(
        version=__version__,
        data=files["dev"]["path"],
        data_sha256=files["dev"]["sha256"],
        questions=len(dataset.gold),
        # Predictions may have been made elsewhere, where `auto` came to something else than here.
        inference=InferenceConfig(**inference.model_dump() | answered_with),
        scores=metrics,
        selected_on_data=curve is not None and curve.get("selected_on") == files["dev"]["sha256"],
        cross_fitted_f1=metrics_crossfit.get("f1"),
        no_answer_weights=NoAnswerWeights(**no_answer_weights),
        calibration=calibration,
    )
    return evaluation.model_dump(mode="json")


def build_question_table(
    files: dict[str, dict[str, Any]],
    data: DataConfig,
    predictions: dict[str, str],
    null_odds: dict[str, float],
    nbest: dict[str, list[dict[str, Any]]],
    features: Features,
    evaluation: dict[str, Any],
) -> Any:
    """Every dev question with what was predicted for it: see `question_table`.

    Raises:
        InputError: A question has no prediction or no features.
    """
    import numpy as np

    from roberta_squad_pipeline.evaluation.report.questions import question_table
    from roberta_squad_pipeline.reader.evaluation import Evaluation

    windows = np.bincount(features.windows.question, minlength=len(features.question_ids))
    return question_table(
        _predicted_dataset(files, data, predictions),
        nbest,
        null_odds,
        dict(zip(features.question_ids.to_pylist(), windows.tolist(), strict=True)),
        Evaluation.model_validate(evaluation).calibration,
        threshold=NO_ANSWER_THRESHOLD,
    )


def draw_figures(
    questions: Any,
    metrics: dict[str, float | int],
    crossfit: dict[str, Any],
    evaluation: dict[str, Any],
    curve: dict[str, Any] | None,
) -> dict[str, Any]:
    """The report's figures by name."""
    from roberta_squad_pipeline.evaluation.report import figures
    from roberta_squad_pipeline.evaluation.report.slices import slices_of
    from roberta_squad_pipeline.reader.evaluation import Evaluation

    calibration = Evaluation.model_validate(evaluation).calibration
    return {
        "threshold": figures.threshold_figure(
            questions, metrics, crossfit, threshold=NO_ANSWER_THRESHOLD
        ),
        "no_answer": figures.no_answer_figure(questions, threshold=NO_ANSWER_THRESHOLD),
        "precision_recall": figures.precision_recall_figure(questions),
        "calibration": figures.calibration_figure(calibration),
        "training": figures.training_figure(curve),
        "slices": figures.slices_figure(slices_of(questions)),
    }


def write_report(
    run: str,
    questions: Any,
    metrics: dict[str, float | int],
    crossfit: dict[str, Any],
    evaluation: dict[str, Any],
    **drawn: Any,
) -> str:
    """One HTML file with the scores, the figures and all questions."""
    from roberta_squad_pipeline.evaluation.report.page import report_page
    from roberta_squad_pipeline.evaluation.report.scores import cross_fitted_scores, official_scores
    from roberta_squad_pipeline.reader.evaluation import Evaluation

    evaluated = Evaluation.model_validate(evaluation)
    signature = (
        f"{evaluated.questions} questions of {evaluated.data} (sha256 "
        f"{evaluated.data_sha256[:12]}), no-answer score of the "
        f"{_NULL_SCORES[evaluated.inference.null_score]}, abstaining above "
        f"{NO_ANSWER_THRESHOLD:g}, roberta_squad_pipeline {evaluated.version}"
    )
    if evaluated.selected_on_data:
        signature += (
            ". Scores on these very questions decided which update was the last or kept, so that "
            "all of these are optimistic"
        )
    return report_page(
        run=run,
        signature=signature,
        scores=official_scores(questions, metrics, crossfit, threshold=NO_ANSWER_THRESHOLD),
        fitted=cross_fitted_scores(crossfit),
        figures=drawn,
        questions=questions,
    )


def _logits(
    gold: "Mapping[str, Sequence[str]]",
    no_answer_logits: dict[str, dict[str, float]],
    inference: InferenceParameters,
) -> "NoAnswerLogits":
    from roberta_squad_pipeline.evaluation.no_answer import NoAnswerLogits

    return NoAnswerLogits.of(gold, no_answer_logits, inference.null_score)


def _predicted_dataset(
    files: dict[str, dict[str, Any]], data: DataConfig, predictions: "Mapping[str, object]"
) -> "SquadDataset":
    from roberta_squad_pipeline.squad.dataset import read_squad

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

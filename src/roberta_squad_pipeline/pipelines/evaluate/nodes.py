"""Scores predictions."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline import __version__
from roberta_squad_pipeline.evaluation.config import NO_ANSWER_THRESHOLD
from roberta_squad_pipeline.pipelines import Features, SquadFiles, Table
from roberta_squad_pipeline.reader.config import InferenceParameters
from roberta_squad_pipeline.runs.parameters import DataConfig
from roberta_squad_pipeline.squad.faults import if_only_scored
from roberta_squad_pipeline.tracking.tracker import Tracker

if TYPE_CHECKING:
    from roberta_squad_pipeline.evaluation.questions import ReaderScores

_logger = logging.getLogger(__name__)


def score_predictions(
    squad_files: SquadFiles,
    data: DataConfig,
    inference: InferenceParameters,
    answered_with: dict[str, Any],
    run: str,
    reader: str | None,
    calibrate: bool,
    nbest: Table,
    dev_features: Features,
    reader_evaluation: dict[str, Any] | None,
    reader_header: dict[str, Any] | None,
    tracker: Tracker,
) -> dict[str, Any]:
    """Joins every dev question with its prediction, scores it, and tunes the reader.

    A reader that abstains on nearly all questions causes a warning.

    Returns:
        `questions`, the table of all questions (see `judged`); `metrics`, the official scorer's
        report, and `metrics_signature`, which says what it was measured on; `metrics_crossfit`,
        cross-fitted scores with intervals, also of the best ones; `null_odds` (id → no-answer
        score, high = no answer); and `evaluation`, the record for the reader's folder.

    Raises:
        InputError: The predictions were made from other features or with other settings, a question
            has no prediction or no features, or see `kept_tuning`.
    """
    import numpy as np

    from roberta_squad_pipeline.evaluation.questions import judged, question_table, score_reader
    from roberta_squad_pipeline.reader.evaluation import (
        AnsweredWith,
        Evaluation,
        check_predictions,
        kept_tuning,
        read_evaluation,
    )
    from roberta_squad_pipeline.squad.dataset import read_squad

    dev = squad_files["dev"]
    # Without its folder, which conf/local may keep secret: this goes to MLflow.
    name = Path(dev["path"]).name
    check_predictions(answered_with, dev_features, inference, run=run)
    kept = kept_tuning(
        read_evaluation(reader_evaluation) if reader_evaluation else None,
        dev["sha256"],
        AnsweredWith.model_validate(answered_with),
        run=run,
        reader=reader,
        calibrate=calibrate,
    )
    windows = np.bincount(dev_features.windows.question, minlength=len(dev_features.question_ids))
    table = question_table(
        read_squad(Path(dev["path"]), on_misaligned=if_only_scored(data.on_misaligned)),
        nbest,
        dict(zip(dev_features.question_ids.to_pylist(), windows.tolist(), strict=True)),
    )
    scored = score_reader(table, inference.null_score, kept)
    _tell_of_doubts(scored, float(table["answerable"].mean()), tracker)
    if "f1" in scored.crossfit:
        tracker.log_metrics({"dev/cross_fitted_f1": scored.crossfit["f1"]}, step=0)
    odds, calibration = scored.no_answer_scores, scored.tuning.calibration
    selected_on = reader_header["recipe"].get("selected_on") if reader_header else None
    evaluation = Evaluation(
        version=__version__,
        data=name,
        data_sha256=dev["sha256"],
        questions=len(table),
        # Predictions may come from a machine where `auto` was resolved differently.
        inference=inference.resolved(answered_with["precision"]),
        scores=scored.metrics,
        selected_on_data=selected_on == dev["sha256"],
        cross_fitted_f1=scored.crossfit.get("f1"),
        no_answer_weights=scored.tuning.no_answer_weights,
        calibration=calibration,
        tuned_elsewhere=kept is not None,
        at_threshold=scored.at_threshold,
    )
    return {
        "questions": judged(table, odds, calibration),
        "metrics": scored.metrics,
        "metrics_signature": {
            "data": name,
            "data_sha256": dev["sha256"],
            "questions": len(table),
            "threshold": NO_ANSWER_THRESHOLD,
            "null_score": inference.null_score,
            "version": __version__,
        },
        "metrics_crossfit": scored.crossfit,
        "null_odds": dict(zip(table["id"], odds.tolist(), strict=True)),
        "evaluation": evaluation.model_dump(mode="json"),
    }


def _tell_of_doubts(scored: "ReaderScores", answerable: float, tracker: Tracker) -> None:
    """Warns if the reader was not tuned, or abstains on nearly all questions."""
    from roberta_squad_pipeline.evaluation.thresholds import abstains_too_much

    if uncalibrated := scored.tuning.calibration.uncalibrated:
        _logger.warning("threshold and probabilities were not fitted: %s", uncalibrated)
        tracker.set_tag("warning.uncalibrated", uncalibrated)
    abstained = scored.at_threshold["abstained"]
    if abstains_too_much(abstained, answerable):
        tracker.set_tag("warning.abstains", f"{abstained:.1%} of the dev questions")

"""Scores predictions."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline import __version__
from roberta_squad_pipeline.common.redaction import Redaction
from roberta_squad_pipeline.pipelines import DataFrame, Features, SquadFiles
from roberta_squad_pipeline.reader.config import (
    NO_ANSWER_THRESHOLD,
    InferenceConfig,
    InferenceParameters,
)
from roberta_squad_pipeline.runs.parameters import DataConfig
from roberta_squad_pipeline.tracking.provenance import Provenance
from roberta_squad_pipeline.tracking.tracker import Tracker, flat_params

if TYPE_CHECKING:
    from roberta_squad_pipeline.evaluation.no_answer import NoAnswerLogits, ScoresFittedOn
    from roberta_squad_pipeline.reader.evaluation import Evaluation

_logger = logging.getLogger(__name__)

_NULL_SCORES = {
    "best_span": "best span's window",
    "min_window": "lowest window",
    "combined": "best span's window and of its span logits, with fitted weights",
}


def build_question_table(
    files: SquadFiles,
    data: DataConfig,
    inference: InferenceParameters,
    answered_with: dict[str, Any],
    run: str,
    reader: str | None,
    calibrate: bool,
    predictions: dict[str, str],
    nbest: dict[str, list[dict[str, Any]]],
    no_answer_logits: dict[str, dict[str, float]],
    features: Features,
    reader_evaluation: dict[str, Any] | None,
) -> dict[str, Any]:
    """Joins every dev question with its prediction, and scores it.

    Returns:
        `table`, a `question_table` with a column `no_answer_score` (high = no answer); `null_odds`
        (id → this score); `weights`, those of the two logits in it; and `kept`, the reader's own
        `Tuning` if that is to stay (see `kept_tuning`), else empty.

    Raises:
        InputError: The predictions were made from other features or with other settings, a question
            has no prediction or no features, or see `kept_tuning`.
    """
    import numpy as np

    from roberta_squad_pipeline.evaluation.no_answer import unfitted_weights
    from roberta_squad_pipeline.evaluation.questions import question_table
    from roberta_squad_pipeline.reader.evaluation import (
        AnsweredWith,
        check_predictions,
        kept_tuning,
        read_evaluation,
    )
    from roberta_squad_pipeline.squad.dataset import read_squad
    from roberta_squad_pipeline.squad.faults import if_only_scored

    check_predictions(answered_with, features, inference, run=run)
    kept = kept_tuning(
        read_evaluation(reader_evaluation) if reader_evaluation else None,
        files["dev"]["sha256"],
        AnsweredWith.model_validate(answered_with),
        run=run,
        reader=reader,
        calibrate=calibrate,
    )
    windows = np.bincount(features.windows.question, minlength=len(features.question_ids))
    table = question_table(
        read_squad(Path(files["dev"]["path"]), on_misaligned=if_only_scored(data.on_misaligned)),
        predictions,
        nbest,
        no_answer_logits,
        dict(zip(features.question_ids.to_pylist(), windows.tolist(), strict=True)),
    )
    logits = _logits(table, inference)
    if kept:
        weights = kept.no_answer_weights
    elif _unfit(table):
        weights = unfitted_weights(inference.null_score)
    else:
        weights = logits.weights_fitted_on(np.ones(len(table), np.bool_))
    scores = weights.scores(logits.head, logits.span)
    return {
        "table": table.assign(no_answer_score=scores),
        "null_odds": dict(zip(table["id"], scores.tolist(), strict=True)),
        "weights": weights.model_dump(),
        "kept": kept.model_dump(mode="json") if kept else {},
    }


def score_predictions(
    files: SquadFiles, inference: InferenceParameters, questions: DataFrame
) -> dict[str, dict[str, Any]]:
    """Makes the official scorer's report on the dev file.

    Returns:
        `metrics`, the report, and `signature`, which says what it was measured on.
    """
    from roberta_squad_pipeline.evaluation.questions import scores_of
    from roberta_squad_pipeline.evaluation.scoring import report_of

    odds = questions["no_answer_score"].to_numpy()
    return {
        "metrics": report_of(scores_of(questions), odds, NO_ANSWER_THRESHOLD),
        "signature": {
            "data": _dev_name(files),
            "data_sha256": files["dev"]["sha256"],
            "questions": len(questions),
            "threshold": NO_ANSWER_THRESHOLD,
            "null_score": inference.null_score,
            "version": __version__,
        },
    }


def cross_fit_threshold(
    questions: DataFrame, inference: InferenceParameters, kept: dict[str, Any]
) -> dict[str, Any]:
    """Computes cross-fitted scores, with intervals for these and for the best scores."""
    from roberta_squad_pipeline.evaluation.questions import scores_of
    from roberta_squad_pipeline.evaluation.uncertainty import cross_fitted_report

    return cross_fitted_report(
        scores_of(questions),
        questions["no_answer_score"].to_numpy(),
        questions["passage_number"].to_numpy(),
        _scores_fitted_on(questions, inference, kept),
    )


def evaluate_reader(
    files: SquadFiles,
    inference: InferenceParameters,
    answered_with: dict[str, Any],
    kept: dict[str, Any],
    questions: DataFrame,
    no_answer_weights: dict[str, float],
    metrics: dict[str, float | int],
    metrics_crossfit: dict[str, Any],
    header: dict[str, Any] | None,
    tracker: Tracker,
) -> dict[str, Any]:
    """Makes the record for the reader's folder: scores, tuned threshold, calibrated probabilities.

    A reader that abstains on nearly all questions causes a warning.
    """
    from roberta_squad_pipeline.evaluation.calibration import calibrate, held_against
    from roberta_squad_pipeline.evaluation.no_answer import NoAnswerWeights
    from roberta_squad_pipeline.evaluation.questions import scores_of
    from roberta_squad_pipeline.evaluation.scoring import report_of
    from roberta_squad_pipeline.evaluation.thresholds import abstains_too_much
    from roberta_squad_pipeline.evaluation.uncertainty import in_first_half
    from roberta_squad_pipeline.reader.evaluation import Evaluation, Tuning

    scores, odds = scores_of(questions), questions["no_answer_score"].to_numpy()
    margins = questions["span_margin"].to_numpy()
    if kept:
        calibration = held_against(Tuning.model_validate(kept).calibration, scores, odds, margins)
    else:
        calibration = calibrate(
            scores,
            odds,
            margins,
            in_first_half(questions["passage_number"].to_numpy()),
            _scores_fitted_on(questions, inference, kept),
        )
    if calibration.uncalibrated:
        _logger.warning("threshold and probabilities were not fitted: %s", calibration.uncalibrated)
        tracker.set_tag("warning.uncalibrated", calibration.uncalibrated)
    threshold = calibration.abstains_above
    abstained = float((odds > threshold).mean())
    at_threshold = {
        name: value
        for name, value in report_of(scores, odds, threshold).items()
        if not name.startswith("best_")
    }
    if abstains_too_much(abstained, float(questions["answerable"].mean())):
        tracker.set_tag("warning.abstains", f"{abstained:.1%} of the dev questions")
    selected_on = header["recipe"].get("selected_on") if header else None
    evaluation = Evaluation(
        version=__version__,
        data=_dev_name(files),
        data_sha256=files["dev"]["sha256"],
        questions=len(questions),
        # Predictions may come from a machine where `auto` was resolved differently.
        inference=InferenceConfig(
            **inference.model_dump() | {"precision": answered_with["precision"]}
        ),
        scores=metrics,
        selected_on_data=selected_on == files["dev"]["sha256"],
        cross_fitted_f1=metrics_crossfit.get("f1"),
        no_answer_weights=NoAnswerWeights(**no_answer_weights),
        calibration=calibration,
        tuned_elsewhere=bool(kept),
        at_threshold=at_threshold | {"abstained": abstained},
    )
    return evaluation.model_dump(mode="json")


def judge_questions(questions: DataFrame, evaluation: dict[str, Any]) -> DataFrame:
    """Adds the outcome of every question to the table (see `judged`)."""
    from roberta_squad_pipeline.evaluation.questions import judged
    from roberta_squad_pipeline.reader.evaluation import Evaluation

    calibration = Evaluation.model_validate(evaluation).calibration
    odds = questions["no_answer_score"].to_numpy()
    return judged(questions, odds, calibration, threshold=NO_ANSWER_THRESHOLD)


def draw_figures(
    questions: DataFrame,
    metrics: dict[str, float | int],
    crossfit: dict[str, Any],
    evaluation: dict[str, Any],
    curve: dict[str, Any] | None,
) -> dict[str, Any]:
    """Draws the report's figures; returns them by name."""
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
    reader: str | None,
    files: SquadFiles,
    header: dict[str, Any] | None,
    provenance: Provenance | None,
    redaction: Redaction | None,
    questions: DataFrame,
    metrics: dict[str, float | int],
    crossfit: dict[str, Any],
    evaluation: dict[str, Any],
    **drawn: Any,
) -> str:
    """Writes one HTML file with scores, figures, all questions, and what the scores depend on."""
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
    if evaluated.tuned_elsewhere:
        signature += ". The reader's own threshold and probabilities come from other data"
    if evaluated.selected_on_data:
        signature += (
            ". Scores on these very questions decided which weights the reader has, so that all of "
            "these are optimistic"
        )
    return report_page(
        run=run,
        signature=signature,
        scores=official_scores(questions, metrics, crossfit, threshold=NO_ANSWER_THRESHOLD),
        fitted=cross_fitted_scores(crossfit),
        figures=drawn,
        questions=questions,
        settings=_settings(
            reader or run, files, header or {}, evaluated, provenance, redaction or Redaction()
        ),
    )


def _settings(
    reader: str,
    files: SquadFiles,
    header: dict[str, Any],
    evaluated: "Evaluation",
    provenance: Provenance | None,
    redaction: Redaction,
) -> dict[str, dict[str, str]]:
    """What scores depend on, in groups, without secrets."""
    from roberta_squad_pipeline.common.same_run import surroundings

    recipe = header.get("recipe", {})
    git = f"{provenance.git_commit} ({provenance.git_tree})" if provenance else "not known"
    tokenizer = {"tokenizer.sha256": header["tokenizer"]["sha256"]} if header else {}
    groups = {
        "data": files,
        "model": {"reader": reader, **recipe.get("model", {}), **tokenizer},
        "training": {
            **{name: value for name, value in recipe.items() if name not in {"model", "training"}},
            **recipe.get("training", {}),
        },
        "features": header.get("windows", {}),
        "inference": evaluated.inference.model_dump(mode="json"),
        "code": {"version": evaluated.version, "git commit": git, **surroundings()},
    }
    return {name: flat_params(group) for name, group in redaction.record(groups).items()}


def _dev_name(files: SquadFiles) -> str:
    # Without its folder, which conf/local may keep secret: this goes to MLflow.
    return Path(files["dev"]["path"]).name


def _logits(questions: DataFrame, inference: InferenceParameters) -> "NoAnswerLogits":
    from roberta_squad_pipeline.evaluation.no_answer import NoAnswerLogits

    head, span, answerable = (
        questions[name].to_numpy() for name in ("head_logit", "span_logit", "answerable")
    )
    return NoAnswerLogits(head, span, ~answerable, inference.null_score)


def _scores_fitted_on(
    questions: DataFrame, inference: InferenceParameters, kept: dict[str, Any]
) -> "ScoresFittedOn | None":
    """None if the weights of the no-answer score were not fitted on these questions."""
    return None if kept or _unfit(questions) else _logits(questions, inference).scores_fitted_on


def _unfit(questions: DataFrame) -> bool:
    from roberta_squad_pipeline.evaluation.calibration import unfit_to_calibrate

    return unfit_to_calibrate(questions["answerable"].to_numpy()) is not None

"""The evaluation pipeline."""

from kedro.pipeline import Pipeline, node

from roberta_squad_pipeline.pipelines.evaluate.nodes import (
    build_question_table,
    cross_fit_threshold,
    draw_figures,
    evaluate_reader,
    score_no_answer,
    score_predictions,
    write_report,
)

_FIGURES = ("threshold", "no_answer", "precision_recall", "calibration", "training", "slices")
_INPUTS = ["squad_files", "params:data", "predictions", "null_odds"]


def create_pipeline() -> Pipeline:
    """Predictions to scores."""
    return Pipeline(
        [
            node(
                score_no_answer,
                ["squad_files", "params:data", "params:inference", "no_answer_logits"],
                {"scores": "null_odds", "weights": "no_answer_weights"},
                name="score_no_answer",
                tags="tracked",
            ),
            node(score_predictions, _INPUTS, "metrics", name="score_predictions", tags="tracked"),
            node(
                cross_fit_threshold,
                [*_INPUTS, "params:inference", "no_answer_logits"],
                "metrics_crossfit",
                name="cross_fit_threshold",
                tags="tracked",
            ),
            node(
                evaluate_reader,
                [
                    "squad_files",
                    "params:data",
                    "params:inference",
                    "answered_with",
                    "predictions",
                    "null_odds",
                    "no_answer_logits",
                    "no_answer_weights",
                    "nbest",
                    "metrics",
                    "metrics_crossfit",
                ],
                "evaluation",
                name="evaluate_reader",
                tags="tracked",
            ),
            node(
                build_question_table,
                [
                    "squad_files",
                    "params:data",
                    "predictions",
                    "null_odds",
                    "nbest",
                    "dev_features",
                    "evaluation",
                ],
                "questions",
                name="build_question_table",
            ),
            node(
                draw_figures,
                ["questions", "metrics", "metrics_crossfit", "evaluation", "training_curve"],
                {name: f"figure_{name}" for name in _FIGURES},
                name="draw_figures",
                tags="tracked",
            ),
            node(
                write_report,
                {
                    "run": "params:run",
                    "questions": "questions",
                    "metrics": "metrics",
                    "crossfit": "metrics_crossfit",
                    "evaluation": "evaluation",
                    **{name: f"figure_{name}" for name in _FIGURES},
                },
                "report",
                name="write_report",
                tags="tracked",
            ),
        ],
        namespace="evaluate",
        prefix_datasets_with_namespace=False,
    )

"""The evaluation pipeline."""

from kedro.pipeline import Pipeline, node

from roberta_squad_pipeline.pipelines.evaluate.nodes import (
    build_question_table,
    cross_fit_threshold,
    draw_figures,
    evaluate_reader,
    judge_questions,
    score_predictions,
    write_report,
)

_FIGURES = ("threshold", "no_answer", "precision_recall", "calibration", "training", "slices")


def create_pipeline() -> Pipeline:
    """From predictions to scores."""
    return Pipeline(
        [
            node(
                build_question_table,
                [
                    "squad_files",
                    "params:data",
                    "params:inference",
                    "answered_with",
                    "params:run",
                    "params:reader",
                    "params:calibrate",
                    "predictions",
                    "nbest",
                    "no_answer_logits",
                    "dev_features",
                    "reader_evaluation",
                ],
                {
                    "table": "question_table",
                    "null_odds": "null_odds",
                    "weights": "no_answer_weights",
                    "kept": "kept_tuning",
                },
                name="build_question_table",
            ),
            node(
                score_predictions,
                ["squad_files", "params:inference", "question_table"],
                {"metrics": "metrics", "signature": "metrics_signature"},
                name="score_predictions",
            ),
            node(
                cross_fit_threshold,
                ["question_table", "params:inference", "kept_tuning"],
                "metrics_crossfit",
                name="cross_fit_threshold",
            ),
            node(
                evaluate_reader,
                [
                    "squad_files",
                    "params:inference",
                    "answered_with",
                    "kept_tuning",
                    "question_table",
                    "no_answer_weights",
                    "metrics",
                    "metrics_crossfit",
                    "reader_header",
                    "tracker",
                ],
                "evaluation",
                name="evaluate_reader",
            ),
            node(
                judge_questions,
                ["question_table", "evaluation"],
                "questions",
                name="judge_questions",
            ),
            node(
                draw_figures,
                ["questions", "metrics", "metrics_crossfit", "evaluation", "training_curve"],
                {name: f"figure_{name}" for name in _FIGURES},
                name="draw_figures",
            ),
            node(
                write_report,
                {
                    "run": "params:run",
                    "reader": "params:reader",
                    "files": "squad_files",
                    "header": "reader_header",
                    "provenance": "provenance",
                    "redaction": "redaction",
                    "questions": "questions",
                    "metrics": "metrics",
                    "crossfit": "metrics_crossfit",
                    "evaluation": "evaluation",
                    **{name: f"figure_{name}" for name in _FIGURES},
                },
                "report",
                name="write_report",
            ),
        ],
        namespace="evaluate",
        prefix_datasets_with_namespace=False,
        tags=["evaluation", "tracked"],
    )

"""The evaluation pipeline."""

from kedro.pipeline import Pipeline, node

from roberta_squad_pipeline.pipelines.evaluate.nodes import score_predictions, write_report

_FIGURES = ("threshold", "no_answer", "precision_recall", "calibration", "training", "slices")


def create_pipeline() -> Pipeline:
    """From predictions to scores."""
    return Pipeline(
        [
            node(
                score_predictions,
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
                    "reader_header",
                    "tracker",
                ],
                {
                    "metrics": "metrics",
                    "signature": "metrics_signature",
                    "crossfit": "metrics_crossfit",
                    "null_odds": "null_odds",
                    "evaluation": "evaluation",
                    "questions": "questions",
                },
                name="score_predictions",
            ),
            node(
                write_report,
                [
                    "params:run",
                    "params:reader",
                    "squad_files",
                    "reader_header",
                    "provenance",
                    "redaction",
                    "questions",
                    "metrics",
                    "metrics_crossfit",
                    "evaluation",
                    "training_curve",
                ],
                {"report": "report", **{name: f"figure_{name}" for name in _FIGURES}},
                name="write_report",
            ),
        ],
        namespace="evaluate",
        prefix_datasets_with_namespace=False,
        tags=["evaluation", "tracked"],
    )

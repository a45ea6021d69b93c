"""The evaluation pipeline."""

from kedro.pipeline import Pipeline

from roberta_squad_pipeline.pipelines import stage
from roberta_squad_pipeline.pipelines.evaluate.nodes import score_predictions
from roberta_squad_pipeline.pipelines.evaluate.report import write_report

_FIGURES = ("threshold", "no_answer", "precision_recall", "calibration", "training", "slices")


def create_pipeline() -> Pipeline:
    """From predictions to scores."""
    return Pipeline(
        [
            stage(
                score_predictions,
                # Written in this order: the table first, and then what is computed from it.
                *("questions", "metrics", "metrics_signature", "metrics_crossfit", "null_odds"),
                "evaluation",
            ),
            stage(write_report, "report", *(f"figure_{name}" for name in _FIGURES)),
        ],
        namespace="evaluate",
        prefix_datasets_with_namespace=False,
        tags=["evaluation", "tracked"],
    )

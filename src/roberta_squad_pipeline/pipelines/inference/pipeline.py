"""The inference pipeline."""

from kedro.pipeline import Pipeline

from roberta_squad_pipeline.pipelines import stage
from roberta_squad_pipeline.pipelines.inference.nodes import predict_answers


def create_pipeline() -> Pipeline:
    """From a trained reader and dev features to predictions."""
    return Pipeline(
        [
            stage(
                predict_answers,
                *("predictions", "nbest", "answered_with"),
                namespace="inference",
                tags=["evaluation", "tracked"],
            )
        ]
    )

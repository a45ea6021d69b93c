"""The training pipeline."""

from kedro.pipeline import Pipeline

from roberta_squad_pipeline.pipelines import stage
from roberta_squad_pipeline.pipelines.train.nodes import train_reader


def create_pipeline() -> Pipeline:
    """From features to a trained reader."""
    outputs = ("reader", "training_curve", "trained_with")
    return Pipeline(
        [stage(train_reader, *outputs, namespace="train", tags=["training", "tracked"])]
    )

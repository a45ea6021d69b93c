"""The ensemble pipeline."""

from kedro.pipeline import Pipeline

from roberta_squad_pipeline.pipelines import stage
from roberta_squad_pipeline.pipelines.ensemble.nodes import combine_readers


def create_pipeline() -> Pipeline:
    """Finished runs to one reader."""
    return Pipeline([stage(combine_readers, "reader", namespace="ensemble", tags=["tracked"])])

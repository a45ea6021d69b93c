"""The comparison pipeline."""

from kedro.pipeline import Pipeline

from roberta_squad_pipeline.pipelines import stage
from roberta_squad_pipeline.pipelines.compare.nodes import compare_experiments


def create_pipeline() -> Pipeline:
    """From tracked runs to the experiment table."""
    outputs = ("experiments_markdown", "experiments_csv", "experiments_figure")
    return Pipeline([stage(compare_experiments, *outputs, namespace="compare")])

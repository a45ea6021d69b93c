"""The pipeline that exports to ONNX."""

from kedro.pipeline import Pipeline

from roberta_squad_pipeline.pipelines import stage
from roberta_squad_pipeline.pipelines.export_onnx.nodes import export_reader


def create_pipeline() -> Pipeline:
    """From a trained reader and dev features to an ONNX model that was checked on them."""
    return Pipeline([stage(export_reader)])

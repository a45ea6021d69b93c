"""The predict pipeline."""

from kedro.pipeline import Pipeline

from roberta_squad_pipeline.pipelines import stage
from roberta_squad_pipeline.pipelines.predict.nodes import answer_file


def create_pipeline() -> Pipeline:
    """From a trained reader and a file of questions to a file of answers."""
    return Pipeline([stage(answer_file, namespace="predict", folder="params:data.folder")])

"""The pipeline for fairseq checkpoints."""

from kedro.pipeline import Pipeline

from roberta_squad_pipeline.pipelines import stage
from roberta_squad_pipeline.pipelines.import_fairseq.nodes import import_checkpoint


def create_pipeline() -> Pipeline:
    """From a fairseq checkpoint to a reader or an encoder."""
    return Pipeline([stage(import_checkpoint)])

"""The download pipeline."""

from kedro.pipeline import Pipeline

from roberta_squad_pipeline.pipelines import stage
from roberta_squad_pipeline.pipelines.download.nodes import fetch_squad_files


def create_pipeline() -> Pipeline:
    """From sources to files on disk."""
    return Pipeline(
        [
            stage(
                fetch_squad_files,
                "fetched_files",
                namespace="download",
                tags=["data"],
                unlabelled="params:distil.unlabelled",
            )
        ]
    )

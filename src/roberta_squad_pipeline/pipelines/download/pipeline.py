"""The download pipeline."""

from kedro.pipeline import Pipeline, node

from roberta_squad_pipeline.pipelines.download.nodes import fetch_squad_files


def create_pipeline() -> Pipeline:
    """From sources to files on disk."""
    return Pipeline(
        [
            node(
                fetch_squad_files,
                [
                    "params:data",
                    "params:distil.unlabelled",
                    "params:feature_set",
                    "train_questions",
                    "dev_questions",
                ],
                "fetched_files",
                name="fetch_squad_files",
                namespace="download",
                tags="data",
            )
        ]
    )
